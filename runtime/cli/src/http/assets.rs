//! The page's files: inside the binary, and kept by browsers, since their addresses change with what is in them.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;

use super::site::Site;

/// A file and how it is found.
pub struct Asset {
    pub path: String,
    content_type: &'static str,
    text: &'static str,
}

pub static STYLE: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new("style.css", "text/css; charset=utf-8", include_str!("assets/style.css"))
});
pub static SCRIPT: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new("page.js", "text/javascript; charset=utf-8", include_str!("assets/page.js"))
});
pub static ICON: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("icon.svg", "image/svg+xml", include_str!("assets/icon.svg")));

impl Asset {
    fn new(name: &str, content_type: &'static str, text: &'static str) -> Asset {
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        let path = format!("/assets/{:016x}/{name}", hasher.finish());
        Asset { path, content_type, text }
    }
}

pub fn routes() -> Router<Arc<Site>> {
    [&STYLE, &SCRIPT, &ICON].into_iter().fold(Router::new(), |router, asset| {
        let file = move || async move {
            let headers = [
                (header::CONTENT_TYPE, asset.content_type),
                (header::CACHE_CONTROL, "private, max-age=31536000, immutable"),
            ];
            (headers, asset.text).into_response()
        };
        router.route(&asset.path, get(file))
    })
}
