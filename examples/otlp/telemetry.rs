//! Traces for a collector, and log lines that name them.

use crate::json::{Fields, Json};
use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::Response;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{TraceContextExt, TracerProvider};
use opentelemetry_http::HeaderExtractor;
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::runtime::Tokio;
use opentelemetry_sdk::trace::SdkTracerProvider;
use opentelemetry_sdk::trace::span_processor_with_async_runtime::BatchSpanProcessor;
use std::error::Error;
use tracing::field::Empty;
use tracing::level_filters::LevelFilter;
use tracing::span::Id;
use tracing::{Dispatch, Instrument, Span, info, info_span};
use tracing_opentelemetry::{OpenTelemetrySpanExt, get_otel_context};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Sends spans to the collector that `OTEL_EXPORTER_OTLP_ENDPOINT` names, and log lines to standard error.
pub(crate) fn start() -> Result<SdkTracerProvider, Box<dyn Error>> {
    let exporter = SpanExporter::builder().with_http().build()?;
    let resource = Resource::builder();
    let named = std::env::var_os("OTEL_SERVICE_NAME").is_some();
    let resource = if named { resource } else { resource.with_service_name("terrace-example") };
    let traces = SdkTracerProvider::builder()
        .with_resource(resource.build())
        .with_span_processor(BatchSpanProcessor::builder(exporter, Tokio).build())
        .build();

    // The spans of the cache are at level DEBUG: for traces, not for the log.
    let levels = Targets::new().with_default(LevelFilter::INFO).with_target("terrace", LevelFilter::DEBUG);
    let spans = tracing_opentelemetry::layer().with_tracer(traces.tracer("terrace-example")).with_filter(levels);
    let lines = tracing_subscriber::fmt::layer().event_format(Json(ids)).with_writer(std::io::stderr);
    let lines = lines.with_filter(log_level()?);
    tracing_subscriber::registry().with(spans).with(lines).try_init()?;
    Ok(traces)
}

fn log_level() -> Result<LevelFilter, String> {
    let Ok(level) = std::env::var("LOG_LEVEL") else {
        return Ok(LevelFilter::INFO);
    };
    level.parse().map_err(|_| format!("LOG_LEVEL must be a level such as debug or info, not {level:?}"))
}

/// The span of a request, which continues the trace that its client began, if it did.
pub(crate) async fn trace(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let span = info_span!(
        "request",
        otel.name = format!("{} {route}", request.method()),
        otel.kind = "server",
        http.request.method = request.method().as_str(),
        http.route = route,
        http.response.status_code = Empty,
    );
    let caller = TraceContextPropagator::new().extract(&HeaderExtractor(request.headers()));
    // It fails only for a span that has begun already, or that nobody listens to.
    let _ = span.set_parent(caller);
    let answer = async move {
        let response = next.run(request).await;
        let status = response.status().as_u16();
        Span::current().record("http.response.status_code", status);
        info!(event = "request_answered", status, "request_answered");
        response
    };
    answer.instrument(span).await
}

/// Names the trace of a line, and the span in it.
fn ids(dispatch: &Dispatch, span: &Id, line: &mut Fields) {
    if let Some(known) = get_otel_context(span, dispatch) {
        let ids = known.span().span_context().clone();
        line.put("trace_id", ids.trace_id().to_string());
        line.put("span_id", ids.span_id().to_string());
    }
}
