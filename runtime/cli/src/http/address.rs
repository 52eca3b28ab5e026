//! Where the page is: `--http`, and the socket that comes of it.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;

use anyhow::Result;
use tokio::net::TcpListener;

use super::telemetry::TelemetryFlags;
use crate::user_error::UserError;

/// Where the page is if nobody says otherwise.
const DEFAULT: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 8080);

/// `--http`, for the commands that serve the page.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct HttpFlags {
    /// Address of the page, the JSON API and the metrics; port 0 takes a free one, `off` serves none
    /// [default: 127.0.0.1:8080, or a free port if that one is taken]
    #[arg(long, value_name = "ADDR|off")]
    pub http: Option<HttpAddress>,

    #[command(flatten)]
    pub telemetry: TelemetryFlags,
}

/// A value of `--http`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpAddress {
    Off,
    At(SocketAddr),
}

impl FromStr for HttpAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<HttpAddress, String> {
        if text == "off" {
            return Ok(HttpAddress::Off);
        }
        let address = text.parse().map_err(|_| {
            format!("`{text}` is no address; write IP:PORT, such as 127.0.0.1:8080, or `off`")
        })?;
        Ok(HttpAddress::At(address))
    }
}

impl fmt::Display for HttpAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HttpAddress::Off => f.write_str("off"),
            HttpAddress::At(address) => address.fmt(f),
        }
    }
}

impl HttpFlags {
    /// Whether the address is for this machine alone.
    pub fn is_local(&self) -> bool {
        match self.http {
            Some(HttpAddress::At(address)) => address.ip().to_canonical().is_loopback(),
            _ => true,
        }
    }

    /// Listens; `None`: no page is wanted.
    ///
    /// # Errors
    /// The address that was asked for is taken or is not this machine's.
    pub async fn bind(&self) -> Result<Option<TcpListener>> {
        match self.http {
            Some(HttpAddress::Off) => Ok(None),
            Some(HttpAddress::At(address)) => asked_for(address).await.map(Some),
            None => default_or_free().await.map(Some),
        }
    }
}

async fn asked_for(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        UserError::new(format!(
            "cannot serve the page on {address}: {error}; choose another address with --http, or `--http off`"
        ))
        .into()
    })
}

/// Nobody asked for the default in so many words: what else uses its port is not in the way.
async fn default_or_free() -> Result<TcpListener> {
    match TcpListener::bind(DEFAULT).await {
        Ok(listener) => Ok(listener),
        Err(_) => asked_for((DEFAULT.0, 0).into()).await,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn flags(http: Option<&str>) -> HttpFlags {
        HttpFlags { http: http.map(|text| text.parse().unwrap()), ..HttpFlags::default() }
    }

    #[test]
    fn addresses_are_written_as_ip_and_port() {
        assert_eq!("off".parse(), Ok(HttpAddress::Off));
        for bad in ["", "8080", "localhost", "localhost:8080", "no"] {
            let error = bad.parse::<HttpAddress>().unwrap_err();
            assert!(error.contains("127.0.0.1:8080"), "{error}");
        }
        assert!(flags(None).is_local() && flags(Some("[::1]:1")).is_local());
        assert!(!flags(Some("0.0.0.0:8080")).is_local());
    }

    #[tokio::test]
    async fn an_address_that_was_asked_for_is_had_or_refused() {
        let taken = flags(Some("127.0.0.1:0")).bind().await.unwrap().unwrap();
        let address = taken.local_addr().unwrap();
        let error = flags(Some(&address.to_string())).bind().await.unwrap_err();
        assert!(error.is::<UserError>(), "{error:#}");
        assert!(flags(Some("off")).bind().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_default_that_is_taken_gives_way() {
        let first = flags(None).bind().await.unwrap().unwrap();
        let second = flags(None).bind().await.unwrap().unwrap();
        assert_ne!(first.local_addr().unwrap(), second.local_addr().unwrap());
    }
}
