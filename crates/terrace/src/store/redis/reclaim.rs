//! Removing what a namespace has in Redis and can do without.

use super::Redis;
use super::link::Link;
use super::reply::{Misread, Reading};
use crate::store::remote::Fault;
use redis::aio::ConnectionLike;
use redis::{Value, cmd};

impl Redis {
    /// Removes the entries and leases at `cursor`. Where the next step begins (zero after the last), and how many were
    /// removed.
    pub(crate) async fn reclaim(&self, cursor: u64) -> Result<(u64, u64), Fault> {
        let (next, mut names) = self.scan_names(cursor, &self.names.all()).await?;
        names.retain(|name| self.names.is_dispensable(name));
        let removed = if names.is_empty() { 0 } else { self.unlink(&names).await? };
        Ok((next, removed))
    }

    async fn unlink(&self, names: &[Vec<u8>]) -> Result<u64, Fault> {
        let mut unlink = cmd("UNLINK");
        unlink.arg(names);
        let request = |link: Link| {
            let unlink = unlink.clone();
            // Not as a pipeline, which cannot be spread over the nodes of a cluster.
            async move { link.connection().req_packed_command(&unlink).await }
        };
        self.pools().fills.call(self.budgets.write.get(), request, count).await
    }
}

fn count(reply: Value) -> Reading<u64> {
    let Value::Int(count) = reply.extract_error()? else { return Err(Misread::Shape) };
    u64::try_from(count).map_err(|_| Misread::Shape)
}
