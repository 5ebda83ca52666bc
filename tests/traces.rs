//! Spans, in a program of its own: a call site that another test's thread meets first can stay switched off.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use terrace::{Cache, CacheLayer, Config, Rules, Store};
use terrace_tests::{Gate, Origin, call, get, respond, spawn, text, until, waits};
use tower::Layer as _;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Instrument, Subscriber, info_span};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

/// A span, when it is over.
#[derive(Clone, Debug, Default)]
struct Seen {
    name: &'static str,
    parent: Option<&'static str>,
    fields: BTreeMap<&'static str, String>,
}

impl Visit for Seen {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.fields.insert(field.name(), format!("{value:?}").trim_matches('"').to_owned());
    }
}

/// The spans that are over, in the order of their ends.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<Seen>>>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Spans {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        let parent = span.parent().map(|parent| parent.name());
        let mut seen = Seen { name: span.name(), parent, fields: BTreeMap::new() };
        attributes.record(&mut seen);
        span.extensions_mut().insert(seen);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        values.record(span.extensions_mut().get_mut::<Seen>().unwrap());
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let span = context.span(&id).unwrap();
        let seen = span.extensions_mut().remove::<Seen>().unwrap();
        self.0.lock().unwrap().push(seen);
    }
}

impl Spans {
    fn all(&self) -> Vec<Seen> {
        self.0.lock().unwrap().clone()
    }

    /// Those that are over since this was asked last, as `name in parent: fields`.
    fn take(&self) -> Vec<String> {
        let all = std::mem::take(&mut *self.0.lock().unwrap());
        all.iter().map(Seen::text).collect()
    }
}

impl Seen {
    fn text(&self) -> String {
        let fields: Vec<String> = self.fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
        format!("{} in {}: {}", self.name, self.parent.unwrap_or("nothing"), fields.join(" "))
    }
}

const HIT: &str = "cache lookup in request: cache.name=response cache.result=hit cache.tier=l1";
const MISS: &str = "cache lookup in request: cache.name=response cache.result=miss cache.tier=l1";
const REQUEST: &str = "request in nothing: ";

fn fill(parent: &str, forward: &str, status: u16) -> String {
    let error = if status >= 500 { " otel.status_code=ERROR" } else { "" };
    format!(
        "cache fill in {parent}: cache.forward={forward} cache.name=response http.request.method=GET \
         http.response.status_code={status}{error}"
    )
}

/// A service around an origin whose work is in a span of its own.
fn shop(store: &Store, origin: Origin) -> Cache<Origin> {
    CacheLayer::new(store.clone()).rules(Rules::new()).layer(origin)
}

fn working(fields: &'static [(&'static str, &'static str)]) -> Origin {
    Origin::new(move |request| {
        let work = async move {
            let status = if request.uri().path() == "/broken" { 503 } else { 200 };
            Ok(respond(status, fields, terrace_tests::full("content")))
        };
        work.instrument(info_span!("work"))
    })
}

async fn request(service: &Cache<Origin>, path: &str) {
    call(service, get(path)).instrument(info_span!("request")).await;
}

fn listening(level: LevelFilter, test: impl AsyncFnOnce(Spans)) {
    let spans = Spans::default();
    let subscriber = tracing_subscriber::registry().with(spans.clone()).with(level);
    let _guard = tracing::subscriber::set_default(subscriber);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(test(spans));
}

/// One test, so that no other thread meets a call site first.
#[test]
fn what_a_request_waits_for_is_in_its_trace() {
    listening(LevelFilter::DEBUG, async |spans| {
        misses_and_hits(&spans).await;
        waiting(&spans).await;
        behind_the_answers(&spans).await;
        invalidations(&spans).await;
    });
    listening(LevelFilter::INFO, async |spans| {
        let service = shop(&Store::memory(), working(&[("cache-control", "max-age=60")]));
        request(&service, "/").await;
        request(&service, "/").await;
        // Of the test's own, for the cache has none at this level.
        let names: Vec<_> = spans.all().iter().map(|span| span.name).collect();
        assert_eq!(names, ["work", "request", "request"]);
    });
}

async fn misses_and_hits(spans: &Spans) {
    let service = shop(&Store::memory(), working(&[("cache-control", "max-age=60")]));
    request(&service, "/").await;
    let work = "work in cache fill: ".to_owned();
    assert_eq!(spans.take(), [MISS.to_owned(), work.clone(), fill("request", "uri_miss", 200), REQUEST.to_owned()]);
    request(&service, "/").await;
    assert_eq!(spans.take(), [HIT, REQUEST]);
    request(&service, "/broken").await;
    assert_eq!(spans.take(), [MISS.to_owned(), work, fill("request", "uri_miss", 503), REQUEST.to_owned()]);
}

async fn waiting(spans: &Spans) {
    let gate = Gate::default();
    let store = Store::memory();
    let service = shop(&store, gate.before(|_| text(&[("cache-control", "max-age=60")], "content")));
    let leader = spawn(&service, get("/"));
    until("it leads", || gate.arrived() == 1).await;
    let follower = tokio::spawn({
        let service = service.clone();
        async move { call(&service, get("/")).await }.instrument(info_span!("request"))
    });
    until("it waits", || waits(&store) == 1).await;
    gate.open();
    assert_eq!(leader.await.unwrap().text(), follower.await.unwrap().text());
    let wait = "cache wait in request: cache.lock=local cache.name=response";
    assert!(spans.take().iter().any(|span| span == wait));
}

async fn behind_the_answers(spans: &Spans) {
    let config = Config::from_vars([("CACHE_CONSISTENCY_SAMPLE", "1"), ("CACHE_L1_MAX_LAG", "10ms")]).unwrap();
    let store = Store::new(config);
    let stale = [("cache-control", "max-age=0, stale-while-revalidate=60")];
    let origin = Origin::answering(move |head| match head.uri.path() {
        "/stale" => text(&stale, "content"),
        _ => text(&[("cache-control", "max-age=60")], "content"),
    });
    let service = shop(&store, origin);
    for (path, name) in [("/stale", "cache refresh"), ("/fresh", "cache sample")] {
        request(&service, path).await;
        spans.take();
        request(&service, path).await;
        let is_over = || spans.all().iter().any(|span| span.name == name);
        until("it is over", is_over).await;
        let seen = spans.take();
        assert!(seen.contains(&format!("{name} in request: cache.name=response")), "{seen:?}");
        if name == "cache refresh" {
            assert!(seen.contains(&fill("cache refresh", "stale", 200)), "{seen:?}");
        }
    }
}

async fn invalidations(spans: &Spans) {
    let store = Store::memory();
    let purge = async { store.purge_tag("a").soft().await }.instrument(info_span!("request"));
    drop(purge.await.unwrap());
    let expected = "cache invalidate in request: cache.kind=soft cache.result=acked cache.scope=tag";
    assert_eq!(spans.take(), [expected, REQUEST]);
}
