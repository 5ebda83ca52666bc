//! `terrace flush`: nothing that a namespace has stored is served again.
//!
//! That is one purge. Giving the memory back is another matter, and takes a look at every key.

mod confirm;
mod options;

pub(crate) use options::Options;

use crate::failure::Failure;
use crate::fleet::Fleet;
use crate::purge::{Report, Target, run};
use crate::walk::{Pace, Stride, total};

/// Purges everything, and frees its memory if that is asked for.
///
/// # Errors
///
/// When that was not acknowledged, or the memory not freed, after what was is printed.
pub(crate) fn main(options: &Options) -> Result<(), Failure> {
    let fleet = Fleet::open_named(options.how.timeout, &options.namespace)?;
    if !options.yes {
        confirm::everything(&fleet)?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::runtime)?;
    let report = runtime.block_on(async {
        let mut report = run(&fleet, vec![Target::Everything], &options.how).await;
        // What may still be served is not removed either: the report says that it failed.
        if options.unlink && report.is_acknowledged() {
            free(&fleet, options, &mut report).await;
        }
        report
    });
    let printed = report.print(options.output);
    report.outcome().and(printed)
}

async fn free(fleet: &Fleet, options: &Options, report: &mut Report) {
    let mut freed = 0;
    let ended = free_all(fleet, options, &mut freed).await;
    report.freed(freed, ended.as_ref().err());
}

/// Redis looks at each key of its database, and removes some: both at the pace that is asked for.
async fn free_all(fleet: &Fleet, options: &Options, freed: &mut u64) -> Result<(), Failure> {
    let mut stride = Stride::new(Pace { rate: options.rate, max_keys: None }, total(fleet).await?);
    let mut reclaim = fleet.store.reclaim();
    while stride.goes_on().await {
        let Some(step) = reclaim.next().await.map_err(Failure::runtime)? else { break };
        stride.saw(step.examined);
        stride.charge(step.removed);
        *freed += step.removed;
    }
    stride.end();
    Ok(())
}
