//! Jobs that run now and then: each says in Redis when it has succeeded, and who is scraped tells it further.

use super::Store;
use crate::Error;
use crate::observe::stats::Task;
use std::time::{Duration, SystemTime};

/// So long it is known when a task last succeeded: longer than any of them stays away unless nobody wants it any more.
const LIFE: Duration = Duration::from_secs(35 * 24 * 60 * 60);

impl Store {
    /// Notes in Redis that a task has succeeded just now, and how long it took. The note is kept for 35 days, and replaces
    /// the one before.
    ///
    /// # Errors
    ///
    /// If nothing is shared through Redis, or Redis did not take it.
    pub async fn task_succeeded(&self, task: Task, took: Duration) -> Result<(), Error> {
        let (_, redis) = self.parts()?;
        let note = written(self.inner.clock.wall(), took);
        let noted = redis.note_task(task.as_str(), &note, LIFE).await;
        noted.map_err(|fault| Error::untaken(self.why(fault).unwrap_or_default()))
    }

    /// Reads when tasks last succeeded, and publishes it as `cache_task_last_success_timestamp_seconds` and
    /// `cache_task_duration_seconds`. To be called every now and then by one who is scraped. A task about which Redis
    /// knows nothing counts from the first call on, so that one which never runs is noticed after its period; what was
    /// read once stays known to this process.
    ///
    /// # Errors
    ///
    /// If nothing is shared through Redis, or Redis cannot be read: what was published stays.
    pub async fn report_tasks(&self) -> Result<(), Error> {
        let (_, redis) = self.parts()?;
        let observe = self.observe();
        observe.reports_tasks();
        let names: Vec<&str> = Task::ALL.iter().map(|task| task.as_str()).collect();
        let notes = redis.task_notes(&names).await.map_err(|fault| self.unseen(fault))?;
        for (task, note) in Task::ALL.iter().zip(notes) {
            if let Some((at, took)) = note.as_deref().and_then(read) {
                observe.task(*task, at, took);
            }
        }
        Ok(())
    }
}

/// Milliseconds since 1970, and milliseconds.
fn written(at: SystemTime, took: Duration) -> String {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    format!("{} {}", since.as_millis(), took.as_millis())
}

/// What somebody else has written there is no note.
fn read(note: &[u8]) -> Option<(SystemTime, Duration)> {
    let (at, took) = std::str::from_utf8(note).ok()?.split_once(' ')?;
    let at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(at.parse().ok()?))?;
    Some((at, Duration::from_millis(took.parse().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_as_it_was_written_and_nothing_else_is_one() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_297_295_219);
        let note = written(at, Duration::from_millis(1500));
        assert_eq!(note, "1795297295219 1500");
        assert_eq!(read(note.as_bytes()), Some((at, Duration::from_millis(1500))));
        for bad in [&b""[..], b"1", b"1 2 3", b"-1 2", b"1 x", b"\xff 1", b"99999999999999999999 1"] {
            assert_eq!(read(bad), None, "{}", bad.escape_ascii());
        }
    }
}
