//! `/api/v1/clusters/{cluster}/topics/{topic}/messages`: records read and sent.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use gristmill_broker::Operation;
use gristmill_connectors::message_page::{Cut, ShownRecord, WholeRecord};
use gristmill_connectors::viewer::NewRecord;
use serde::Deserialize;
use serde_json::{Value, json};

use super::topics::{existing, refused};
use crate::http::body::Body;
use crate::http::failure::Failure;
use crate::http::message_query::MessageQuery;
use crate::http::site::Site;
use crate::http::visitor::Visitor;

type Answer = Result<Json<Value>, Failure>;

pub fn routes() -> Router<Arc<Site>> {
    let messages = "/clusters/{cluster}/topics/{topic}/messages";
    Router::new()
        .route(messages, get(list).post(send))
        .route(&format!("{messages}/{{partition}}/{{offset}}"), get(show))
        .route(&format!("{messages}/{{partition}}/{{offset}}/value"), get(value))
}

async fn list(
    State(site): State<Arc<Site>>,
    Extension(visitor): Extension<Visitor>,
    Path((cluster, topic)): Path<(String, String)>,
    Query(query): Query<MessageQuery>,
) -> Answer {
    let viewer = site.viewer(&cluster, &visitor, Operation::Describe).await?;
    let page = query.read(&viewer, &topic).await?.page;
    Ok(Json(json!({
        "messages": page.records.iter().map(message_json).collect::<Vec<_>>(),
        "searched": page.searched,
        "is_complete": page.is_complete,
        "before": MessageQuery::bound_text(&page.older_end),
        "after": MessageQuery::bound_text(&page.newer_begin),
    })))
}

/// A record as the API shows it: bytes as text, or in base64 where they are none.
pub fn message_json(record: &ShownRecord) -> Value {
    let headers = record
        .headers
        .iter()
        .map(|(name, value)| json!({ "name": name, "value": value.as_ref().map(cut_json) }));
    json!({
        "partition": record.partition,
        "offset": record.offset,
        "timestamp_ms": record.timestamp_ms,
        "key": record.key.as_ref().map(cut_json),
        "value": record.value.as_ref().map(cut_json),
        "headers": headers.collect::<Vec<_>>(),
    })
}

fn cut_json(cut: &Cut) -> Value {
    match std::str::from_utf8(&cut.bytes) {
        Ok(text) => json!({ "text": text, "size": cut.size }),
        // A character that the cut went through.
        Err(error) if !cut.is_whole() && error.error_len().is_none() => {
            let text = String::from_utf8_lossy(&cut.bytes[..error.valid_up_to()]);
            json!({ "text": text, "size": cut.size })
        }
        Err(_) => json!({ "base64": BASE64.encode(&cut.bytes), "size": cut.size }),
    }
}

async fn show(
    State(site): State<Arc<Site>>,
    Extension(visitor): Extension<Visitor>,
    Path((cluster, topic, partition, offset)): Path<(String, String, i32, i64)>,
) -> Answer {
    let record = record(&site, &visitor, &cluster, &topic, partition, offset).await?;
    let whole = |bytes: &Vec<u8>| cut_json(&Cut::new(bytes, usize::MAX));
    let headers = record
        .headers
        .iter()
        .map(|(name, value)| json!({ "name": name, "value": value.as_ref().map(whole) }));
    Ok(Json(json!({
        "partition": partition,
        "offset": offset,
        "timestamp_ms": record.timestamp_ms,
        "key": record.key.as_ref().map(whole),
        "value": record.value.as_ref().map(whole),
        "headers": headers.collect::<Vec<_>>(),
    })))
}

/// The bytes of a value, for a file.
async fn value(
    State(site): State<Arc<Site>>,
    Extension(visitor): Extension<Visitor>,
    Path((cluster, topic, partition, offset)): Path<(String, String, i32, i64)>,
) -> Result<Response, Failure> {
    let record = record(&site, &visitor, &cluster, &topic, partition, offset).await?;
    // Topic names have no character that a header or a file name could not hold.
    let disposition = format!("attachment; filename=\"{topic}-{partition}-{offset}\"");
    let mut response = record.value.unwrap_or_default().into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    if let Ok(disposition) = HeaderValue::from_str(&disposition) {
        headers.insert(header::CONTENT_DISPOSITION, disposition);
    }
    Ok(response)
}

/// A record that must be there.
pub async fn record(
    site: &Site,
    visitor: &Visitor,
    cluster: &str,
    topic: &str,
    partition: i32,
    offset: i64,
) -> Result<WholeRecord, Failure> {
    let viewer = site.viewer(cluster, visitor, Operation::Describe).await?;
    let partitions = existing(&viewer, topic).await?;
    let range = partitions.iter().find(|view| view.partition == partition).map(|it| it.offsets);
    let none = || {
        Failure::not_found(format!(
            "`{topic}` has no record at partition {partition}, offset {offset}"
        ))
    };
    let range = range.ok_or_else(none)?;
    if !(range.begin..range.end).contains(&offset) {
        return Err(none());
    }
    viewer.record(topic, partition, offset).await?.ok_or_else(none)
}

/// A record to send.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewMessage {
    /// Absent: by the key.
    partition: Option<i32>,
    key: Option<String>,
    /// Absent or null: a record without a value (a tombstone).
    value: Option<String>,
    /// The value must be JSON; absent: it may be anything.
    #[serde(default)]
    json: bool,
    #[serde(default)]
    headers: BTreeMap<String, Option<String>>,
}

async fn send(
    State(site): State<Arc<Site>>,
    Extension(visitor): Extension<Visitor>,
    Path((cluster, topic)): Path<(String, String)>,
    Body(new): Body<NewMessage>,
) -> Result<(StatusCode, Json<Value>), Failure> {
    if let Some(value) = new.value.as_ref().filter(|_| new.json) {
        check_json(value)?;
    }
    let viewer = site.viewer(&cluster, &visitor, Operation::Alter).await?;
    let partitions = existing(&viewer, &topic).await?;
    if let Some(partition) = new.partition
        && !partitions.iter().any(|view| view.partition == partition)
    {
        let message =
            format!("`{topic}` has no partition {partition}: it has 0 to {}", partitions.len() - 1);
        return Err(Failure::bad_request(message));
    }
    let bytes = |text: String| text.into_bytes();
    let record = NewRecord {
        partition: new.partition,
        key: new.key.map(bytes),
        value: new.value.map(bytes),
        headers: new.headers.into_iter().map(|(name, value)| (name, value.map(bytes))).collect(),
    };
    let stored = viewer.send(&topic, &record).await;
    let stored = stored.map_err(refused)?;
    let answer = json!({ "partition": stored.partition, "offset": stored.offset });
    Ok((StatusCode::CREATED, Json(answer)))
}

/// # Errors
/// The text is no JSON; tells line and column, from 1.
fn check_json(text: &str) -> Result<(), Failure> {
    let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(text) else { return Ok(()) };
    let (line, column) = (error.line(), error.column());
    let whole = error.to_string();
    let reason = whole.rsplit_once(" at line ").map_or(whole.as_str(), |(reason, _)| reason);
    let body = json!({
        "error": format!("the value is no JSON: {reason}, line {line}, column {column}"),
        "field": "value",
        "line": line,
        "column": column,
    });
    Err(Failure::with_body(StatusCode::BAD_REQUEST, body))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_in_json_has_a_place() {
        check_json("{\"a\": [1, 2]}").unwrap();
        let failure = check_json("{\n  \"a\": 1,\n  b: 2\n}").unwrap_err();
        assert_eq!(
            failure.message(),
            "the value is no JSON: key must be a string, line 3, column 3"
        );
        assert!(check_json("").is_err());
    }

    #[test]
    fn bytes_are_text_where_they_can_be() {
        let json = |bytes: &[u8], max| cut_json(&Cut::new(bytes, max));
        assert_eq!(json("süß".as_bytes(), 99), json!({ "text": "süß", "size": 5 }));
        assert_eq!(json("süß".as_bytes(), 2), json!({ "text": "s", "size": 5 }));
        assert_eq!(json(&[0xff, 0], 99), json!({ "base64": "/wA=", "size": 2 }));
    }
}
