use super::*;
use crate::findings::Status;

const WELL: &str = "role:master\nrun_id:a\nmaster_replid:b\nredis_version:7.0.15\nmaxmemory:4294967296\n\
    maxmemory_policy:volatile-lru\nused_memory:1048576\naof_enabled:1\nrdb_last_bgsave_status:ok\nconnected_slaves:1\n\
    min_slaves_good_slaves:1\nslave0:ip=10.0.0.2,port=6379,state=online,offset=7,lag=1\nmaxclients:1000";

const DEMANDS: Demands = Demands { min_memory: Some(1 << 30), processes: 2 };

fn fields(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn server_checks(info: &str, save: &str) -> Vec<Finding> {
    let (info, config) = (fields(info), BTreeMap::from([("save".to_owned(), save.to_owned())]));
    let server = Server(&info, &config);
    vec![
        server.role("h:1"),
        server.identity(),
        server.version(),
        server.limit(),
        server.policy(),
        server.free(DEMANDS.min_memory),
        server.persistence(),
        server.min_replicas(),
        server.lag(),
        server.clients(65 * u64::from(DEMANDS.processes)),
    ]
}

fn bad(info: &str, save: &str) -> Vec<(&'static str, Status)> {
    let all = server_checks(info, save);
    assert!(all.iter().all(|one| (one.status == Status::Ok) == one.fix.is_none()), "{all:?}");
    all.into_iter().filter(|one| one.status != Status::Ok).map(|one| (one.id, one.status)).collect()
}

#[test]
fn a_server_as_it_should_be_passes_all() {
    assert_eq!(bad(WELL, "900 1"), []);
}

#[test]
fn each_fault_is_found_by_its_own_check() {
    for (from, to, id, status) in [
        ("role:master", "role:slave", "redis-primary", Status::Fail),
        ("run_id:a\n", "", "redis-fence-mode", Status::Fail),
        ("7.0.15", "6.2.7", "redis-version", Status::Fail),
        ("7.0.15", "6.0.16", "redis-version", Status::Fail),
        ("maxmemory:4294967296", "maxmemory:0\ntotal_system_memory:8589934592", "redis-memory-limit", Status::Fail),
        ("volatile-lru", "allkeys-lru", "redis-eviction", Status::Warn),
        ("volatile-lru", "noeviction", "redis-eviction", Status::Warn),
        ("used_memory:1048576", "used_memory:4000000000", "redis-free-memory", Status::Fail),
        ("aof_enabled:1", "aof_enabled:0", "redis-persistence", Status::Warn),
        ("bgsave_status:ok", "bgsave_status:err", "redis-persistence", Status::Fail),
        ("min_slaves_good_slaves:1\n", "", "redis-min-replicas", Status::Fail),
        ("lag=1", "lag=2", "redis-replication-lag", Status::Warn),
        ("lag=1", "lag=5", "redis-replication-lag", Status::Warn),
        ("lag=1", "lag=6", "redis-replication-lag", Status::Fail),
        ("state=online", "state=wait_bgsave", "redis-replication-lag", Status::Fail),
        ("maxclients:1000", "maxclients:160", "redis-clients", Status::Fail),
    ] {
        assert!(WELL.contains(from), "{from}");
        assert_eq!(bad(&WELL.replace(from, to), "900 1"), [(id, status)], "{from} -> {to}");
    }
}

#[test]
fn before_version_7_a_server_may_have_no_replicas() {
    for (replicas, status) in [("connected_slaves:0", Status::Warn), ("connected_slaves:1", Status::Fail)] {
        let all = server_checks(&WELL.replace("7.0.15", "6.2.7").replace("connected_slaves:1", replicas), "900 1");
        assert_eq!(all.iter().find(|one| one.id == "redis-version").unwrap().status, status, "{replicas}");
    }
}

#[test]
fn after_a_failover_one_of_two_primaries_lacks_replicas() {
    for (least, replicas, status) in
        [(1, 1, Status::Ok), (1, 2, Status::Ok), (1, 3, Status::Fail), (2, 4, Status::Ok), (2, 5, Status::Fail)]
    {
        let info = [("connected_slaves", replicas.to_string()), ("min_slaves_good_slaves", replicas.to_string())];
        let info = info.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let config = [("min-replicas-to-write".to_owned(), least.to_string())].into_iter().collect();
        assert_eq!(Server(&info, &config).min_replicas().status, status, "{least} of {replicas}");
    }
}

/// Who keeps something keeps it in both forms. Who keeps nothing has chosen that, and is told what it costs.
#[test]
fn one_form_of_persistence_alone_is_a_warning() {
    for (enabled, save, status, measured) in [
        (Some("1"), Some("900 1"), Status::Ok, "AOF and RDB"),
        (Some("1"), Some(""), Status::Warn, "AOF alone"),
        (Some("0"), Some("900 1"), Status::Warn, "RDB alone"),
        (Some("0"), Some(""), Status::Warn, "none: after a restart every entry is fetched anew"),
        // Who may not ask for settings does not know that it is one alone.
        (Some("1"), None, Status::Ok, "AOF; the server does not tell save"),
        (None, Some("900 1"), Status::Ok, "RDB; the server does not tell aof_enabled"),
        (None, None, Status::Warn, "the server does not tell aof_enabled, or CONFIG GET save"),
    ] {
        let of = |name: &str, value: Option<&str>| value.map(|value| (name.to_owned(), value.to_owned()));
        let info = of("aof_enabled", enabled).into_iter().collect();
        let config = of("save", save).into_iter().collect();
        let found = Server(&info, &config).persistence();
        assert_eq!((found.status, found.measured.as_str()), (status, measured), "{enabled:?} {save:?}");
    }
}

#[test]
fn behind_sentinels_one_replica_is_a_warning_and_none_fails() {
    for (replicas, status) in [(0, Status::Fail), (1, Status::Warn), (2, Status::Ok), (3, Status::Ok)] {
        assert_eq!(spare(replicas).status, status, "{replicas}");
    }
}

#[test]
fn what_is_hidden_is_a_warning_and_never_well() {
    let all = server_checks("", "");
    let of = |id: &str| all.iter().find(|one| one.id == id).unwrap().status;
    for id in ["redis-primary", "redis-version", "redis-memory-limit", "redis-eviction", "redis-free-memory"] {
        assert_eq!(of(id), Status::Warn, "{id}");
    }
    assert_eq!(of("redis-fence-mode"), Status::Fail);
}

#[test]
fn without_a_demand_little_memory_is_a_warning() {
    let info = fields("maxmemory:268435456\nused_memory:1048576");
    let server = BTreeMap::new();
    let server = Server(&info, &server);
    assert_eq!(server.free(None).status, Status::Warn);
    assert_eq!(server.free(Some(1 << 20)).status, Status::Ok);
    assert_eq!(server.free(Some(1 << 20)).measured, "255 MiB");
}

#[test]
fn rights_that_cannot_be_tried_are_not_known() {
    assert_eq!(rights(Some(&[])).status, Status::Ok);
    assert_eq!(rights(None).status, Status::Unknown);
    let denied = rights(Some(&["ZADD".to_owned(), "SUBSCRIBE".to_owned()]));
    assert!(denied.status == Status::Fail && denied.fix.unwrap().contains("ZADD, SUBSCRIBE"));
}

#[test]
fn clocks_may_be_a_second_apart() {
    let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
    let asked = (start, start + Duration::from_millis(200));
    for (milliseconds, status) in
        [(-1001, Status::Fail), (-999, Status::Ok), (100, Status::Ok), (1150, Status::Ok), (1250, Status::Fail)]
    {
        let shift = Duration::from_millis(i64::unsigned_abs(i64::from(milliseconds)));
        let server = if milliseconds < 0 { start - shift } else { start + shift };
        assert_eq!(clock(Some(server), asked).status, status, "{milliseconds}");
    }
    assert_eq!(clock(None, asked).status, Status::Warn);
}
