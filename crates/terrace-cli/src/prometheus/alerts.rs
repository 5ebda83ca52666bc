//! Our alerts, by their names.

/// All of `deploy/prometheus/alerts.yml`, in its order.
pub(crate) const ALERTS: [&str; 26] = [
    "RedisDown",
    "RedisHighMemory",
    "CacheHitRateLow",
    "LowCacheHitRate",
    "RedisConnectionLimit",
    "RedisEvictionActive",
    "CacheInvalidationSpike",
    "LockContentionHigh",
    "RedisReplicationLag",
    "L2CacheNotWorking",
    "AuthzLatencyHigh",
    "CacheCoherenceStale",
    "CacheDoorbellDown",
    "CacheInvalidationPending",
    "CacheEpochChanged",
    "CacheBreakerOpen",
    "CacheSealRejected",
    "CacheInconsistent",
    "CacheRedisUnsafe",
    "CacheBridgeGap",
    "AuthzRingSplit",
    "RedisMasterCount",
    "SentinelQuorumLost",
    "CacheMetricsAbsent",
    "CacheWarmStale",
    "BackupStale",
];

/// The file itself.
#[cfg(test)]
pub(crate) const FILE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/prometheus/alerts.yml"));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_has_every_alert_of_the_file_and_no_other() {
        let names = FILE.lines().filter_map(|line| line.trim_start().strip_prefix("- alert: "));
        assert_eq!(names.collect::<Vec<_>>(), ALERTS);
    }
}
