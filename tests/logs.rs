//! What is logged, in a program of its own: a call site that another test's thread meets first, while the subscriber is
//! being set, can stay switched off for the whole process.

use std::io::Write;
use std::sync::{Arc, Mutex};
use terrace::{CacheLayer, Config, Store};
use terrace_tests::{Origin, call, get};
use tower::Layer;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(text)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn hits_are_logged_as_often_as_is_set() {
    for (value, logged) in [("off", 0), ("all", 50), ("sample:10", 6)] {
        let log = Log::default();
        let to = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing_subscriber::filter::LevelFilter::DEBUG)
            .with_writer(move || to.clone())
            .finish();
        // In a thread of its own: what has been logged is counted for each thread.
        let text = std::thread::spawn(move || {
            let _guard = tracing_subscriber::util::SubscriberInitExt::set_default(subscriber);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            runtime.block_on(async {
                let store = Store::new(Config::from_vars([("CACHE_LOG_HITS", value)]).unwrap());
                let service = CacheLayer::new(store).layer(Origin::counting(&[("cache-control", "max-age=60")]));
                for _ in 0..51 {
                    call(&service, get("/")).await;
                }
            });
            String::from_utf8(log.0.lock().unwrap().clone()).unwrap()
        });
        let text = text.join().unwrap();
        let hits = text.matches("cache_l1_hit: ").count();
        assert!(hits.abs_diff(logged) <= 1 && (hits == 0) == (logged == 0), "{value}: {hits} of 50 hits are logged");
    }
}
