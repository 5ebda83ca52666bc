//! Log lines as JSON on standard error, each with the trace that its request is part of.

use crate::json::{Fields, Json};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::HeaderMap;
use tracing::level_filters::LevelFilter;
use tracing::span::Id;
use tracing::{Dispatch, Instrument, info_span};
use tracing_subscriber::Registry;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::{LookupSpan, SpanRef};
use tracing_subscriber::util::SubscriberInitExt;

pub(crate) fn start() {
    let lines = tracing_subscriber::fmt::layer().event_format(Json(name_trace)).with_writer(std::io::stderr);
    tracing_subscriber::registry().with(LevelFilter::INFO).with(lines).init();
}

/// Kept with the span of a request.
struct TraceId(String);

/// Puts a request into a span that knows its trace, if it is part of one.
pub(crate) async fn trace(request: Request, next: Next) -> Response {
    let Some(trace) = trace_id(request.headers()) else { return next.run(request).await };
    let (span, trace) = (info_span!("request"), TraceId(trace.to_owned()));
    span.with_subscriber(|(id, dispatch)| {
        if let Some(span) = known(dispatch, id) {
            span.extensions_mut().insert(trace);
        }
    });
    next.run(request).instrument(span).await
}

/// The trace that a request says it is part of, if it says it once and as W3C Trace Context has it: version, trace, parent
/// and flags, in lowercase hexadecimal digits.
fn trace_id(headers: &HeaderMap) -> Option<&str> {
    let mut fields = headers.get_all("traceparent").iter();
    let (Some(field), None) = (fields.next(), fields.next()) else { return None };
    let mut parts = field.to_str().ok()?.splitn(5, '-');
    let [version, trace, parent, flags] = [(); 4].map(|()| parts.next().unwrap_or_default());
    // Only later versions may say more.
    let is_version = is_hex(version, 2) && version != "ff" && (version != "00" || parts.next().is_none());
    (is_version && is_id(trace, 32) && is_id(parent, 16) && is_hex(flags, 2)).then_some(trace)
}

fn is_id(text: &str, digits: usize) -> bool {
    is_hex(text, digits) && text.bytes().any(|digit| digit != b'0')
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

fn name_trace(dispatch: &Dispatch, span: &Id, line: &mut Fields) {
    let mut spans = known(dispatch, span).into_iter().flat_map(|span| span.scope());
    if let Some(trace) = spans.find_map(|span| Some(span.extensions().get::<TraceId>()?.0.clone())) {
        line.put("trace_id", trace);
    }
}

fn known<'a>(dispatch: &'a Dispatch, span: &Id) -> Option<SpanRef<'a, Registry>> {
    dispatch.downcast_ref::<Registry>()?.span(span)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_taken_from_a_valid_traceparent_alone() {
        const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
        let valid = format!("00-{TRACE}-b7ad6b7169203331-01");
        let traced = |values: &[&str]| {
            let field = |value: &&str| (http::HeaderName::from_static("traceparent"), value.parse().unwrap());
            let headers: HeaderMap = values.iter().map(field).collect();
            trace_id(&headers).map(str::to_owned)
        };
        assert_eq!(traced(&[&valid]).as_deref(), Some(TRACE));
        assert_eq!(traced(&[&format!("cc{}-more", &valid[2..])]).as_deref(), Some(TRACE), "of a later version");
        assert_eq!(traced(&[]), None);
        assert_eq!(traced(&[&valid, &valid]), None);
        for bad in [
            valid.to_uppercase(),
            valid.replace(TRACE, &"0".repeat(32)),
            valid.replace("b7ad6b7169203331", &"0".repeat(16)),
            valid.replace(TRACE, "bob"),
            format!("ff{}", &valid[2..]),
            format!("{valid}-more"),
            valid[..53].to_owned(),
        ] {
            assert_eq!(traced(&[&bad]), None, "{bad}");
        }
    }
}
