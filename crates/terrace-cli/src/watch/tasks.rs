//! When jobs last succeeded.

use std::time::Duration;
use terrace::Store;

/// Between two looks. What is watched for goes by the hour.
const PERIOD: Duration = Duration::from_secs(10);

/// Tells what jobs have noted in Redis, for as long as the process lives.
pub(super) async fn report(store: Store) {
    let mut is_told = false;
    loop {
        match store.report_tasks().await {
            Ok(()) => is_told = false,
            // Once until it works again: what was published stays.
            Err(error) if !is_told => {
                is_told = true;
                tracing::warn!(event = "watch_tasks_unknown", "watch_tasks_unknown: {error}");
            }
            Err(_) => {}
        }
        tokio::time::sleep(PERIOD).await;
    }
}
