//! The database: who is a member of which organisation, in which roles, what these may do, and the invoices.

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};
use terrace::authz::{Grant, Grants, LoadHint, PermissionSource, Subject, Tenant, Who};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

#[derive(Clone)]
pub(crate) struct Database(Arc<Inner>);

struct Inner {
    file: PathBuf,
    /// Connections that nobody uses.
    idle: Mutex<Vec<Connection>>,
    /// One for each query that may run, whatever asks.
    places: Arc<Semaphore>,
}

/// The most queries at once, and connections. One file gains nothing from more.
const PLACES: usize = 16;

#[derive(Debug)]
pub(crate) enum DatabaseError {
    Sqlite(rusqlite::Error),
    /// The thread of the query panicked.
    Thread(tokio::task::JoinError),
}

impl fmt::Display for DatabaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(error) => write!(f, "the database failed: {error}"),
            Self::Thread(error) => write!(f, "a query failed: {error}"),
        }
    }
}

impl std::error::Error for DatabaseError {}

impl Database {
    /// Opens the file, and fills a new one. Other processes may do so at the same time.
    pub(crate) fn open(file: &Path) -> Result<Self, DatabaseError> {
        let mut first = connect(file).map_err(DatabaseError::Sqlite)?;
        fill(&mut first).map_err(DatabaseError::Sqlite)?;
        Ok(Self(Arc::new(Inner {
            file: file.to_owned(),
            idle: Mutex::new(vec![first]),
            places: Arc::new(Semaphore::new(PLACES)),
        })))
    }

    /// The database works on a thread that may block. A query goes on when nobody waits for it any more, and so long keeps
    /// its place.
    async fn ask<T: Send + 'static>(
        &self,
        query: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, DatabaseError> {
        let inner = Arc::clone(&self.0);
        let place = Arc::clone(&inner.places).acquire_owned().await.expect("nobody closes it");
        let answer = spawn_blocking(move || {
            let _place = place;
            let mut connection = inner.take()?;
            let answer = query(&mut connection)?;
            inner.idle().push(connection);
            Ok(answer)
        });
        answer.await.map_err(DatabaseError::Thread)?.map_err(DatabaseError::Sqlite)
    }

    /// Whether it can be asked what roles may do.
    pub(crate) async fn answers(&self) -> Result<(), DatabaseError> {
        self.ask(|db| db.prepare_cached("SELECT count(*) FROM role_permission")?.query_row([], |_| Ok(()))).await
    }

    /// What an organisation is owed, and by whom; `None` if there is no such organisation.
    pub(crate) async fn invoices(&self, org: Tenant) -> Result<Option<String>, DatabaseError> {
        self.ask(move |db| db.prepare_cached(INVOICES)?.query_row([org.as_str()], |row| row.get(0)).optional()).await
    }

    /// Takes all roles in an organisation from somebody, and keeps who did. Whether there were any.
    pub(crate) async fn remove_member(&self, who: Who, by: Subject) -> Result<bool, DatabaseError> {
        self.ask(move |db| {
            let change = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let (org, user) = (who.tenant.as_str(), who.subject.as_str());
            let roles = change.execute("DELETE FROM membership WHERE organisation = ?1 AND user = ?2", [org, user])?;
            if roles > 0 {
                let removal = "INSERT INTO removal (organisation, user, removed_by) VALUES (?1, ?2, ?3)";
                change.execute(removal, [org, user, by.as_str()])?;
            }
            change.commit()?;
            Ok(roles > 0)
        })
        .await
    }
}

impl PermissionSource for Database {
    type Error = DatabaseError;

    async fn load(&self, who: &Who, _: LoadHint<'_>) -> Result<Grants, DatabaseError> {
        let who = who.clone();
        self.ask(move |db| grants(db, &who)).await
    }
}

/// The permissions of all roles that somebody has, and of those that these include. A role that is held until some time gives
/// its permissions until then.
const PERMISSIONS: &str = "
    WITH RECURSIVE held (role, via, until) AS (
        SELECT role.id, role.name, membership.until
        FROM membership JOIN role ON role.id = membership.role JOIN user ON user.id = membership.user
        WHERE membership.organisation = ?1 AND membership.user = ?2 AND NOT user.suspended
            AND (until IS NULL OR until > unixepoch())
        UNION
        SELECT role.includes, held.via, held.until
        FROM held JOIN role ON role.id = held.role WHERE role.includes IS NOT NULL)
    SELECT permission, via, until, denied FROM held JOIN role_permission USING (role)";

fn grants(db: &Connection, who: &Who) -> rusqlite::Result<Grants> {
    let mut query = db.prepare_cached(PERMISSIONS)?;
    let mut rows = query.query([who.tenant.as_str(), who.subject.as_str()])?;
    let (mut granted, mut denied) = (Vec::new(), Vec::new());
    while let Some(row) = rows.next()? {
        let permission: String = row.get("permission")?;
        if row.get("denied")? {
            denied.push(permission);
            continue;
        }
        let grant = Grant::new(permission).via(format!("role:{}", row.get_ref("via")?.as_str()?));
        let until: Option<u32> = row.get("until")?;
        granted.push(match until {
            Some(until) => grant.not_after(UNIX_EPOCH + Duration::from_secs(until.into())),
            None => grant,
        });
    }
    Ok(denied.into_iter().fold(Grants::complete(granted), Grants::deny))
}

/// What is not paid, by customer, with each one's share.
const INVOICES: &str = "
    WITH owed AS (
        SELECT customer, count(*) AS invoices, sum(cents) AS cents, min(due) AS oldest
        FROM invoice WHERE organisation = ?1 AND NOT paid GROUP BY customer),
    ranked AS (
        SELECT *, rank() OVER (ORDER BY cents DESC) AS rank, round(100.0 * cents / sum(cents) OVER (), 1) AS percent
        FROM owed)
    SELECT json_object('organisation', name, 'owed', (SELECT json_group_array(json_object(
        'customer', customer, 'invoices', invoices, 'cents', cents, 'percent', percent, 'oldest', oldest))
        FROM (SELECT * FROM ranked WHERE rank <= 10 ORDER BY rank, customer)))
    FROM organisation WHERE id = ?1";

impl Inner {
    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> rusqlite::Result<Connection> {
        let idle = self.idle().pop();
        idle.map_or_else(|| connect(&self.file), Ok)
    }
}

fn connect(file: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(file)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    // Readers do not wait for who writes.
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    Ok(connection)
}

fn fill(db: &mut Connection) -> rusqlite::Result<()> {
    let change = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let filled: bool = change.query_row("SELECT user_version FROM pragma_user_version", [], |row| row.get(0))?;
    if !filled {
        change.execute_batch(include_str!("permissions.sql"))?;
        change.pragma_update(None, "user_version", true)?;
    }
    change.commit()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use tokio::sync::mpsc::unbounded_channel;

    /// Whoever asks may stop waiting: what they have asked runs on, and nothing takes its place before its end.
    #[tokio::test]
    async fn no_more_queries_run_than_there_are_places_whoever_waits() {
        let directory = tempfile::tempdir().unwrap();
        let database = Database::open(&directory.path().join("permissions.db")).unwrap();
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (begins, mut begun) = unbounded_channel();
        let (release, gate) = std::sync::mpsc::channel::<()>();
        let gate = Arc::new(Mutex::new(gate));
        let ask = || {
            let (database, begins) = (database.clone(), begins.clone());
            let (running, most, gate) = (Arc::clone(&running), Arc::clone(&most), Arc::clone(&gate));
            tokio::spawn(async move {
                let query = move |_: &mut Connection| {
                    most.fetch_max(running.fetch_add(1, SeqCst) + 1, SeqCst);
                    begins.send(()).unwrap();
                    gate.lock().unwrap().recv().unwrap();
                    running.fetch_sub(1, SeqCst);
                    Ok(())
                };
                database.ask(query).await.unwrap();
            })
        };
        let first: Vec<_> = (0..PLACES).map(|_| ask()).collect();
        for _ in 0..PLACES {
            begun.recv().await.unwrap();
        }
        for asked in first {
            asked.abort();
            assert!(asked.await.unwrap_err().is_cancelled());
        }
        let then: Vec<_> = (0..PLACES).map(|_| ask()).collect();
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert!(begun.try_recv().is_err(), "those whom nobody waits for keep their places");
        for _ in 0..2 * PLACES {
            release.send(()).unwrap();
        }
        for asked in then {
            asked.await.unwrap();
        }
        let _all = database.0.places.acquire_many(u32::try_from(PLACES).unwrap()).await.unwrap();
        assert_eq!((most.load(SeqCst), running.load(SeqCst)), (PLACES, 0));
        assert!(database.0.idle().len() <= PLACES);
    }
}
