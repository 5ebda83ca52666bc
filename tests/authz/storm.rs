//! A tenant whose rights are all taken back at once, while everybody goes on asking.

use super::*;
use std::sync::atomic::AtomicU64;
use terrace::authz::{Scope, UnavailableReason};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

const SUBJECTS: usize = 100_000;
const CHECKS_A_MILLISECOND: usize = 5;
const MILLISECONDS: u64 = 3000;
const CALLS: usize = 64;
const BUDGET: Duration = Duration::from_millis(800);

/// Takes its time, and knows how many ask it at once.
#[derive(Clone, Default)]
struct Database(Arc<Calls>);

#[derive(Default)]
struct Calls {
    milliseconds: AtomicU64,
    running: AtomicUsize,
    most: AtomicUsize,
    all: AtomicUsize,
}

impl PermissionSource for Database {
    type Error = Broken;

    async fn load(&self, _: &Who, _: LoadHint<'_>) -> Result<Grants, Broken> {
        let calls = &*self.0;
        calls.all.fetch_add(1, SeqCst);
        calls.most.fetch_max(calls.running.fetch_add(1, SeqCst) + 1, SeqCst);
        let time = Duration::from_millis(calls.milliseconds.load(SeqCst));
        if !time.is_zero() {
            sleep(time).await;
        }
        calls.running.fetch_sub(1, SeqCst);
        Ok(Grants::complete(["invoice:read"]))
    }
}

fn subject(number: usize) -> Principal {
    Principal::new(who("acme", &format!("s{number}")))
}

/// Time is moved by hand, so that a second of it is a second on any machine.
#[tokio::test(start_paused = true)]
async fn a_revoked_tenant_of_100_000_costs_the_source_no_more_calls_at_once_than_it_allows_and_nobody_waits_longer() {
    let (clock, database) = (clock(), Database::default());
    let vars = [("AUTHZ_CACHE_L1_MAX_BYTES", "1GiB"), ("AUTHZ_CACHE_TENANT_SHARE_PCT", "100")];
    let store = Store::with_fake_clock(Config::from_vars(vars).unwrap(), &clock);
    let authz = Authz::builder(store, database.clone()).single_process().build().unwrap();
    for number in 0..SUBJECTS {
        assert!(authz.check(&subject(number), "invoice:read").await.unwrap().is_allow());
    }
    assert_eq!(authz.stats().entries(), SUBJECTS as u64);
    let before = database.0.all.load(SeqCst);
    database.0.milliseconds.store(50, SeqCst);
    drop(authz.revoke(Scope::Tenant(subject(0).who.tenant)).await.unwrap());

    let mut checks = JoinSet::new();
    for millisecond in 0..MILLISECONDS {
        for at in 0..CHECKS_A_MILLISECOND {
            let number = (usize::try_from(millisecond).unwrap() * CHECKS_A_MILLISECOND + at) * 7919 % SUBJECTS;
            let authz = authz.clone();
            checks.spawn(async move {
                let asked = Instant::now();
                (authz.check(&subject(number), "invoice:read").await, asked.elapsed())
            });
        }
        clock.advance(Duration::from_millis(1));
        sleep(Duration::from_millis(1)).await;
    }
    let (mut allowed, mut shed) = (0_u64, 0_u64);
    for (checked, took) in checks.join_all().await {
        assert!(took <= BUDGET + Duration::from_millis(5), "{took:?}");
        match checked {
            Ok(decision) => allowed += u64::from(decision.is_allow()),
            Err(error) => {
                assert!(matches!(error.reason(), UnavailableReason::Shed | UnavailableReason::Timeout), "{error:?}");
                shed += 1;
            }
        }
    }
    assert_eq!(allowed + shed, MILLISECONDS * CHECKS_A_MILLISECOND as u64);
    // 64 at once, 50 ms each.
    let capacity = CALLS as u64 * (MILLISECONDS + 1000) / 50;
    assert!(allowed > capacity / 2 && allowed <= capacity, "{allowed} of {capacity}");
    assert_eq!(database.0.most.load(SeqCst), CALLS);
    assert!(database.0.all.load(SeqCst) - before <= usize::try_from(capacity).unwrap());
    let errors: u64 = CheckStatus::ALL.iter().map(|status| authz.stats().checks(*status, CheckDecision::Error)).sum();
    assert_eq!(errors, shed, "each is counted");
    println!("{allowed} checks answered, {shed} refused in time, {CALLS} calls at once");
}
