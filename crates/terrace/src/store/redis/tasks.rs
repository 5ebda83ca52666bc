//! When tasks succeeded.

use super::Redis;
use super::commands::{done, milliseconds};
use super::reply::{self, Misread, Reading};
use crate::store::codec::names::task_name;
use crate::store::remote::Fault;
use redis::{Pipeline, Value};
use std::time::Duration;

impl Redis {
    /// Leaves a note about a task, for `life`.
    pub(crate) async fn note_task(&self, task: &str, note: &str, life: Duration) -> Result<(), Fault> {
        let mut set = Pipeline::with_capacity(1);
        set.cmd("SET").arg(task_name(self.names.namespace(), task)).arg(note).arg("PX").arg(milliseconds(life));
        let control = &self.pools().control;
        control.send(self.budgets.write.get(), set, |replies| done(reply::only(replies)?)).await
    }

    /// The notes about these tasks, in the same order.
    pub(crate) async fn task_notes(&self, tasks: &[&str]) -> Result<Vec<Option<Vec<u8>>>, Fault> {
        let mut gets = Pipeline::with_capacity(tasks.len());
        for task in tasks {
            gets.cmd("GET").arg(task_name(self.names.namespace(), task));
        }
        let read = |replies: Vec<Value>| replies.into_iter().map(note).collect::<Reading<Vec<_>>>();
        self.pools().control.send(self.budgets.poll.get(), gets, read).await
    }
}

fn note(reply: Value) -> Reading<Option<Vec<u8>>> {
    match reply.extract_error()? {
        Value::BulkString(note) => Ok(Some(note)),
        Value::Nil => Ok(None),
        _ => Err(Misread::Shape),
    }
}
