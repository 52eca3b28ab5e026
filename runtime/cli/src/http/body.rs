//! A request's body: JSON, and if it is none, the place of the mistake.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::failure::Failure;

/// What the body says.
pub struct Body<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Body<T>, Failure> {
        let bytes = Bytes::from_request(request, state).await;
        let bytes = bytes.map_err(|error| Failure::new(error.status(), error.body_text()))?;
        serde_json::from_slice(&bytes).map(Body).map_err(|error| {
            let body = json!({ "error": format!("the request: {error}") });
            Failure::with_body(StatusCode::BAD_REQUEST, body)
        })
    }
}
