//! One call: a connection, a command, its reply, all within a time limit.

use super::link::Link;
use super::pool::{Manners, Pool};
use super::reply::Reading;
use crate::store::race::{first, in_time};
use crate::store::remote::Fault;
use redis::{Pipeline, RedisResult, ScriptInvocation, Value};
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Sleep, sleep};

impl Pool {
    /// Sends commands in one round trip, perhaps on one connection after another.
    pub(super) async fn send<T>(
        &self,
        budget: Duration,
        mut commands: Pipeline,
        read: impl Fn(Vec<Value>) -> Reading<T>,
    ) -> Result<T, Fault> {
        commands.ignore_errors();
        let commands = Arc::new(commands);
        self.call(budget, |link| send(link, Arc::clone(&commands)), read).await
    }

    /// Makes a call that may be made twice, and makes it again, within the same time, if the connection turned out to
    /// be of no use.
    pub(super) async fn call<R, T, F>(
        &self,
        budget: Duration,
        request: impl Fn(Link) -> F,
        read: impl Fn(R) -> Reading<T>,
    ) -> Result<T, Fault>
    where
        R: Send + 'static,
        F: Future<Output = RedisResult<R>> + Send + 'static,
    {
        let mut timer = pin!(sleep(budget));
        match self.attempt(timer.as_mut(), &request, &read).await {
            Err(Fault::Io | Fault::Moved | Fault::Connect) => self.attempt(timer, &request, &read).await,
            result => result,
        }
    }

    async fn attempt<R, T, F>(
        &self,
        mut timer: Pin<&mut Sleep>,
        request: &impl Fn(Link) -> F,
        read: &impl Fn(R) -> Reading<T>,
    ) -> Result<T, Fault>
    where
        R: Send + 'static,
        F: Future<Output = RedisResult<R>> + Send + 'static,
    {
        let alone = self.manners == Manners::Alone;
        let (link, _held) = if let Some(link) = self.at_hand().filter(|_| !alone) {
            (link, None)
        } else {
            // Boxed, for it is seldom needed.
            let checkout = first(Box::pin(self.check_out()), timer.as_mut()).await.unwrap_or(Err(Fault::Pool))?;
            self.knows(&checkout);
            (checkout.clone(), alone.then_some(checkout))
        };
        let _in_use = self.uses(&link);
        let mut reply = Box::pin(request(link.clone()));
        match (in_time(reply.as_mut(), timer).await, self.manners) {
            (Some(Ok(reply)), _) => read(reply).map_err(|misread| self.failed(&link, link.misread(&misread))),
            (Some(Err(error)), _) => Err(self.failed(&link, link.failed(&error))),
            (None, Manners::Patient) => {
                link.watch(reply);
                Err(Fault::Timeout)
            }
            (None, Manners::Strict | Manners::Alone) => {
                link.give_up();
                Err(Fault::Timeout)
            }
        }
    }
}

impl Pool {
    /// What one connection has learned about its server is true of the others to it.
    fn failed(&self, link: &Link, fault: Fault) -> Fault {
        if matches!(fault, Fault::Moved | Fault::ReadOnly) && link.is_broken() {
            self.connector.retire(link);
        }
        if fault == Fault::ReadOnly {
            self.connector.look_for_another();
        }
        fault
    }
}

/// Sends commands in one round trip. An error of one of them is a reply among the others.
pub(super) async fn send(link: Link, pipe: Arc<Pipeline>) -> RedisResult<Vec<Value>> {
    pipe.query_async(&mut link.connection()).await
}

/// Runs a script by its digest, and loads it where it is not known yet.
pub(super) async fn run(link: Link, call: ScriptInvocation<'static>) -> RedisResult<Value> {
    call.invoke_async(&mut link.connection()).await
}
