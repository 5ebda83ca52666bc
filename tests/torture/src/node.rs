//! One of the processes: reads through its cache, and changes what it reads.

use crate::ledger::{Log, Source, now};
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Empty;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use terrace::{CacheLayer, Store, danger};
use tower::{Layer, ServiceExt};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Where the origin listens.
    #[arg(long)]
    origin: String,
    /// Where to write down what happens.
    #[arg(long)]
    log: PathBuf,
    #[arg(long)]
    seconds: u64,
    #[arg(long, default_value_t = 3)]
    readers: u64,
    #[arg(long, default_value_t = 16)]
    keys: u64,
    /// A protection to do without.
    #[arg(long)]
    without: Vec<String>,
    /// Half of the messages about invalidations are lost.
    #[arg(long)]
    lose_bells: bool,
    /// The polls of this process are held up, from a third of the time on to two thirds.
    #[arg(long)]
    hold_polls: bool,
}

type Web = Client<HttpConnector, Empty<Bytes>>;

pub(crate) fn run(options: &Options) {
    for name in &options.without {
        let known = danger::ALL.iter().find(|(_, known)| known == name);
        danger::switch_off(known.unwrap_or_else(|| panic!("no protection is called {name}")).0);
    }
    if options.lose_bells {
        danger::lose_bells();
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let log = Arc::new(Log::create(&options.log));
    runtime.block_on(work(options, &log));
    log.finish();
}

async fn work(options: &Options, log: &Arc<Log>) {
    let store = Store::from_env().await.unwrap_or_else(|error| panic!("{error}"));
    let web: Web = Client::builder(TokioExecutor::new()).build_http();
    let until = Instant::now() + Duration::from_secs(options.seconds);
    let mut tasks = Vec::new();
    if options.hold_polls {
        let third = Duration::from_secs(options.seconds) / 3;
        tasks.push(tokio::spawn(async move {
            for held in [true, false] {
                tokio::time::sleep(third).await;
                danger::hold_polls(held);
            }
        }));
    }
    for _ in 0..options.readers {
        let service = CacheLayer::new(store.clone()).layer(web.clone());
        let (origin, keys, log) = (options.origin.clone(), options.keys, Arc::clone(log));
        tasks.push(tokio::spawn(async move {
            while Instant::now() < until {
                let key = fastrand::u64(..keys);
                let asked = now();
                let answer = service.clone().oneshot(request(Method::GET, &origin, key)).await;
                match read(answer).await {
                    Some((version, source)) => log.answer(key, version, source, asked),
                    None => log.failed(),
                }
                pause(2000).await;
            }
        }));
    }
    let (origin, keys, log) = (options.origin.clone(), options.keys, Arc::clone(log));
    tasks.push(tokio::spawn(async move {
        while Instant::now() < until {
            let key = fastrand::u64(..keys);
            let committed = read(web.request(request(Method::POST, &origin, key)).await).await;
            let (version, _) = committed.expect("the origin never fails");
            if store.purge_tag(&key.to_string()).await.is_ok() {
                log.acknowledged(key, version);
            }
            pause(120_000).await;
        }
    }));
    for task in tasks {
        task.await.expect("no task panics");
    }
}

fn request(method: Method, origin: &str, key: u64) -> Request<Empty<Bytes>> {
    let request = Request::builder().method(method).uri(format!("{origin}/k/{key}"));
    request.body(Empty::new()).expect("a request")
}

/// The version in an answer, and where that came from.
async fn read<B, E>(answer: Result<http::Response<B>, E>) -> Option<(u64, Source)>
where
    B: http_body_util::BodyExt<Data = Bytes>,
{
    let answer = answer.ok()?;
    let status = answer.headers().get("cache-status").and_then(|status| status.to_str().ok()).unwrap_or_default();
    let source = Source::of(status);
    let body = answer.into_body().collect().await.ok()?.to_bytes();
    Some((std::str::from_utf8(&body).ok()?.parse().ok()?, source))
}

async fn pause(microseconds: u64) {
    tokio::time::sleep(Duration::from_micros(fastrand::u64(..microseconds))).await;
}
