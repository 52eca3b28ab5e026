//! ApiVersions (api code 18, v0-v4): which requests we offer, in which versions.
//!
//! - Allowed before authentication; clients ask it first on every connection.
//! - A version that we don't know is answered in version 0 with UNSUPPORTED_VERSION and our own
//!   versions of this request (KIP-511).
//! - No feature is finalized: clients stay with the first transaction protocol and classic groups.
//! - Left out: v5 (client checks the cluster id, KIP-1242).

use kafka_protocol::ResponseError;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest, ApiVersionsResponse};

use super::{HANDLERS, Handler};
use crate::broker::Broker;
use crate::session::Session;

pub(super) fn handle(
    _: &Broker,
    session: &Session,
    request: ApiVersionsRequest,
) -> ApiVersionsResponse {
    let names = [&request.client_software_name, &request.client_software_version];
    if session.version >= 3 && !names.iter().all(|name| is_software_name(name)) {
        return ApiVersionsResponse::default()
            .with_error_code(ResponseError::InvalidRequest.code());
    }
    ApiVersionsResponse::default().with_api_keys(HANDLERS.iter().map(offered).collect())
}

/// The answer to an ApiVersions request of an unknown version, to be sent in version 0.
pub(super) fn unsupported() -> ApiVersionsResponse {
    let this = HANDLERS.iter().filter(|handler| handler.api == ApiKey::ApiVersions);
    ApiVersionsResponse::default()
        .with_error_code(ResponseError::UnsupportedVersion.code())
        .with_api_keys(this.map(offered).collect())
}

fn offered(handler: &Handler) -> ApiVersion {
    ApiVersion::default()
        .with_api_key(handler.api as i16)
        .with_min_version(handler.version_min)
        .with_max_version(handler.version_max)
}

/// Letters, digits, dots and dashes, a letter or digit at either end (KIP-511).
fn is_software_name(name: &str) -> bool {
    let ends = [name.bytes().next(), name.bytes().last()];
    let is_end = |byte: &Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    ends.iter().all(is_end) && name.bytes().all(is_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn software_names_follow_kip_511() {
        for good in ["a", "apache-kafka-java", "3.9.1", "librdkafka", "2.12.1-RC1"] {
            assert!(is_software_name(good), "{good}");
        }
        for bad in ["", "-a", "a-", "a b", "a_b", "ä", "."] {
            assert!(!is_software_name(bad), "{bad}");
        }
    }
}
