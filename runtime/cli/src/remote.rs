//! A running `gristmill`, asked over HTTP by the commands that look at its pipelines and steer them.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use reqwest::{Client, Method, Response, StatusCode, Url};
use serde_json::Value;

use crate::commands::kafka_cluster;
use crate::profiles::ProfileFile;
use crate::user_error::UserError;

/// Connecting is quick on any network that somebody would steer pipelines over.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
/// A reload compiles modules and runs tests; a pause waits for a micro-batch.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(300);
/// Longest answer, in bytes.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Where it is.
#[derive(clap::Args)]
pub struct RemoteFlags {
    /// Address at which a running `gristmill` serves its page
    #[arg(long, value_name = "HOST:PORT", env = "GRISTMILL_HTTP", default_value = "127.0.0.1:8080", value_parser = kafka_cluster::addresses)]
    http: String,
}

/// A process that runs pipelines.
pub struct Remote {
    client: Client,
    base: Url,
    login: Option<(String, String)>,
}

impl RemoteFlags {
    /// # Errors
    /// The address is none. Nobody is asked yet.
    pub fn open(&self) -> Result<Remote> {
        let base = Url::parse(&format!("http://{}/api/v1", self.http))
            .map_err(|error| UserError::new(format!("--http {}: {error}", self.http)))?;
        let client = Client::builder().connect_timeout(CONNECT_TIME_MAX).no_proxy().build()?;
        Ok(Remote { client, base, login: login()? })
    }
}

/// The API key in use for the cluster in use: a broker that wants keys guards its page with them.
fn login() -> Result<Option<(String, String)>> {
    let file = ProfileFile::open()?;
    let Ok((_, profile)) = file.profiles.cluster(None) else { return Ok(None) };
    let key = profile.api_key.as_ref();
    Ok(key.and_then(|key| Some((key.clone(), profile.api_keys.get(key)?.clone()))))
}

impl Remote {
    /// A read.
    ///
    /// # Errors
    /// Nobody answers, or the answer is an error; it says why.
    pub async fn get(&self, path: &[&str]) -> Result<Value> {
        self.ask(Method::GET, path, None).await
    }

    /// A change without a body.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn post(&self, path: &[&str]) -> Result<Value> {
        self.ask(Method::POST, path, Some(Value::Object(serde_json::Map::new()))).await
    }

    /// Puts a document in its place.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn put(&self, path: &[&str], document: &Value) -> Result<Value> {
        self.ask(Method::PUT, path, Some(document.clone())).await
    }

    /// Takes away what is at a path.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn delete(&self, path: &[&str]) -> Result<Value> {
        self.ask(Method::DELETE, path, Some(Value::Object(serde_json::Map::new()))).await
    }

    async fn ask(&self, method: Method, path: &[&str], body: Option<Value>) -> Result<Value> {
        let response = self.send(method, path, &[], body, Some(ANSWER_TIME_MAX)).await?;
        let bytes = response.bytes().await.context("the answer broke off")?;
        if bytes.len() > ANSWER_BYTES_MAX {
            bail!("an answer of {} bytes", bytes.len());
        }
        serde_json::from_slice(&bytes).context("the answer is not JSON: is that a gristmill?")
    }

    /// What a path streams, event by event (`text/event-stream`).
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn events(&self, path: &[&str], query: &[(&str, String)]) -> Result<Events> {
        let response = self.send(Method::GET, path, query, None, None).await?;
        Ok(Events { response, buffer: Vec::new() })
    }

    async fn send(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, String)],
        body: Option<Value>,
        time_max: Option<Duration>,
    ) -> Result<Response> {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut request = self.client.request(method, url);
        if let Some((key, secret)) = &self.login {
            request = request.basic_auth(key, Some(secret));
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        if let Some(time_max) = time_max {
            request = request.timeout(time_max);
        }
        let response = request.send().await.map_err(|error| self.unreached(&error))?;
        match response.status() {
            status if status.is_success() => Ok(response),
            status => Err(refusal(status, response).await),
        }
    }

    fn unreached(&self, error: &reqwest::Error) -> anyhow::Error {
        let mut cause: &dyn std::error::Error = error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        let place = self.base.host_str().unwrap_or_default();
        let port = self.base.port_or_known_default().unwrap_or_default();
        UserError::new(format!(
            "nobody answers at {place}:{port}: {cause}; is `gristmill run` under way there? its log says where its page \
             is, --http says where to look"
        ))
        .into()
    }
}

/// What the server says about a request that it doesn't do; most are the user's to mend.
async fn refusal(status: StatusCode, response: Response) -> anyhow::Error {
    let bytes = response.bytes().await.unwrap_or_default();
    let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let said = body.get("error").and_then(Value::as_str);
    let said =
        said.map_or_else(|| String::from_utf8_lossy(&bytes).trim().to_owned(), str::to_owned);
    if body["mistakes"].as_u64().is_some_and(|mistakes| mistakes > 0) {
        return UserError::listing(said).into();
    }
    let text = match (status, said.is_empty()) {
        (StatusCode::UNAUTHORIZED, _) => {
            "an API key is wanted: use one with `gristmill api-key use KEY --resource CLUSTER`"
                .to_owned()
        }
        (status, true) => format!("refused: {status}"),
        (_, false) => said,
    };
    match status.is_server_error() {
        true => anyhow::anyhow!(text),
        false => UserError::new(text).into(),
    }
}

/// Events of a stream, one JSON document each.
pub struct Events {
    response: Response,
    buffer: Vec<u8>,
}

impl Events {
    /// The next one; `None`: the stream has ended.
    ///
    /// # Errors
    /// The connection broke, or an event is not JSON.
    pub async fn next(&mut self) -> Result<Option<Value>> {
        loop {
            while let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                // Comments keep the connection alive; other fields we have no use for.
                if let Some(data) = line.strip_prefix(b"data:") {
                    return Ok(Some(serde_json::from_slice(data).context("an event is not JSON")?));
                }
            }
            if self.buffer.len() > ANSWER_BYTES_MAX {
                bail!("an event above {ANSWER_BYTES_MAX} bytes");
            }
            match self.response.chunk().await.context("the connection broke")? {
                Some(chunk) => self.buffer.extend_from_slice(&chunk),
                None => return Ok(None),
            }
        }
    }
}
