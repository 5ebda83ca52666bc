//! One run: a healthy time, a fault, and the time after it.

use crate::clock::{nanoseconds, now};
use crate::fault::{Fault, Stage};
use crate::load::{Load, Sample};
use crate::process::App;
use crate::stalls::{Stall, Stalls};
use crate::state::State;
use std::ops::Range;
use std::thread::sleep;
use std::time::{Duration, Instant};
use terrace_redis_server::Proxy;
use tokio::runtime::Handle;

/// How long what, and how much.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) rate: u32,
    /// How long a fault lasts. A failover lasts as long as it takes.
    pub(crate) fault: Duration,
    /// How long it is healthy before, and after.
    pub(crate) around: Duration,
    /// Whether all is measured with Redis switched off first, to compare with.
    pub(crate) compares: bool,
    /// What memory may answer without proof.
    pub(crate) degraded_max: Duration,
}

/// From when to when, in nanoseconds.
pub(crate) type Span = Range<u64>;

/// All that was seen.
pub(crate) struct Record {
    pub(crate) fault: Fault,
    pub(crate) degraded_max: u64,
    pub(crate) off: Option<Span>,
    pub(crate) healthy: Span,
    pub(crate) broken: Span,
    pub(crate) healed: Span,
    pub(crate) samples: Vec<Sample>,
    pub(crate) seen: Vec<(u64, State)>,
    /// When each look-up was on the wire, and when it was answered.
    pub(crate) gets: Option<Vec<(u64, Option<u64>)>>,
    /// Connections that were begun during the fault.
    pub(crate) connects: Option<usize>,
    pub(crate) stalls: Vec<Stall>,
    /// Connections that Redis had while it was switched off, at most, once all had been let go.
    pub(crate) clients_while_off: Option<usize>,
    /// Those that it still had when it was to have been let go.
    pub(crate) left: Option<usize>,
}

/// Until the caches are warm.
const WARM: Duration = Duration::from_millis(700);
/// Switched off, it has no connection after this time.
const LETS_GO: Duration = Duration::from_millis(500);
/// On a machine that stands still it takes longer, but not as long as this.
const GONE: Duration = Duration::from_secs(10);
/// Longer than it may take until Redis is used again.
const RECOVERY: Duration = Duration::from_secs(5);

pub(crate) fn run(runtime: &Handle, plan: Plan, fault: Fault) -> Record {
    let mut stage = Stage::new(fault);
    let compares = plan.compares || fault == Fault::SwitchedOff;
    let app = App::start(runtime, &variables(&stage, plan, compares), stage.names());
    let stalls = Stalls::watch();
    let load = Load::start(runtime, app.port, plan.rate);
    sleep(WARM);
    let off = compares.then(|| switched_off(runtime, plan, &stage, &app));
    until("memory is proven", || app.last().coherent == 1);
    sleep(WARM);
    let healthy = lasting(plan.around);
    let connects = || stage.proxy.as_ref().map(Proxy::accepted);
    let before = connects();
    let (broken, let_go) = broken(runtime, plan, &mut stage, &app);
    let (left, clients) = let_go.unzip();
    let connects = stage.proxy.as_ref().map(Proxy::accepted).zip(before).map(|(after, before)| after - before);
    recover(&load, broken.end, plan.around);
    let healed = broken.end..now();
    let samples = load.finish();
    Record {
        fault,
        degraded_max: nanoseconds(plan.degraded_max),
        off: off.as_ref().map(|(span, _)| span.clone()),
        healthy,
        broken,
        healed,
        samples,
        seen: app.seen(),
        gets: stage.proxy.as_ref().map(gets),
        connects,
        stalls: stalls.finish(),
        clients_while_off: clients.max(off.filter(|_| fault == Fault::SwitchedOff).map(|(_, clients)| clients)),
        left,
    }
}

fn variables(stage: &Stage, plan: Plan, compares: bool) -> Vec<(String, String)> {
    let settings = [
        // Room for what is asked for often, and for a part of the rest.
        ("CACHE_L1_MAX_BYTES", "512KiB".to_owned()),
        ("CACHE_L1_DEGRADED_MAX", format!("{}ms", plan.degraded_max.as_millis())),
        ("CACHE_METRICS_ENABLED", "false".to_owned()),
        ("CACHE_L2_ENABLED", (!compares).to_string()),
    ];
    stage.variables().into_iter().chain(settings.map(|(name, value)| (name.to_owned(), value))).collect()
}

/// The fault. Switched off, also which connections Redis had meanwhile.
fn broken(runtime: &Handle, plan: Plan, stage: &mut Stage, app: &App) -> (Span, Option<(usize, usize)>) {
    let (begun, ends) = (now(), now() + nanoseconds(plan.fault));
    let mut clients = None;
    stage.begin(runtime, app);
    match stage.fault() {
        Fault::Failover => {}
        Fault::SwitchedOff => clients = Some(let_go(stage, ends)),
        _ => sleep(plan.fault),
    }
    stage.end(runtime, app);
    (begun..now(), clients)
}

/// How many connections Redis has when it is to have been let go; and from when it has none until the end, at most.
fn let_go(stage: &Stage, ends: u64) -> (usize, usize) {
    sleep(LETS_GO);
    let left = stage.clients();
    let patience = now() + nanoseconds(GONE);
    while stage.clients() > 0 && now() < patience {
        sleep(Duration::from_millis(10));
    }
    let mut clients = stage.clients();
    while now() < ends {
        sleep(Duration::from_millis(100));
        clients = clients.max(stage.clients());
    }
    (left, clients)
}

/// Until Redis is used again, and for a while more.
fn recover(load: &Load, healed: u64, around: Duration) {
    let patience = now() + nanoseconds(RECOVERY);
    while !load.is_shared_since(healed) && now() < patience {
        sleep(Duration::from_millis(10));
    }
    let rest = around.saturating_sub(Duration::from_nanos(now() - healed));
    sleep(rest.max(around / 2));
}

/// The same load, storms included, with Redis switched off from the start; then switched on. Also how many connections
/// Redis had.
fn switched_off(runtime: &Handle, plan: Plan, stage: &Stage, app: &App) -> (Span, usize) {
    let storms = stage.fault().is_storm();
    if storms {
        app.switch(runtime, "storm", true);
        sleep(WARM);
    }
    let span = lasting(plan.around);
    let clients = stage.clients();
    if storms {
        app.switch(runtime, "storm", false);
    }
    app.switch(runtime, "l2", true);
    (span, clients)
}

fn lasting(time: Duration) -> Span {
    let begun = now();
    sleep(time);
    begun..now()
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let patience = now() + nanoseconds(Duration::from_secs(30));
    while !is_so() {
        assert!(now() < patience, "never: {what}");
        sleep(Duration::from_millis(10));
    }
}

fn gets(proxy: &Proxy) -> Vec<(u64, Option<u64>)> {
    let (instant, time) = (Instant::now(), now());
    let since_start = |at: Instant| time - nanoseconds(instant - at);
    proxy.gets().iter().map(|get| (since_start(get.asked), get.answered.map(since_start))).collect()
}
