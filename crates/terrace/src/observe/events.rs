//! Log events: the `event` field holds a fixed word, and the same word starts the message, so that both a field query
//! and a text search find it. No event carries a key, a URL, a tag or anything a client sent, but for the
//! audit of decisions at level DEBUG.

use super::Said;
use super::authz::Audit;
use super::labels::{
    BreakerName, BridgeChannel, BridgeResult, EpochChange, ErrorKind, Feature, FenceResult, L2Op, RejectReason, Scope,
};
use std::fmt::Display;
use std::time::Duration;

pub(super) fn initialized(namespace: &str, l1_max_bytes: u64) {
    tracing::info!(
        event = "cache_initialized",
        cache_namespace = namespace,
        l1_max_bytes,
        "cache_initialized: Cache initialized"
    );
}

pub(super) fn redis_connected(position: u64) {
    tracing::info!(event = "redis_connected", position, "redis_connected: Redis connected");
}

pub(super) fn flag_changed(feature: Feature, on: bool, Said { scope, by, why }: Said<'_>) {
    let feature = feature.as_str();
    tracing::info!(event = "cache_flag_changed", feature, on, scope, by, why, "cache_flag_changed: {feature} switched");
}

pub(super) fn setting_changed(setting: &str, value: &str) {
    tracing::info!(
        event = "cache_setting_changed",
        setting,
        value,
        "cache_setting_changed: {setting} set while running"
    );
}

pub(super) fn fill_error(reason: &dyn Display) {
    tracing::debug!(event = "cache_fill_error", %reason, "cache_fill_error: a response was not stored");
}

pub(super) fn breaker_open(breaker: BreakerName) {
    let breaker = breaker.as_str();
    tracing::warn!(
        event = "cache_l2_breaker_open",
        breaker,
        "cache_l2_breaker_open: Redis does not answer, and is not asked for a while"
    );
}

pub(super) fn breaker_closed(breaker: BreakerName) {
    let breaker = breaker.as_str();
    tracing::info!(
        event = "cache_l2_breaker_closed",
        breaker,
        "cache_l2_breaker_closed: calls of Redis are not stopped any more"
    );
}

pub(super) fn coherence_degraded(proof_age: Duration, max_lag: Duration) {
    tracing::warn!(
        event = "cache_coherence_degraded",
        ?proof_age,
        ?max_lag,
        "cache_coherence_degraded: memory is not proven up to date"
    );
}

pub(super) fn coherence_restored() {
    tracing::warn!(event = "cache_coherence_restored", "cache_coherence_restored: memory is proven up to date again");
}

pub(super) fn epoch_changed(reason: EpochChange) {
    let reason = reason.as_str();
    tracing::warn!(event = "cache_epoch_changed", reason, "cache_epoch_changed: everything stored before is dead");
}

pub(super) fn fence_refused(result: FenceResult) {
    let result = result.as_str();
    tracing::warn!(event = "cache_fence_refused", result, "cache_fence_refused: this server cannot be used");
}

pub(super) fn invalidation_pending(pending: u64) {
    tracing::warn!(
        event = "cache_invalidation_pending",
        pending,
        "cache_invalidation_pending: not acknowledged, and repeated until it is"
    );
}

pub(super) fn invalidation_acked() {
    tracing::info!(event = "cache_invalidation_acked", "cache_invalidation_acked: none is pending any more");
}

/// Whether this hit is logged: `first` always, then one in `one_in` per thread. Costs two loads while nobody listens
/// at DEBUG.
#[inline]
pub(super) fn hit_is_due(one_in: u64, first: bool) -> bool {
    use tracing::level_filters::LevelFilter;
    if one_in == 0 || LevelFilter::current() < LevelFilter::DEBUG {
        return false;
    }
    super::stats::LOCAL.with(|local| {
        let left = local.until_log.get();
        let due = first || left <= 1;
        local.until_log.set(if due { one_in } else { left - 1 });
        due
    })
}

#[cold]
pub(super) fn l1_hit(namespace: &str) {
    tracing::debug!(event = "cache_l1_hit", cache_namespace = namespace, "cache_l1_hit: answered from memory");
}

pub(super) fn server_unsafe(warning: &'static str, text: &str, unbounded: bool) {
    tracing::warn!(event = "cache_l2_unsafe", warning, unbounded, "cache_l2_unsafe: {text}");
}

pub(super) fn bridge_connected() {
    tracing::info!(event = "cache_bridge_connected", "cache_bridge_connected: listening to other programs");
}

pub(super) fn bridge_gap() {
    tracing::warn!(
        event = "cache_bridge_gap",
        "cache_bridge_gap: listening again; what other programs published meanwhile is lost"
    );
}

pub(super) fn bridge_lost() {
    tracing::warn!(event = "cache_bridge_lost", "cache_bridge_lost: other programs are not heard, and tried again");
}

pub(super) fn bridge_refused(channel: BridgeChannel, result: BridgeResult) {
    let (channel, reason) = (channel.as_str(), result.as_str());
    tracing::warn!(
        event = "cache_bridge_refused",
        channel,
        reason,
        "cache_bridge_refused: a message was not used, or not all of it; others like it are only counted"
    );
}

pub(super) fn revoked(scope: Scope, acked: bool) {
    let scope = scope.as_str();
    if acked {
        tracing::info!(event = "authz_revoked", scope, "authz_revoked: what was known of it is not used any more");
    } else {
        tracing::warn!(
            event = "authz_revocation_pending",
            scope,
            "authz_revocation_pending: not acknowledged, and repeated until it is"
        );
    }
}

pub(super) fn change_swept(changes: u64) {
    tracing::warn!(
        event = "authz_change_swept",
        changes,
        "authz_change_swept: whoever announced a change has died, or somebody has forged it; what it was about is cached \
         again"
    );
}

/// As [`hit_is_due`], at level INFO.
pub(super) fn authz_hit_is_due(one_in: u64, first: bool) -> bool {
    use tracing::level_filters::LevelFilter;
    if one_in == 0 || LevelFilter::current() < LevelFilter::INFO {
        return false;
    }
    super::stats::LOCAL.with(|local| {
        let left = local.until_authz_log.get();
        let due = first || left <= 1;
        local.until_authz_log.set(if due { one_in } else { left - 1 });
        due
    })
}

pub(super) fn authz_l2_hit() {
    tracing::info!(event = "authz_l2_cache_hit", "authz_l2_cache_hit: permissions were found in Redis");
}

pub(super) fn l2_populated() {
    tracing::info!(event = "authz_l2_cache_populated", "authz_l2_cache_populated: permissions were written to Redis");
}

pub(super) fn authz_l2_error(op: L2Op, kind: ErrorKind) {
    let (op, kind) = (op.as_str(), kind.as_str());
    tracing::warn!(
        event = "authz_l2_cache_error",
        op,
        kind,
        "authz_l2_cache_error: Redis failed or was too late; others within this second are only counted"
    );
}

pub(super) fn l2_rejected(reason: RejectReason) {
    let word = reason.as_str();
    if matches!(reason, RejectReason::Seal | RejectReason::Regress) {
        tracing::error!(
            event = "authz_l2_rejected",
            reason = word,
            "authz_l2_rejected: what was found in Redis is not what was stored there"
        );
    } else {
        tracing::debug!(event = "authz_l2_rejected", reason = word, "authz_l2_rejected: an entry is not used");
    }
}

pub(super) fn ring_differs() {
    tracing::error!(
        event = "authz_ring_differs",
        "authz_ring_differs: other processes of this namespace have none of our AUTHZ_CACHE_KEYS; rights are not cached"
    );
}

pub(super) fn server_hidden() {
    tracing::error!(
        event = "authz_server_hidden",
        "authz_server_hidden: Redis does not say who it is (INFO), so nobody would notice that it has forgotten a \
         revocation; rights are not cached"
    );
}

#[cfg(feature = "axum")]
pub(super) fn layer_missing() {
    tracing::error!(
        event = "authz_layer_missing",
        "authz_layer_missing: a handler asks who is authorized, and no layer around it says so"
    );
}

pub(super) fn layer_order() {
    tracing::error!(
        event = "authz_layer_order",
        "authz_layer_order: a cache is around the layer that authorizes, and stores nothing; put it inside"
    );
}

#[cfg(feature = "axum")]
pub(super) fn parameter_missing(name: &str) {
    tracing::error!(
        event = "authz_parameter_missing",
        name,
        "authz_parameter_missing: the route has no such parameter in its path, and nobody is allowed"
    );
}

/// Whether anybody listens to audits.
#[inline]
pub(super) fn audits() -> bool {
    tracing::event_enabled!(target: "terrace::audit", tracing::Level::DEBUG)
}

/// The only event that says what was asked for.
#[cold]
pub(super) fn decided(audit: &Audit<'_>) {
    tracing::debug!(
        target: "terrace::audit",
        event = "authz_decision",
        decision_id = %format_args!("{:016x}", audit.decision_id),
        decision = audit.decision.as_str(),
        reason = audit.reason,
        via = audit.via.unwrap_or_default(),
        requirement = audit.requirement,
        cache_status = audit.status.as_str(),
        age = ?audit.age,
        position = audit.position,
        source_version = audit.version,
        stale = audit.stale,
        subject = %format_args!("{:016x}", audit.subject),
        "authz_decision: a check was decided"
    );
}
