//! Where lines go: access lines to standard output, everything else to standard error.
//!
//! Both through a bounded queue and a thread, so that a reader that stopped reading costs lines, not requests.

use super::access::TARGET;
use clap::ValueEnum;
use std::fmt::{self, Debug, Display};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_appender::non_blocking::{NonBlocking, WorkerGuard};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

/// The form of lines.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub(crate) enum AccessLog {
    Off,
    /// name=value, separated by spaces.
    Text,
    /// One JSON object per line.
    Json,
}

/// Holds the writers' threads; what is queued is written when this is dropped.
#[derive(Debug)]
pub(crate) struct Guards(#[allow(dead_code, reason = "held, not read")] [WorkerGuard; 2]);

/// Starts logging access lines in one form and everything else in another, with `LOG_LEVEL` from the environment.
///
/// # Errors
/// When `LOG_LEVEL` is not a level.
pub(crate) fn start(access: AccessLog, events: AccessLog) -> Result<Guards, String> {
    let level = level(std::env::var("LOG_LEVEL").ok().as_deref())?;
    let (out, out_guard) = tracing_appender::non_blocking(std::io::stdout());
    let (err, err_guard) = tracing_appender::non_blocking(std::io::stderr());
    let is_access = |meta: &Metadata<'_>| meta.target() == TARGET;
    let lines = (access != AccessLog::Off).then(|| layer(access, out).with_filter(filter_fn(is_access)));
    let others = filter_fn(move |meta| !is_access(meta) && *meta.level() <= level);
    tracing_subscriber::registry().with(lines).with(layer(events, err).with_filter(others)).init();
    Ok(Guards([out_guard, err_guard]))
}

fn layer<S>(form: AccessLog, writer: NonBlocking) -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    tracing_subscriber::fmt::layer().event_format(Line(form)).with_writer(writer)
}

fn level(text: Option<&str>) -> Result<LevelFilter, String> {
    let Some(text) = text else {
        return Ok(LevelFilter::INFO);
    };
    match text.to_ascii_uppercase().as_str() {
        "DEBUG" => Ok(LevelFilter::DEBUG),
        "INFO" => Ok(LevelFilter::INFO),
        "WARN" | "WARNING" => Ok(LevelFilter::WARN),
        "ERROR" => Ok(LevelFilter::ERROR),
        _ => Err(format!("LOG_LEVEL is {text:?}; expected DEBUG, INFO, WARNING or ERROR")),
    }
}

/// Dashboards and queries for the logs of such services look for `WARNING`, which `tracing` calls `WARN`.
fn word(level: Level) -> &'static str {
    match level {
        Level::WARN => "WARNING",
        other => other.as_str(),
    }
}

/// Writes an event as one line.
#[derive(Debug)]
struct Line(AccessLog);

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let json = self.0 == AccessLog::Json;
        writer.write_str(if json { r#"{"timestamp":""# } else { "" })?;
        writer.write_str(&time)?;
        writer.write_str(if json { "\"" } else { "" })?;
        let mut fields = Fields { writer, json, result: Ok(()) };
        fields.text("level", word(*event.metadata().level()));
        event.record(&mut fields);
        fields.result?;
        fields.writer.write_str(if json { "}\n" } else { "\n" })
    }
}

/// Writes fields, and remembers that writing failed.
struct Fields<'a> {
    writer: Writer<'a>,
    json: bool,
    result: fmt::Result,
}

impl Fields<'_> {
    fn plain(&mut self, name: &str, value: impl Display) {
        let line = if self.json {
            write!(self.writer, r#","{name}":{value}"#)
        } else {
            write!(self.writer, " {name}={value}")
        };
        self.result = self.result.and(line);
    }

    /// Quoted and escaped as JSON, in both forms where it is needed.
    fn text(&mut self, name: &str, value: &str) {
        let bare = !value.is_empty()
            && !value.contains(|c: char| c.is_whitespace() || c.is_control() || c == '"' || c == '\\');
        if bare && !self.json {
            self.plain(name, value);
        } else {
            self.plain(name, serde_json::Value::from(value));
        }
    }
}

impl Visit for Fields<'_> {
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.plain(field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.plain(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.plain(field.name(), value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.plain(field.name(), format_args!("{value:.3}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field.name(), value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.text(field.name(), &format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(json: bool, write: impl Fn(&mut Fields<'_>)) -> String {
        let mut line = String::new();
        let mut fields = Fields { writer: Writer::new(&mut line), json, result: Ok(()) };
        write(&mut fields);
        fields.result.unwrap();
        line
    }

    #[test]
    fn nothing_in_a_value_ends_the_line_or_the_field() {
        let write = |fields: &mut Fields<'_>| {
            fields.text("a", "x\n\"y\" level=ERROR");
            fields.text("b", "");
            fields.text("c", "plain");
        };
        let text = line(false, write);
        assert_eq!(text, " a=\"x\\n\\\"y\\\" level=ERROR\" b=\"\" c=plain");
        let json = format!("{{\"z\":0{}}}", line(true, write));
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["a"], "x\n\"y\" level=ERROR");
    }

    #[test]
    fn levels_have_the_words_of_the_field() {
        assert_eq!(level(None), Ok(LevelFilter::INFO));
        assert_eq!(level(Some("warning")), Ok(LevelFilter::WARN));
        assert!(level(Some("loud")).unwrap_err().contains("LOG_LEVEL"));
        assert_eq!(word(Level::WARN), "WARNING");
    }
}
