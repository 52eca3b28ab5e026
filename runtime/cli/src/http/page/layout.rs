//! What every page has: head, navigation, main part; and what a page that cannot be shown says.

use axum::response::{Html, IntoResponse, Response};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::http::assets;
use crate::http::failure::Failure;

/// An entry of the navigation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    Overview,
    Pipelines,
    Clusters,
    Topics,
    Tables,
}

impl Section {
    const ALL: [(Section, &'static str, &'static str); 5] = [
        (Section::Overview, "Overview", "/"),
        (Section::Pipelines, "Pipelines", "/pipelines"),
        (Section::Clusters, "Clusters", "/clusters"),
        (Section::Topics, "Topics", "/topics"),
        (Section::Tables, "Tables", "/tables"),
    ];
}

/// What stands around the main part of a page.
pub struct Frame<'a> {
    pub title: &'a str,
    pub section: Section,
    /// Where its live values come from.
    pub live: Option<String>,
}

impl Frame<'_> {
    pub fn around(&self, content: Markup) -> Html<String> {
        let markup = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (self.title) " · Gristmill" }
                    link rel="icon" href=(assets::ICON.path) type="image/svg+xml";
                    link rel="stylesheet" href=(assets::STYLE.path);
                    script src=(assets::SCRIPT.path) defer {}
                }
                body data-live=[self.live.as_deref()] {
                    a.skip href="#main" { "Skip to content" }
                    (self.navigation())
                    main #main tabindex="-1" { (content) }
                    div #said role="status" aria-live="polite" {}
                }
            }
        };
        Html(markup.into_string())
    }

    fn navigation(&self) -> Markup {
        html! {
            header.side {
                a.brand href="/" { (PreEscaped(MARK)) span { "Gristmill" } }
                nav aria-label="Main" {
                    ul {
                        @for (section, name, path) in Section::ALL {
                            li { a href=(path) aria-current=[(section == self.section).then_some("page")] { (name) } }
                        }
                    }
                }
                p.version { "Version " (env!("CARGO_PKG_VERSION")) }
                @if self.live.is_some() {
                    p #link .link role="status" { "live" }
                }
            }
        }
    }
}

/// The mill's stone.
const MARK: &str = r#"<svg viewBox="0 0 24 24" width="22" height="22" aria-hidden="true"><circle cx="12" cy="12" r="10" fill="none" stroke="currentColor" stroke-width="2"/><circle cx="12" cy="12" r="2.4" fill="currentColor"/><path d="M12 2v6M12 16v6M2 12h6M16 12h6M5 5l4 4M15 15l4 4M19 5l-4 4M9 15l-4 4" stroke="currentColor" stroke-width="1.6"/></svg>"#;

/// A page that cannot be shown, in words.
pub struct NoPage(Failure);

impl From<Failure> for NoPage {
    fn from(failure: Failure) -> NoPage {
        NoPage(failure)
    }
}

impl From<anyhow::Error> for NoPage {
    fn from(error: anyhow::Error) -> NoPage {
        NoPage(error.into())
    }
}

impl IntoResponse for NoPage {
    fn into_response(self) -> Response {
        let NoPage(failure) = self;
        let status = failure.status();
        let title = status.canonical_reason().unwrap_or("Error");
        let frame = Frame { title, section: Section::Overview, live: None };
        let content = html! {
            h1 { (title) }
            p.alert role="alert" { (failure.message()) }
            p { a href="/" { "Back to the overview" } }
        };
        (status, frame.around(content)).into_response()
    }
}

/// The way to a page from those above it.
pub fn crumbs(above: &[(&str, String)]) -> Markup {
    html! {
        nav.crumbs aria-label="Breadcrumb" {
            @for (name, path) in above {
                a href=(path) { (name) }
                span aria-hidden="true" { "/" }
            }
        }
    }
}

/// A coloured word.
pub fn badge(kind: &str, word: &str) -> Markup {
    html! { span class={ "badge " (kind) } { (word) } }
}

/// A number with its name above it.
pub fn figure(name: &str, value: Markup) -> Markup {
    html! { div.figure { dt { (name) } dd { (value) } } }
}

/// What fills the place of a list that is empty.
pub fn nothing(text: &str, how: Markup) -> Markup {
    html! { div.nothing { p { (text) } (how) } }
}

/// A segment of a path.
pub fn segment(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b':' => {
                out.push(char::from(byte));
            }
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// `?name=value&…`, or nothing.
pub fn query(parts: &[(&str, &str)]) -> String {
    let pairs = parts.iter().map(|(name, value)| format!("{name}={}", segment(value)));
    let text = pairs.collect::<Vec<_>>().join("&");
    if text.is_empty() { text } else { format!("?{text}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_into_an_address_stays_one_part_of_it() {
        assert_eq!(segment("a/b?c&d#e ü%"), "a%2Fb%3Fc%26d%23e%20%C3%BC%25");
        assert_eq!(query(&[("text", "a&b=c"), ("key", "1")]), "?text=a%26b%3Dc&key=1");
        assert_eq!(query(&[]), "");
    }

    #[test]
    fn everything_is_escaped() {
        let frame = Frame {
            title: "<script>1</script>",
            section: Section::Overview,
            live: Some("\"><script>".into()),
        };
        let Html(text) = frame.around(html! { (badge("\"><script>", "<script>")) });
        assert!(!text.contains("<script>"), "{text}");
    }
}
