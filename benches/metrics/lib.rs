//! A hit in memory, while what it is counted for is switched on or off.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use std::convert::Infallible;
use std::fmt;
use terrace::{Cache, CacheLayer, Store};
use tokio::runtime::{Builder, Runtime};
use tower::util::BoxCloneSyncService;
use tower::{Layer, Service};

/// What listens while hits are measured. A process is in one of these for good: a recorder or a subscriber stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listening {
    /// The crate is built without the features `metrics` and `tracing`.
    Built,
    /// Nobody listens.
    Nobody,
    /// A recorder is installed, to which statistics are published every five seconds.
    Recorder,
    /// And it is scraped ten times a second.
    Scraped,
    /// And log lines at level INFO are written to nowhere.
    Logged,
    /// The same at level DEBUG: each hit has a span, and every thousandth a line.
    Traced,
}

impl Listening {
    /// All that this build can be in.
    pub const ALL: &'static [Self] = if cfg!(all(feature = "metrics", feature = "tracing")) {
        &[Self::Nobody, Self::Recorder, Self::Scraped, Self::Logged, Self::Traced]
    } else {
        &[Self::Built]
    };

    /// What it is called on a command line.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Built => "built",
            Self::Nobody => "nobody",
            Self::Recorder => "recorder",
            Self::Scraped => "scraped",
            Self::Logged => "logged",
            Self::Traced => "traced",
        }
    }

    /// By that name.
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|listening| listening.word() == word)
    }

    /// Begins to listen.
    ///
    /// # Panics
    ///
    /// If something in this process listens already.
    pub fn begin(self) {
        #[cfg(all(feature = "metrics", feature = "tracing"))]
        if !matches!(self, Self::Built | Self::Nobody) {
            let metrics = terrace::prometheus::install().expect("the first recorder of this process");
            if self == Self::Scraped {
                std::thread::spawn(move || {
                    loop {
                        std::hint::black_box(metrics.render());
                        std::thread::sleep(std::time::Duration::from_millis(100));
                    }
                });
            }
        }
        #[cfg(all(feature = "metrics", feature = "tracing"))]
        if let Some(level) = match self {
            Self::Logged => Some(tracing::Level::INFO),
            Self::Traced => Some(tracing::Level::DEBUG),
            _ => None,
        } {
            tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::sink).init();
        }
    }
}

impl fmt::Display for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Built => "built without `metrics` and `tracing`",
            Self::Nobody => "no recorder, no subscriber",
            Self::Recorder => "recorder installed",
            Self::Scraped => "scraped ten times a second",
            Self::Logged => "log at INFO",
            Self::Traced => "spans at DEBUG",
        })
    }
}

type Origin = BoxCloneSyncService<Request<Full<Bytes>>, Response<Full<Bytes>>, Infallible>;

/// A cache that has the answer to every request.
pub struct Shop {
    runtime: Runtime,
    service: Cache<Origin>,
}

impl Default for Shop {
    fn default() -> Self {
        Self::new()
    }
}

const CONTENT: &[u8] = &[b'x'; 1024];

impl Shop {
    /// With the first request answered.
    ///
    /// # Panics
    ///
    /// When the system refuses what a runtime needs.
    pub fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let origin = tower::service_fn(async |_: Request<Full<Bytes>>| {
            let response =
                Response::builder().header("content-type", "text/plain").header("cache-control", "max-age=3600");
            Ok::<_, Infallible>(response.body(Full::new(Bytes::from_static(CONTENT))).expect("valid"))
        });
        let service = CacheLayer::new(Store::memory()).layer(BoxCloneSyncService::new(origin));
        let mut shop = Self { runtime, service };
        let _ = shop.hits(1, || 0);
        shop
    }

    /// By how much the meter rises while so many requests are answered.
    pub fn hits(&mut self, times: u32, meter: fn() -> u64) -> u64 {
        let requests = (0..times).map(|_| request()).collect();
        metered(&self.runtime, &mut self.service, requests, meter)
    }
}

/// With nine fields, as a browser's.
fn request() -> Request<Full<Bytes>> {
    const FIELDS: [(&str, &str); 9] = [
        ("host", "shop.example"),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
        ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
        ("accept-language", "en-US,en;q=0.5"),
        ("accept-encoding", "gzip, deflate, br"),
        ("dnt", "1"),
        ("connection", "keep-alive"),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-site", "none"),
    ];
    let request =
        FIELDS.into_iter().fold(Request::get("/item/7"), |request, (name, value)| request.header(name, value));
    request.body(Full::default()).expect("valid")
}

/// Never inlined, so that callgrind can be told to look at nothing else.
#[inline(never)]
fn metered(
    runtime: &Runtime,
    service: &mut Cache<Origin>,
    requests: Vec<Request<Full<Bytes>>>,
    meter: fn() -> u64,
) -> u64 {
    runtime.block_on(serve(service, requests, meter))
}

async fn serve(service: &mut Cache<Origin>, requests: Vec<Request<Full<Bytes>>>, meter: fn() -> u64) -> u64 {
    let before = meter();
    for request in requests {
        let Ok(mut response) = service.call(request).await;
        let mut length = 0;
        while let Some(Ok(frame)) = response.body_mut().frame().await {
            length += frame.data_ref().map_or(0, Bytes::len);
        }
        assert_eq!(std::hint::black_box(length), CONTENT.len());
    }
    meter() - before
}
