use super::*;
use crate::clock::Clock;
use crate::observe::Observe;
use crate::observe::stats::Feature;

type Case<'a> = (&'a str, &'a str);

fn parse(vars: &[Case]) -> Result<Config, Error> {
    Config::from_vars(vars.iter().copied())
}

fn refusal(vars: &[Case]) -> String {
    let error = parse(vars).unwrap_err();
    assert!(error.is_config());
    error.to_string()
}

fn settings(config: &Config) -> Settings {
    Settings::new(config, Observe::private(Clock::default(), config))
}

#[test]
fn the_defaults_are_the_documented_ones() {
    let config = Config::default();
    assert_eq!(parse(&[]).unwrap(), config);
    assert_eq!((config.name(), config.l1_limit(), config.log_hits()), ("default", 64 << 20, 1000));
    assert!(config.metrics_enabled());
    let settings = settings(&config);
    assert_eq!(settings.max_body_bytes(), 2 << 20);
    assert_eq!((settings.max_variants(), settings.max_key_bytes()), (64, 4096));
    assert_eq!((settings.max_tags(), settings.max_refreshes()), (64, 64));
    assert_eq!(settings.default_ttl(), None);
    assert_eq!(settings.fill_wait(), Duration::from_secs(5));
    assert_eq!(settings.hit_for_miss(), Duration::from_secs(10));
    assert!(Feature::ALL.iter().all(|feature| settings.flags().is_on(*feature)));
}

#[test]
fn every_name_has_an_effect() {
    for setting in &SETTINGS {
        let value = match setting.accepts {
            Accepts::Boolean if setting.default == "false" => "on",
            Accepts::Boolean => "off",
            Accepts::Count(_) => "7",
            Accepts::Bytes(_) => "1KiB",
            Accepts::Time(_) | Accepts::TimeOrNone(_) => "29s",
            Accepts::Millis(_) => "250",
            Accepts::Name => "shop",
            Accepts::Thinning => "all",
            Accepts::Keys => "one:key",
        };
        for name in setting.names() {
            assert_ne!(parse(&[(name, value)]).unwrap(), Config::default(), "{name}");
        }
    }
}

#[test]
fn values_are_read_as_written() {
    let time = |text| settings(&parse(&[("CACHE_FILL_WAIT", text)]).unwrap()).fill_wait();
    assert_eq!(time("250ms"), Duration::from_millis(250));
    assert_eq!(time("3"), Duration::from_secs(3));
    assert_eq!(time("3s"), Duration::from_secs(3));
    assert_eq!(time("2m"), Duration::from_secs(120));
    let bytes = |text| parse(&[("CACHE_L1_MAX_BYTES", text)]).unwrap().l1_limit();
    assert_eq!((bytes("0"), bytes("1500"), bytes("3KiB"), bytes("3KB")), (0, 1500, 3072, 3000));
    assert_eq!(
        (bytes("1MiB"), bytes("1MB"), bytes("2GiB"), bytes("2GB")),
        (1 << 20, 1_000_000, 2 << 30, 2_000_000_000)
    );
    let hits = |text| parse(&[("CACHE_LOG_HITS", text)]).unwrap().log_hits();
    assert_eq!((hits("off"), hits("sample:50"), hits("all")), (0, 50, 1));
    let ttl = |text| settings(&parse(&[("SEMANTIC_CACHE_DEFAULT_TTL_SECONDS", text)]).unwrap()).default_ttl();
    assert_eq!((ttl("3600"), ttl("none")), (Some(Duration::from_secs(3600)), None));
    for on in ["1", "true", "TRUE", "Yes", "on"] {
        assert_eq!(parse(&[("CACHE_ENABLED", on)]).unwrap(), Config::default());
    }
    for off in ["0", "false", "No", "OFF"] {
        let settings = settings(&parse(&[("CACHE_L1_ENABLED", off)]).unwrap());
        assert!(!settings.flags().is_on(Feature::L1), "{off}");
    }
}

#[test]
fn malformed_values_are_refused_by_name() {
    let cases = [
        ("CACHE_ENABLED", "enabled", "CACHE_ENABLED is \"enabled\", but accepts `1 0 true false yes no on off`"),
        ("CACHE_ENABLED", "", "CACHE_ENABLED is \"\", but accepts `1 0 true false yes no on off`"),
        ("CACHE_FILL_WAIT", "fast", "CACHE_FILL_WAIT is \"fast\", but accepts 0s to 10m"),
        ("CACHE_FILL_WAIT", "11m", "CACHE_FILL_WAIT is \"11m\", but accepts 0s to 10m"),
        ("CACHE_MAX_VARIANTS", "0", "CACHE_MAX_VARIANTS is \"0\", but accepts 1 to 1024"),
        ("CACHE_MAX_BODY_BYTES", "2GiB", "CACHE_MAX_BODY_BYTES is \"2GiB\", but accepts 0 to 1GiB"),
        ("CACHE_DEFAULT_TTL", "0", "CACHE_DEFAULT_TTL is \"0\", but accepts `none`, or 1s to 8760h"),
        (
            "CACHE_NAMESPACE",
            "a/b",
            "CACHE_NAMESPACE is \"a/b\", but accepts 1 to 64 of `A-Z a-z 0-9 _ . -`, but not `other`",
        ),
    ];
    for (name, value, text) in cases {
        assert_eq!(refusal(&[(name, value)]), text);
    }
    for value in
        ["-1s", "+1s", " 1s", "1 s", "1.5s", "1_0s", "s", "1d", "99999999999999999999", "18446744073709551615h"]
    {
        refusal(&[("CACHE_FILL_WAIT", value)]);
    }
    for value in ["sample:0", "sample:", "sample:-1", "some", "sample:1000000001"] {
        refusal(&[("CACHE_LOG_HITS", value)]);
    }
    refusal(&[("CACHE_NAMESPACE", &"x".repeat(65))]);
    assert!(refusal(&[("CACHE_ENABLED", &"é\u{7}".repeat(1_000_000))]).len() < 600);
}

#[test]
fn unknown_names_are_refused_with_the_nearest_one() {
    assert_eq!(
        refusal(&[("CACHE_FIL_WAIT", "5s")]),
        "CACHE_FIL_WAIT is not a setting; the nearest one is CACHE_FILL_WAIT"
    );
    assert_eq!(
        refusal(&[("CACHE_MAX_BODY", "1")]),
        "CACHE_MAX_BODY is not a setting; the nearest one is CACHE_MAX_BODY_BYTES"
    );
    assert!(refusal(&[("CACHE_PORT_80_TCP", "x")]).contains("enableServiceLinks: false"));
    assert!(refusal(&[(&format!("CACHE_{}", "X".repeat(1_000_000)), "1")]).len() < 200);
}

#[test]
fn names_of_others_are_passed_over() {
    let vars = [("PATH", "/bin"), ("CACHED", "1"), ("cache_enabled", "maybe"), ("REDIS_HOST", "redis")];
    assert_eq!(parse(&vars).unwrap(), Config::default());
}

#[test]
fn two_names_of_one_setting_must_agree() {
    parse(&[("CACHE_ENABLED", "0"), ("ENABLE_SEMANTIC_CACHE_V2", "false")]).unwrap();
    parse(&[("CACHE_DEFAULT_TTL", "1h"), ("SEMANTIC_CACHE_DEFAULT_TTL_SECONDS", "3600")]).unwrap();
    assert_eq!(
        refusal(&[("ENABLE_SEMANTIC_CACHE_V2", "0"), ("CACHE_ENABLED", "1")]),
        "ENABLE_SEMANTIC_CACHE_V2 and CACHE_ENABLED name the same setting and differ; set one of them"
    );
    refusal(&[("CACHE_ENABLED", "1"), ("ENABLE_SEMANTIC_CACHE_V2", "0")]);
    refusal(&[("ENABLE_METRICS", "1"), ("ENABLE_HTTP_METRICS", "0")]);
}

#[test]
fn setters_keep_to_the_ranges() {
    let config = Config::default().max_variants(0).max_body_bytes(u64::MAX).fill_wait(Duration::MAX);
    assert_eq!(
        config,
        parse(&[("CACHE_MAX_VARIANTS", "1"), ("CACHE_MAX_BODY_BYTES", "1GiB"), ("CACHE_FILL_WAIT", "10m")]).unwrap()
    );
    let config =
        Config::default().default_ttl(Some(Duration::from_secs(60))).l1_max_bytes(5).hit_for_miss(Duration::ZERO);
    assert_eq!(
        config,
        parse(&[("CACHE_DEFAULT_TTL", "60"), ("CACHE_L1_MAX_BYTES", "5"), ("CACHE_HIT_FOR_MISS", "0")]).unwrap()
    );
    assert_eq!(
        config.default_ttl(None).max_refreshes(3),
        parse(&[("CACHE_L1_MAX_BYTES", "5"), ("CACHE_HIT_FOR_MISS", "0"), ("CACHE_MAX_REFRESHES", "3")]).unwrap()
    );
    assert!(Config::default().namespace("other").unwrap_err().is_config());
    assert_eq!(Config::default().namespace("shop-1").unwrap().name(), "shop-1");
}

#[test]
fn settings_change_while_running() {
    let settings = settings(&Config::default());
    let reader = settings.clone();
    settings.set("CACHE_FILL_WAIT", "2s").unwrap();
    settings.set("SEMANTIC_CACHE_DEFAULT_TTL_SECONDS", "60").unwrap();
    assert_eq!((reader.fill_wait(), reader.default_ttl()), (Duration::from_secs(2), Some(Duration::from_secs(60))));
    assert_eq!(
        settings.set("CACHE_L1_MAX_BYTES", "1").unwrap_err().to_string(),
        "CACHE_L1_MAX_BYTES applies only when a store starts"
    );
    assert_eq!(
        settings.set("CACHE_FILL_WAIT", "x").unwrap_err().to_string(),
        "CACHE_FILL_WAIT is \"x\", but accepts 0s to 10m"
    );
    assert!(settings.set("CACHE_FILLWAIT", "1s").unwrap_err().to_string().contains("CACHE_FILL_WAIT"));
    assert_eq!(reader.fill_wait(), Duration::from_secs(2));
}

#[test]
fn flags_change_while_running() {
    let settings = settings(&Config::default());
    let flags = settings.flags();
    flags.set(Feature::Swr, false);
    assert!(!settings.flags().is_on(Feature::Swr) && flags.is_on(Feature::Cache));
    settings.set("CACHE_ENABLED", "off").unwrap();
    settings.set("CACHE_SWR_ENABLED", "on").unwrap();
    assert!(!flags.is_on(Feature::Cache) && flags.is_on(Feature::Swr));
}

#[test]
fn the_manual_lists_every_setting() {
    crate::observe::tests::manual("configuration.md", &Config::table());
}
