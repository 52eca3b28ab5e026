//! An answer that is no success: `{"error": "…"}` with a status that says who has to act.

use axum::Json;
use axum::http::StatusCode;
use axum::http::header::{self, HeaderValue};
use axum::response::{IntoResponse, Response};
use gristmill_connectors::NotAllowed;
use serde_json::{Value, json};

/// What a route answers if it cannot do what was asked.
#[derive(Debug)]
pub struct Failure {
    status: StatusCode,
    body: Value,
}

impl Failure {
    pub fn new(status: StatusCode, message: impl Into<String>) -> Failure {
        Failure { status, body: json!({ "error": message.into() }) }
    }

    /// With more than a message; `body` has a member `error`.
    pub fn with_body(status: StatusCode, body: Value) -> Failure {
        Failure { status, body }
    }

    pub fn not_found(message: impl Into<String>) -> Failure {
        Failure::new(StatusCode::NOT_FOUND, message)
    }

    pub fn bad_request(message: impl Into<String>) -> Failure {
        Failure::new(StatusCode::BAD_REQUEST, message)
    }

    pub fn forbidden(message: impl Into<String>) -> Failure {
        Failure::new(StatusCode::FORBIDDEN, message)
    }

    /// A key is wanted, or another one.
    pub fn unauthorized() -> Failure {
        Failure::new(
            StatusCode::UNAUTHORIZED,
            "this page wants an API key and its secret (HTTP Basic)",
        )
    }

    pub fn status(&self) -> StatusCode {
        self.status
    }

    pub fn message(&self) -> &str {
        self.body["error"].as_str().unwrap_or_default()
    }
}

/// A cluster, a table or a file that does not do what it should, or not for this visitor: the words are for people.
impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        let status = match error.is::<NotAllowed>() {
            true => StatusCode::FORBIDDEN,
            false => StatusCode::BAD_GATEWAY,
        };
        Failure::new(status, format!("{error:#}"))
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body)).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            let asked = HeaderValue::from_static(
                "Basic realm=\"Gristmill: API key and secret\", charset=\"UTF-8\"",
            );
            response.headers_mut().insert(header::WWW_AUTHENTICATE, asked);
        }
        response
    }
}
