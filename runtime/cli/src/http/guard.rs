//! Who may come in, and from which page: checked before anything else looks at a request.
//!
//! - Host: a page on loopback answers to loopback's names alone, so that no name of somebody else's that points here
//!   (DNS rebinding) makes our page theirs.
//! - Origin: what changes something comes as JSON, and from our own page if it comes from a page. A form of another site
//!   can send no JSON, and its scripts must ask first (CORS) and are not allowed.
//! - API keys: where the built-in broker wants them, HTTP Basic with the same keys. There are no cookies.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::failure::Failure;
use super::site::Site;
use super::visitor::Visitor;

/// No script but our own file, nothing from elsewhere, in nobody's frame.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

static HEADERS: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// The middleware around every route.
pub async fn guard(State(site): State<Arc<Site>>, mut request: Request, next: Next) -> Response {
    let visitor = match admit(&site, &request) {
        Ok(Admitted::Unseen) => Ok(Visitor::Anybody),
        Ok(Admitted::With(credentials)) => site.visitor(credentials).await,
        Err(refusal) => Err(refusal),
    };
    with_headers(match visitor {
        Ok(visitor) => {
            request.extensions_mut().insert(visitor);
            next.run(request).await
        }
        Err(refusal) => refusal.into_response(),
    })
}

/// Who may come further.
enum Admitted {
    /// Whoever asks for nothing that needs a key.
    Unseen,
    With(Option<(String, String)>),
}

fn admit(site: &Site, request: &Request) -> Result<Admitted, Failure> {
    let headers = request.headers();
    let host = host(headers, request.uri());
    if site.is_local && !host.is_some_and(is_loopback_name) {
        return Err(Failure::new(
            StatusCode::MISDIRECTED_REQUEST,
            "this page answers to localhost and 127.0.0.1 alone; to reach it by another name, listen there with --http",
        ));
    }
    check_origin(request, host)?;
    // Who watches over the process has no key, and learns nothing but that it is well.
    if request.uri().path().starts_with("/health/") {
        return Ok(Admitted::Unseen);
    }
    Ok(Admitted::With(basic(headers)))
}

fn host<'a>(headers: &'a HeaderMap, uri: &'a Uri) -> Option<&'a str> {
    let named = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    named.or_else(|| uri.authority().map(|authority| authority.as_str()))
}

/// Any port: it may be a tunnel's.
fn is_loopback_name(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    let address = name.parse::<std::net::IpAddr>();
    name.eq_ignore_ascii_case("localhost")
        || address.is_ok_and(|ip| ip.to_canonical().is_loopback())
}

fn check_origin(request: &Request, host: Option<&str>) -> Result<(), Failure> {
    let headers = request.headers();
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let path = request.uri().path();
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let foreign_site = matches!(text("sec-fetch-site"), Some("cross-site" | "same-site"));
    let foreign_origin = text("origin").is_some_and(|origin| !is_our_origin(origin, host));
    // A link from elsewhere may lead to a page; what only scripts read is for ours.
    let for_scripts = path.starts_with("/api/") || path.starts_with("/live/");
    if (foreign_site || foreign_origin) && (!reads || for_scripts) {
        return Err(Failure::new(StatusCode::FORBIDDEN, "this came from another site's page"));
    }
    if !reads && !text("content-type").is_some_and(is_json) {
        return Err(Failure::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "what changes something comes as JSON: set `content-type: application/json`",
        ));
    }
    Ok(())
}

/// `https` too: TLS may end before us.
fn is_our_origin(origin: &str, host: Option<&str>) -> bool {
    let place = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    place.zip(host).is_some_and(|(place, host)| place.eq_ignore_ascii_case(host))
}

fn is_json(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/json")
}

/// Key and secret of HTTP Basic.
fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    let decoded = scheme.eq_ignore_ascii_case("basic").then(|| BASE64.decode(encoded.trim()));
    let text = String::from_utf8(decoded?.ok()?).ok()?;
    text.split_once(':').map(|(key, secret)| (key.to_string(), secret.to_string()))
}

fn with_headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in &HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn request(method: Method, path: &str, headers: &[(&str, &str)]) -> Request {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Body::empty()).unwrap()
    }

    fn status(request: &Request) -> StatusCode {
        let host = host(request.headers(), request.uri());
        check_origin(request, host).err().map_or(StatusCode::OK, |failure| failure.status())
    }

    #[test]
    fn loopback_has_few_names() {
        for ours in
            ["localhost", "LOCALHOST:8080", "127.0.0.1:1", "127.8.0.1", "[::1]:8080", "[::1]"]
        {
            assert!(is_loopback_name(ours), "{ours}");
        }
        for theirs in [
            "evil.example",
            "evil.example:8080",
            "localhost.evil.example",
            "10.0.0.1:8080",
            "",
            "[::2]:1",
        ] {
            assert!(!is_loopback_name(theirs), "{theirs}");
        }
    }

    #[test]
    fn a_change_comes_as_json_from_our_own_page_or_from_no_page() {
        const HOST: (&str, &str) = ("host", "localhost:8080");
        const JSON: (&str, &str) = ("content-type", "application/json; charset=utf-8");
        let post = |headers: &[(&str, &str)]| status(&request(Method::POST, "/api/v1/x", headers));
        assert_eq!(post(&[HOST, JSON]), StatusCode::OK);
        assert_eq!(post(&[HOST, JSON, ("origin", "http://localhost:8080")]), StatusCode::OK);
        assert_eq!(post(&[HOST, JSON, ("sec-fetch-site", "same-origin")]), StatusCode::OK);
        let refused = StatusCode::FORBIDDEN;
        assert_eq!(post(&[HOST, JSON, ("origin", "http://evil.example")]), refused);
        assert_eq!(post(&[HOST, JSON, ("origin", "http://localhost:8081")]), refused);
        assert_eq!(post(&[HOST, JSON, ("origin", "null")]), refused);
        assert_eq!(post(&[HOST, JSON, ("sec-fetch-site", "cross-site")]), refused);
        let form = ("content-type", "application/x-www-form-urlencoded");
        for headers in [&[HOST, form][..], &[HOST], &[HOST, ("content-type", "text/plain")]] {
            assert_eq!(post(headers), StatusCode::UNSUPPORTED_MEDIA_TYPE);
        }
    }

    #[test]
    fn links_from_elsewhere_lead_to_pages_and_not_into_the_api() {
        let foreign = &[("host", "localhost:8080"), ("sec-fetch-site", "cross-site")];
        assert_eq!(status(&request(Method::GET, "/pipelines", foreign)), StatusCode::OK);
        assert_eq!(
            status(&request(Method::GET, "/api/v1/pipelines", foreign)),
            StatusCode::FORBIDDEN
        );
        assert_eq!(
            status(&request(Method::GET, "/live/pipelines", foreign)),
            StatusCode::FORBIDDEN
        );
    }

    #[test]
    fn basic_has_a_key_and_a_secret() {
        let read = |value: &str| {
            let request = request(Method::GET, "/", &[("authorization", value)]);
            basic(request.headers())
        };
        let both = |key: &str, secret: &str| Some((key.to_string(), secret.to_string()));
        assert_eq!(read("Basic a2V5OnNlY3JldDp4"), both("key", "secret:x"));
        assert_eq!(read("basic a2V5Og=="), both("key", ""));
        for bad in ["", "Basic", "Basic %", "Bearer a2V5OnNlY3JldA==", "Basic a2V5"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
