//! Processes that hear of one another's revocations through a tier that a test breaks and mends.

use super::*;
use terrace::authz::{AuthzBuilder, Consistency, Scope, perm};
use terrace::chaos::{Chaos, Failure};
use terrace::stats::{BypassReason, Feature};

fn config(vars: &[(&str, &str)]) -> Config {
    Config::from_vars([KEYS, NAMESPACE].iter().chain(vars).copied()).unwrap()
}

pub(super) struct Fleet {
    pub(super) clock: FakeClock,
    pub(super) chaos: Chaos,
    pub(super) directory: Directory,
    pub(super) stores: Vec<Store>,
    pub(super) authz: Vec<Authz>,
    pub(super) alice: Principal,
}

impl Fleet {
    async fn of(size: usize) -> Self {
        Self::with(size, &[]).await
    }

    pub(super) async fn with(size: usize, vars: &[(&str, &str)]) -> Self {
        Self::built(size, vars, |builder| builder).await
    }

    pub(super) async fn built(size: usize, vars: &[(&str, &str)], more: impl Fn(AuthzBuilder) -> AuthzBuilder) -> Self {
        let (clock, directory, alice) = (clock(), Directory::new(), who("acme", "alice"));
        directory.set(&alice, Grants::complete(["invoice:read"]));
        let chaos = Chaos::new(&clock);
        let stores: Vec<Store> = (0..size).map(|_| Store::with_chaos(config(vars), &clock, &chaos)).collect();
        let builder = |store: &Store| Authz::builder(store.clone(), directory.clone()).identify(Tokens);
        let build = |store| more(builder(store)).build().unwrap();
        let authz = stores.iter().map(build).collect();
        let fleet = Self { clock, chaos, directory, stores, authz, alice: Principal::new(alice) };
        fleet.pass(100).await;
        fleet
    }

    /// Lets time pass, for the clocks and for the timers.
    pub(super) async fn pass(&self, milliseconds: u64) {
        const STEP: Duration = Duration::from_millis(5);
        for _ in 0..milliseconds / 5 {
            self.clock.advance(STEP);
            tokio::time::sleep(STEP).await;
        }
    }

    /// Lets much time pass at once. What was proven before has to be proven anew.
    pub(super) async fn later(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
        // Long enough for every process to say again that it is there.
        tokio::time::sleep(Duration::from_secs(16)).await;
        self.pass(500).await;
    }

    pub(super) async fn reads(&self, process: usize) -> Option<bool> {
        let checked = self.authz[process].check(&self.alice, "invoice:read").await;
        checked.ok().map(terrace::authz::Decision::is_allow)
    }

    pub(super) fn scope(&self) -> Scope {
        Scope::Subject(self.alice.who.clone())
    }

    pub(super) fn revoked(&self) {
        self.directory.set(&self.alice.who, Grants::complete(["x"]));
    }

    pub(super) fn hits(&self, process: usize) -> u64 {
        statuses(&self.authz[process].stats()).get("l1_cache_hit").copied().unwrap_or_default()
    }
}

#[tokio::test(start_paused = true)]
async fn what_one_process_has_loaded_the_others_find() {
    let fleet = Fleet::of(2).await;
    assert_eq!((fleet.reads(0).await, fleet.reads(0).await), (Some(true), Some(true)));
    fleet.pass(100).await;
    assert_eq!((fleet.chaos.entries(), fleet.chaos.lookups()), (1, 1));
    assert_eq!((fleet.reads(1).await, fleet.reads(1).await, fleet.directory.loads()), (Some(true), Some(true), 1));
    assert_eq!((fleet.hits(0), fleet.hits(1)), (1, 1));
    assert_eq!(statuses(&fleet.authz[1].stats()).get("l2_cache_hit"), Some(&1));
}

#[tokio::test(start_paused = true)]
async fn a_deny_rests_on_young_facts_wherever_they_are_found() {
    let fleet = Fleet::of(2).await;
    assert_eq!(fleet.reads(0).await, Some(true));
    fleet.pass(6000).await;
    let denied = fleet.authz[1].check(&fleet.alice, "invoice:write").await.unwrap();
    assert!(!denied.is_allow());
    assert_eq!(fleet.directory.loads(), 2, "what the other has loaded six seconds ago allows, and denies nobody");
    assert_eq!(fleet.reads(1).await, Some(true));
    assert_eq!(fleet.directory.loads(), 2);
}

#[tokio::test(start_paused = true)]
async fn switched_off_the_shared_tier_is_neither_read_nor_filled_and_revocations_go_on() {
    let fleet = Fleet::of(2).await;
    fleet.stores.iter().for_each(|store| store.flags().set(Feature::AuthzL2, false));
    assert_eq!((fleet.reads(0).await, fleet.reads(1).await), (Some(true), Some(true)));
    fleet.pass(100).await;
    assert_eq!((fleet.chaos.entries(), fleet.chaos.lookups(), fleet.directory.loads()), (0, 0, 2));
    fleet.revoked();
    drop(fleet.authz[0].revoke(fleet.scope()).await.unwrap());
    fleet.pass(1000).await;
    assert_eq!(fleet.reads(1).await, Some(false));
}

#[tokio::test(start_paused = true)]
async fn a_revocation_in_one_process_takes_effect_in_all_within_the_bound() {
    for silent in [false, true] {
        let fleet = Fleet::of(3).await;
        fleet.chaos.is_silent(silent);
        for process in 0..3 {
            assert_eq!((fleet.reads(process).await, fleet.reads(process).await), (Some(true), Some(true)));
        }
        fleet.revoked();
        let receipt = fleet.authz[0].revoke(fleet.scope()).await.unwrap();
        let _ = receipt;
        assert_eq!(fleet.reads(0).await, Some(false), "at once where it was revoked");
        fleet.pass(1000).await;
        for process in 1..3 {
            assert_eq!(fleet.reads(process).await, Some(false), "silent: {silent}");
        }
        assert_eq!(fleet.authz[0].revocation_bound(), Duration::from_secs(1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_process_that_is_cut_off_asks_the_source_from_the_bound_on() {
    for failure in [Failure::Refuses, Failure::Hangs] {
        let fleet = Fleet::of(2).await;
        assert_eq!((fleet.reads(1).await, fleet.reads(1).await), (Some(true), Some(true)));
        fleet.chaos.fails(failure);
        fleet.revoked();
        fleet.pass(1100).await;
        let loads = fleet.directory.loads();
        assert_eq!((fleet.reads(1).await, fleet.directory.loads()), (Some(false), loads + 1), "{failure:?}");
        assert!(fleet.authz[1].stats().bypasses(BypassReason::Unproven) >= 1);
        fleet.directory.mode(Mode::Fails);
        assert_eq!(fleet.reads(1).await, None, "and nobody is allowed by what it had");
    }
}

/// While polls are answered and look-ups are not, what failed is said, and that it is no ordinary miss.
#[tokio::test(start_paused = true)]
async fn a_check_whose_look_up_fails_says_so() {
    let fleet = Fleet::of(2).await;
    let stats = || fleet.authz[1].stats();
    let counted = || [BypassReason::L2Error, BypassReason::Breaker].map(|reason| stats().bypasses(reason));
    fleet.chaos.fails(Failure::Refuses);
    for checks in 1..=20 {
        let stranger = Principal::new(who("acme", &format!("s{checks}")));
        assert!(!fleet.authz[1].check(&stranger, "invoice:read").await.unwrap().is_allow());
        assert_eq!(counted().iter().sum::<u64>(), checks);
    }
    assert_eq!(statuses(&stats()), [("cache_bypass", 20)].into());
    assert!(counted().iter().all(|count| *count > 0), "first one fails, then none is asked: {:?}", counted());
    // What is switched off on purpose fails nobody.
    fleet.stores[1].flags().set(Feature::AuthzL2, false);
    let alice = fleet.reads(1).await;
    assert_eq!((alice, statuses(&stats()).get("cache_miss")), (Some(true), Some(&1)));
}

/// An outage that lasts longer than a process counts as one of the others is an outage all the same: nobody has other keys.
#[tokio::test(start_paused = true)]
async fn an_outage_is_counted_as_one_however_long_it_lasts() {
    let fleet = Fleet::of(2).await;
    assert_eq!((fleet.reads(1).await, fleet.reads(1).await), (Some(true), Some(true)));
    fleet.chaos.fails(Failure::Refuses);
    let bypasses = || {
        let stats = fleet.authz[1].stats();
        BypassReason::ALL.iter().map(move |reason| (reason.as_str(), stats.bypasses(*reason)))
    };
    for checks in 1..=3 {
        fleet.later(40).await;
        assert_eq!(fleet.reads(1).await, Some(true));
        let counted: Vec<_> = bypasses().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counted, [("unproven", checks)], "after {} seconds", 40 * checks);
    }
}

#[tokio::test(start_paused = true)]
async fn a_revocation_that_nobody_confirms_is_an_error_in_effect_here_and_made_good_later() {
    let fleet = Fleet::of(2).await;
    for process in 0..2 {
        assert_eq!((fleet.reads(process).await, fleet.reads(process).await), (Some(true), Some(true)));
    }
    fleet.chaos.fails(Failure::Refuses);
    fleet.revoked();
    assert!(fleet.authz[0].revoke(fleet.scope()).await.unwrap_err().is_unconfirmed());
    assert_eq!(fleet.reads(0).await, Some(false));
    fleet.chaos.fails(Failure::None);
    fleet.pass(5000).await;
    assert_eq!((fleet.reads(0).await, fleet.reads(1).await), (Some(false), Some(false)));
    let (loads, hits) = (fleet.directory.loads(), fleet.hits(0));
    assert_eq!((fleet.reads(0).await, fleet.directory.loads(), fleet.hits(0)), (Some(false), loads, hits + 1));
}

#[tokio::test(start_paused = true)]
async fn a_change_that_cannot_be_announced_is_not_begun() {
    let fleet = Fleet::of(2).await;
    fleet.chaos.fails(Failure::Refuses);
    let error = fleet.authz[0].begin_change(fleet.scope()).await.unwrap_err();
    assert!(error.to_string().contains("change nothing"), "{error}");
    assert_eq!(fleet.authz[0].stats().open_changes(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_change_holds_in_all_processes_and_one_whose_process_dies_is_ended() {
    let fleet = Fleet::of(2).await;
    assert_eq!((fleet.reads(1).await, fleet.reads(1).await), (Some(true), Some(true)));
    let change = fleet.authz[0].begin_change(fleet.scope()).await.unwrap();
    tokio::join!(change.settled(), fleet.pass(1000));
    fleet.revoked();
    for _ in 0..2 {
        assert_eq!(fleet.reads(1).await, Some(false), "from the moment that it is changed");
        fleet.pass(5).await;
    }
    let receipt = change.commit().await.unwrap();
    let _ = receipt;
    fleet.pass(1000).await;
    let loads = fleet.directory.loads();
    assert_eq!((fleet.reads(1).await, fleet.reads(1).await), (Some(false), Some(false)));
    assert_eq!(fleet.directory.loads(), loads + 1, "and cached again after its end");
}

#[tokio::test(start_paused = true)]
async fn a_record_that_is_lost_costs_what_was_cached_and_shows_nothing_old() {
    let fleet = Fleet::of(2).await;
    assert_eq!((fleet.reads(1).await, fleet.reads(1).await), (Some(true), Some(true)));
    fleet.revoked();
    let receipt = fleet.authz[0].revoke(fleet.scope()).await.unwrap();
    let _ = receipt;
    fleet.chaos.restarts_with_entries();
    fleet.pass(1100).await;
    assert_eq!((fleet.reads(0).await, fleet.reads(1).await), (Some(false), Some(false)));
}

#[tokio::test(start_paused = true)]
async fn a_process_with_its_cache_off_revokes_for_the_others() {
    let fleet = Fleet::of(2).await;
    assert_eq!((fleet.reads(1).await, fleet.reads(1).await), (Some(true), Some(true)));
    fleet.stores[0].flags().set(Feature::Authz, false);
    fleet.revoked();
    let receipt = fleet.authz[0].revoke(fleet.scope()).await.unwrap();
    let _ = receipt;
    fleet.pass(1000).await;
    assert_eq!(fleet.reads(1).await, Some(false));
}

/// The switch of responses in Redis is about responses: rights are heard of and told of all the same.
#[tokio::test(start_paused = true)]
async fn a_process_whose_responses_are_not_shared_hears_and_tells_of_revocations() {
    let fleet = Fleet::of(2).await;
    assert_eq!((fleet.reads(1).await, fleet.reads(1).await), (Some(true), Some(true)));
    fleet.stores[1].flags().set(Feature::L2, false);
    fleet.pass(500).await;
    assert_eq!((fleet.reads(1).await, fleet.hits(1)), (Some(true), 2));
    fleet.revoked();
    drop(fleet.authz[0].revoke(fleet.scope()).await.unwrap());
    fleet.pass(1000).await;
    assert_eq!(fleet.reads(1).await, Some(false));
    fleet.directory.set(&fleet.alice.who, Grants::complete(["invoice:read"]));
    drop(fleet.authz[1].begin_change(fleet.scope()).await.unwrap().commit().await.unwrap());
    fleet.pass(1000).await;
    assert_eq!((fleet.reads(0).await, fleet.reads(1).await), (Some(true), Some(true)));
}

#[tokio::test(start_paused = true)]
async fn who_has_the_receipt_of_a_revocation_is_not_answered_from_before_it() {
    let fleet = Fleet::of(2).await;
    fleet.chaos.is_silent(true);
    assert_eq!((fleet.reads(1).await, fleet.reads(1).await), (Some(true), Some(true)));
    fleet.revoked();
    let receipt = fleet.authz[0].revoke(fleet.scope()).await.unwrap();
    let after = perm("invoice:read").consistency(Consistency::AtLeast(receipt));
    assert!(!fleet.authz[1].check(&fleet.alice, after).await.unwrap().is_allow());
    assert_eq!(fleet.authz[1].stats().bypasses(BypassReason::Behind), 1);
}

/// Its renewals end with the process, and nobody ends the change.
#[tokio::test(start_paused = true)]
async fn a_change_whose_process_dies_is_ended_when_its_hold_runs_out() {
    for (hold, ended) in [("10", true), ("20", false)] {
        let fleet = Fleet::of(2).await;
        fleet.stores[0].settings().set("AUTHZ_CACHE_HOLD_S", hold).unwrap();
        assert_eq!((fleet.reads(1).await, fleet.reads(1).await), (Some(true), Some(true)));
        let (authz, scope) = (fleet.authz[0].clone(), fleet.scope());
        let dies = move || {
            let process = tokio::runtime::Runtime::new().unwrap();
            std::mem::forget(process.block_on(authz.begin_change(scope)).unwrap());
            process.shutdown_background();
        };
        std::thread::spawn(dies).join().unwrap();
        fleet.revoked();
        fleet.pass(9000).await;
        let hits = fleet.hits(1);
        assert_eq!((fleet.reads(1).await, fleet.reads(1).await), (Some(false), Some(false)));
        assert_eq!(fleet.hits(1), hits, "held: nothing is cached");
        fleet.pass(2500).await;
        assert_eq!((fleet.reads(1).await, fleet.reads(1).await), (Some(false), Some(false)));
        assert_eq!(fleet.hits(1) > hits, ended, "{hold}");
    }
}
