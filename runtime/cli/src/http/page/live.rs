//! Values that change while a page is open: made by the same function for the page and for its stream.
//!
//! A stream sends only what has changed, as one event with `{id: html}`; the script puts it in place.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::response::IntoResponse;
use axum::response::Response;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::Stream;
use gristmill_engine::tap::TapRow;
use maud::{Markup, PreEscaped, Render, html};

use crate::http::failure::Failure;
use crate::http::site::Site;

/// A stream that has nothing to say says so as often, and finds out that nobody listens.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Values by the `id` of the elements that show them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Values(BTreeMap<String, String>);

impl Values {
    pub fn set(&mut self, id: impl Into<String>, value: impl Render) {
        self.0.insert(id.into(), value.render().into_string());
    }

    /// The element, with the value of this moment.
    pub fn span(&self, id: &str) -> Markup {
        html! { span id=(id) { (self.inner(id)) } }
    }

    /// The value alone, for an element of another kind.
    pub fn inner(&self, id: &str) -> Markup {
        PreEscaped(self.0.get(id).cloned().unwrap_or_default())
    }

    fn changed_since(&self, before: &Values) -> BTreeMap<&String, &String> {
        self.0.iter().filter(|(id, value)| before.0.get(*id) != Some(value)).collect()
    }
}

/// Sends what has changed with each reading of the counters, until the reader goes or the server stops.
///
/// # Errors
/// There are too many streams already.
pub fn stream(
    site: Arc<Site>,
    values: impl Fn(&Site) -> Values + Send + 'static,
) -> Result<Response, Failure> {
    let place = site.stream_place()?;
    let ticks = site.history.ticks();
    let state = (site, ticks, Values::default(), values, place);
    let events =
        futures::stream::unfold(state, |(site, mut ticks, before, values, place)| async move {
            loop {
                tokio::select! {
                    ticked = ticks.changed() => ticked.ok()?,
                    () = site.stop.cancelled() => return None,
                }
                let now = values(&site);
                let changed = now.changed_since(&before);
                if changed.is_empty() {
                    continue;
                }
                let event = Event::default().event("values").json_data(&changed).ok()?;
                return Some((Ok(event), (site, ticks, now, values, place)));
            }
        });
    Ok(response(events))
}

/// Events as they come.
pub fn response(
    events: impl Stream<Item = Result<Event, Infallible>> + Send + 'static,
) -> Response {
    Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}

/// Rows behind a stage of a pipeline as they pass, each made into an event.
///
/// # Errors
/// There is no such pipeline or stage; too many look already.
pub fn tap(
    site: &Arc<Site>,
    pipeline: &str,
    stage: &str,
    rows_per_second: u32,
    event: impl Fn(TapRow) -> Option<Event> + Clone + Send + 'static,
) -> Result<Response, Failure> {
    let place = site.stream_place()?;
    let tapped = site.pipeline(pipeline)?.control.tap(stage, rows_per_second);
    let rows = tapped.map_err(|error| Failure::not_found(format!("{error:#}")))?;
    let state = (rows, place, site.stop.clone());
    let events = futures::stream::unfold(state, move |(mut rows, place, stop)| {
        let event = event.clone();
        async move {
            let row = tokio::select! {
                row = rows.recv() => row?,
                () = stop.cancelled() => return None,
            };
            Some((Ok(event(row)?), (rows, place, stop)))
        }
    });
    Ok(response(events))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_changed_is_sent() {
        let (mut before, mut now) = (Values::default(), Values::default());
        before.set("a", "1");
        now.set("a", "1");
        now.set("b", "<2>");
        let changed = now.changed_since(&before);
        assert_eq!(
            changed.into_iter().collect::<Vec<_>>(),
            [(&"b".to_string(), &"&lt;2&gt;".to_string())]
        );
    }
}
