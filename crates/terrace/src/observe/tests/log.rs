//! What the log says.

use super::*;
use std::io::Write;
use std::sync::{Mutex, PoisonError};
use tracing_subscriber::filter::LevelFilter;

/// Lines written by the standard formatter.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn logged(level: LevelFilter, work: impl FnOnce()) -> Vec<String> {
    let lines = Lines::default();
    let writer = lines.clone();
    let log = tracing_subscriber::fmt().with_max_level(level).with_ansi(false).with_writer(move || writer.clone());
    tracing::subscriber::with_default(log.finish(), work);
    let bytes = lines.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
}

fn only(lines: &[String], parts: &[&str]) {
    assert_eq!(lines.len(), 1, "{lines:?}");
    for part in parts {
        assert!(lines[0].contains(part), "{part} in {}", lines[0]);
    }
}

#[test]
fn an_event_is_a_field_and_in_the_message() {
    let config = Config::default().namespace("shop").unwrap();
    let lines = logged(LevelFilter::INFO, || drop(Observe::new(Clock::default(), &config)));
    let start = "cache_initialized: Cache initialized event=\"cache_initialized\" cache_namespace=\"shop\"";
    only(&lines, &["INFO", start, "l1_max_bytes=67108864"]);

    let observe = observe();
    let settings = crate::config::Settings::new(&config, observe.clone());
    let lines = logged(LevelFilter::INFO, || settings.flags().set(Feature::Swr, false));
    only(&lines, &["INFO", "event=\"cache_flag_changed\"", "feature=\"swr\" on=false", "cache_flag_changed:"]);
    let lines = logged(LevelFilter::INFO, || settings.set("CACHE_FILL_WAIT", "2s").unwrap());
    let fields = "setting=\"CACHE_FILL_WAIT\" value=\"2s\"";
    only(&lines, &["INFO", "event=\"cache_setting_changed\"", fields, "cache_setting_changed:"]);
    let lines = logged(LevelFilter::DEBUG, || observe.fill_error(&"the body ended early"));
    only(&lines, &["DEBUG", "cache_fill_error:", "event=\"cache_fill_error\"", "reason=the body ended early"]);
}

fn hits(level: LevelFilter, log_hits: &str, count: usize) -> usize {
    let config = Config::from_vars([("CACHE_LOG_HITS", log_hits)]).unwrap();
    let observe = Observe::private(Clock::default(), &config);
    let namespace = observe.namespace("shop");
    let lines = logged(level, || (0..count).for_each(|_| observe.l1_hit(namespace, None)));
    assert!(lines.iter().all(|line| line.contains("DEBUG") && line.contains("event=\"cache_l1_hit\"")));
    assert!(lines.iter().all(|line| line.contains("cache_namespace=\"shop\"")));
    lines.len()
}

#[test]
fn hits_are_thinned() {
    assert_eq!(hits(LevelFilter::DEBUG, "all", 50), 50);
    assert_eq!(hits(LevelFilter::DEBUG, "off", 50), 0);
    assert_eq!(hits(LevelFilter::DEBUG, "sample:10", 50), 5);
    assert_eq!(hits(LevelFilter::DEBUG, "sample:1000", 1), 1, "the first one always");
    assert_eq!(hits(LevelFilter::INFO, "all", 50), 0);
}
