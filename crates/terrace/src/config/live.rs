//! What a running store reads: single atomic loads.

use super::Config;
use super::accepts::NONE;
use super::errors::malformed;
use super::table::{Apply, Key, SETTINGS, find};
use crate::error::Error;
use crate::observe::{Observe, Said, stats::Feature};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The application itself has set a switch.
const BY_PROGRAM: Said<'static> = Said { scope: "process", by: "", why: "" };

/// What [`Settings`] and [`Flags`] of one store share.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) values: [AtomicU64; SETTINGS.len()],
    /// One bit for each feature: whether it was on at the start.
    started: AtomicU64,
    /// And whether the fleet has it on or off, whatever that was.
    switched: AtomicU64,
    pub(super) observe: Observe,
}

impl Live {
    pub(super) fn get(&self, key: Key) -> u64 {
        self.values[key as usize].load(Relaxed)
    }

    pub(super) fn set_flag(&self, feature: Feature, on: bool, said: Said<'_>) {
        self.values[flag(feature) as usize].store(u64::from(on), Relaxed);
        self.observe.flag_changed(feature, on, said);
    }
}

fn set_bit(bits: &AtomicU64, feature: Feature, on: bool) {
    let bit = 1 << feature as u32;
    if on {
        bits.fetch_or(bit, Relaxed)
    } else {
        bits.fetch_and(!bit, Relaxed)
    };
}

fn has_bit(bits: &AtomicU64, feature: Feature) -> bool {
    bits.load(Relaxed) & 1 << feature as u32 != 0
}

/// The settings of a running store.
#[derive(Clone, Debug)]
pub struct Settings(Arc<Live>);

impl Settings {
    pub(crate) fn new(config: &Config, observe: Observe) -> Self {
        let values = config.values.map(AtomicU64::new);
        let live = Live { values, started: AtomicU64::default(), switched: AtomicU64::default(), observe };
        for feature in Feature::ALL {
            let on = config.values[flag(*feature) as usize] != 0;
            set_bit(&live.started, *feature, on);
            live.observe.flag_is(*feature, on);
        }
        Self(Arc::new(live))
    }

    /// Changes a setting, from the next request on. Names and values are those of the environment.
    ///
    /// # Errors
    ///
    /// As [`Config::from_vars`], and for a setting that applies only when a store starts.
    pub fn set(&self, name: &str, value: &str) -> Result<(), Error> {
        let at = find(name)?;
        let setting = &SETTINGS[at];
        let refused = || malformed(name, value, &setting.accepts.to_string());
        match setting.apply {
            Apply::Start => {
                return Err(Error::config(format!("{name} applies only when a store starts")));
            }
            Apply::Flag(feature) => {
                self.0.set_flag(feature, setting.accepts.parse(value).ok_or_else(refused)? != 0, BY_PROGRAM);
            }
            Apply::Running => {
                self.0.values[at].store(setting.accepts.parse(value).ok_or_else(refused)?, Relaxed);
                self.0.observe.setting_changed(setting.name, value);
            }
        }
        Ok(())
    }

    /// The switches among the settings.
    pub fn flags(&self) -> Flags {
        Flags(Arc::clone(&self.0))
    }

    /// Takes over what another configuration says about authorization, as far as it can be changed while running.
    pub(crate) fn adopt_authz(&self, config: &Config) {
        for (at, setting) in SETTINGS.iter().enumerate().skip(Key::AuthzEnabled as usize) {
            match setting.apply {
                Apply::Start => {}
                Apply::Running => self.0.values[at].store(config.values[at], Relaxed),
                Apply::Flag(feature) => self.starts_with(feature, config.values[at] != 0),
            }
        }
    }

    /// How a feature starts, unless the fleet has switched it already.
    fn starts_with(&self, feature: Feature, on: bool) {
        set_bit(&self.0.started, feature, on);
        if !has_bit(&self.0.switched, feature) {
            self.0.values[flag(feature) as usize].store(u64::from(on), Relaxed);
            self.0.observe.flag_is(feature, on);
        }
    }

    fn time(&self, key: Key) -> Duration {
        Duration::from_nanos(self.0.get(key))
    }

    pub(crate) fn authz_ttl(&self) -> Duration {
        self.time(Key::AuthzTtl)
    }

    pub(crate) fn authz_deny_ttl(&self) -> Duration {
        self.time(Key::AuthzDenyTtl)
    }

    pub(crate) fn authz_stale_if_error(&self) -> Duration {
        self.time(Key::AuthzStaleIfError)
    }

    pub(crate) fn source_timeout(&self) -> Duration {
        self.time(Key::AuthzSourceTimeout)
    }

    pub(crate) fn source_lag(&self) -> Duration {
        self.time(Key::AuthzSourceLag)
    }

    pub(crate) fn authz_hold(&self) -> Duration {
        self.time(Key::AuthzHold)
    }

    pub(crate) fn authz_debug_header(&self) -> bool {
        self.0.get(Key::AuthzDebugHeader) != 0
    }

    pub(crate) fn max_body_bytes(&self) -> u64 {
        self.0.get(Key::MaxBodyBytes)
    }

    pub(crate) fn max_variants(&self) -> u64 {
        self.0.get(Key::MaxVariants)
    }

    pub(crate) fn max_key_bytes(&self) -> u64 {
        self.0.get(Key::MaxKeyBytes)
    }

    pub(crate) fn max_tags(&self) -> u64 {
        self.0.get(Key::MaxTags)
    }

    pub(crate) fn default_ttl(&self) -> Option<Duration> {
        let value = self.0.get(Key::DefaultTtl);
        (value != NONE).then(|| Duration::from_nanos(value))
    }

    pub(crate) fn fill_wait(&self) -> Duration {
        Duration::from_nanos(self.0.get(Key::FillWait))
    }

    pub(crate) fn hit_for_miss(&self) -> Duration {
        Duration::from_nanos(self.0.get(Key::HitForMiss))
    }

    pub(crate) fn max_refreshes(&self) -> u64 {
        self.0.get(Key::MaxRefreshes)
    }

    pub(crate) fn obeys_fleet(&self) -> bool {
        self.0.get(Key::FleetSwitches) != 0
    }

    /// Whether to compare this hit with a fresh answer.
    #[inline]
    pub(crate) fn samples_consistency(&self) -> bool {
        match self.0.get(Key::ConsistencySample) {
            0 => false,
            one_in => fastrand::u64(..one_in) == 0,
        }
    }

    #[inline]
    pub(crate) fn max_lag(&self) -> Duration {
        Duration::from_nanos(self.0.get(Key::MaxLag))
    }

    pub(crate) fn poll_interval(&self) -> Duration {
        Duration::from_nanos(self.0.get(Key::PollInterval))
    }

    pub(crate) fn degraded_max(&self) -> Duration {
        Duration::from_nanos(self.0.get(Key::DegradedMax))
    }

    pub(crate) fn l2_ttl(&self) -> Duration {
        Duration::from_nanos(self.0.get(Key::L2Ttl))
    }

    pub(crate) fn read_budget(&self) -> Duration {
        Duration::from_nanos(self.0.get(Key::L2ReadBudget))
    }

    pub(crate) fn write_budget(&self) -> Duration {
        Duration::from_nanos(self.0.get(Key::L2WriteBudget))
    }

    pub(crate) fn lease(&self) -> Duration {
        Duration::from_nanos(self.0.get(Key::L2Lease))
    }

    pub(crate) fn l2_writes(&self) -> u64 {
        self.0.get(Key::L2Writes)
    }

    pub(crate) fn l2_write_bytes(&self) -> u64 {
        self.0.get(Key::L2WriteBytes)
    }
}

/// The switches of a running store.
#[derive(Clone, Debug)]
pub struct Flags(Arc<Live>);

impl Flags {
    /// Whether a feature is on.
    #[inline]
    pub fn is_on(&self, feature: Feature) -> bool {
        self.0.get(flag(feature)) != 0
    }

    /// Switches a feature, from the next request on. It is logged (`cache_flag_changed`) and visible as
    /// `cache_feature_enabled`.
    pub fn set(&self, feature: Feature, on: bool) {
        self.0.set_flag(feature, on, BY_PROGRAM);
    }

    /// As [`set`](Self::set), by an operator of this process.
    #[cfg(feature = "admin")]
    pub(crate) fn set_because(&self, feature: Feature, on: bool, why: &str) {
        self.0.set_flag(feature, on, Said { scope: "process", by: "admin", why });
    }

    /// As [`set`](Self::set), because somebody has switched it for the fleet; `None` is as it was at the start.
    pub(crate) fn set_for_fleet(&self, feature: Feature, on: Option<bool>, (by, why): (&str, &str)) {
        set_bit(&self.0.switched, feature, on.is_some());
        let on = on.unwrap_or_else(|| has_bit(&self.0.started, feature));
        self.0.set_flag(feature, on, Said { scope: "fleet", by, why });
    }
}

pub(super) const fn flag(feature: Feature) -> Key {
    match feature {
        Feature::Cache => Key::Enabled,
        Feature::L1 => Key::L1Enabled,
        Feature::L2 => Key::L2Enabled,
        Feature::Swr => Key::SwrEnabled,
        Feature::Authz => Key::AuthzEnabled,
        Feature::AuthzL2 => Key::AuthzL2Enabled,
    }
}
