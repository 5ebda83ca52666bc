//! A service whose traces go to an OpenTelemetry collector: of a request, of what the cache does for it, and of the handler
//! where it has to be asked. Its log lines are JSON and say which trace they belong to.
//!
//! `OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318 cargo run --bin otlp` starts it on port 3000, `PORT` on another
//! one. The `OTEL_*` variables mean what OpenTelemetry says they do, `REDIS_*` and `CACHE_*` what Terrace's manual says.

#[path = "../json.rs"]
mod json;
mod telemetry;

use axum::Router;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::middleware::from_fn;
use axum::routing::get;
use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;
use terrace::{CacheLayer, Rules, Store};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::spawn_blocking;
use tracing::{Instrument, info, info_span};

#[tokio::main]
async fn main() -> ExitCode {
    let Err(error) = run().await else {
        return ExitCode::SUCCESS;
    };
    eprintln!("otlp: {error}");
    ExitCode::FAILURE
}

async fn run() -> Result<(), Box<dyn Error>> {
    let traces = telemetry::start()?;
    let cache = CacheLayer::new(Store::from_env().await?).rules(Rules::new().default_ttl(Duration::from_secs(60)));
    let app = Router::new()
        .route("/products/{id}", get(product))
        .layer(cache)
        // Around the cache, so that what it does is part of the request.
        .layer(from_fn(telemetry::trace));

    let listener = TcpListener::bind(("127.0.0.1", port()?)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let mut stop = signal(SignalKind::terminate())?;
    let stopped = async move { while stop.recv().await.is_none() {} };
    axum::serve(listener, app).with_graceful_shutdown(stopped).await?;
    // It waits for the last spans to be sent, which needs the runtime.
    spawn_blocking(move || traces.shutdown()).await??;
    Ok(())
}

async fn product(Path(id): Path<u32>) -> Result<String, StatusCode> {
    let query = async {
        // What a database would take.
        tokio::time::sleep(Duration::from_millis(20)).await;
        info!(event = "product_read", id, "product_read: the database was asked");
        (id < 1000).then(|| format!("product {id}\n")).ok_or(StatusCode::NOT_FOUND)
    };
    query.instrument(info_span!("read product", otel.kind = "client", db.system.name = "sqlite")).await
}

fn port() -> Result<u16, String> {
    let Some(port) = std::env::var_os("PORT") else {
        return Ok(3000);
    };
    let port = port.to_string_lossy();
    port.parse().map_err(|_| format!("PORT must be a number from 0 to 65535, not {port:?}"))
}
