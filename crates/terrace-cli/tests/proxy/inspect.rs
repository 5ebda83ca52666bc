//! `terrace inspect` against a fleet that runs.

use crate::fleet::{Ended, Fleet, run};
use crate::harness::{Origin, Proxy, full, terrace, within};
use http::Response;
use serde_json::{Value, json};
use terrace::Store;
use terrace_redis_server::{PATIENT, Server};

const A: &str = "a.example";
const URL: &str = "http://a.example/shop/1?a=1";
const PATH: &str = "/shop/1?a=1";

const FRESH: [(&str, &str); 4] = [
    ("cache-control", "public, max-age=3600, stale-while-revalidate=600"),
    ("set-cookie", "id=hunter2"),
    ("x-auth-token", "hunter2"),
    ("cache-tag", "category-3"),
];

/// What `terrace inspect` says about the URL, when it has found one entry.
fn one(fleet: &Fleet, arguments: &[&str]) -> Value {
    let said = fleet.run(&[&["inspect", "-o", "json"], arguments].concat()).ok().json();
    let entries = said["entries"].as_array().unwrap();
    assert_eq!(entries.len(), 1, "{said}");
    entries[0].clone()
}

fn text(fleet: &Fleet, arguments: &[&str]) -> String {
    fleet.run(&[&["inspect"], arguments].concat()).ok().out
}

#[tokio::test]
async fn a_fresh_entry_is_shown_with_everything_but_its_secrets() {
    let variables = [("CACHE_L2_COMPRESS_ABOVE", "16")];
    let fleet = Fleet::start_with(Server::start(), &variables, &FRESH).await;
    fleet.warm(A, PATH).await;
    fleet.has_stored(1).await;
    let entry = one(&fleet, &["http://A.EXAMPLE:80/shop/1?a=1"]);
    assert_eq!(entry["url"], URL);
    assert_eq!((&entry["state"], &entry["validity"]["verdict"]), (&json!("fresh"), &json!("current")), "{entry}");
    assert_eq!(
        (&entry["envelope_version"], &entry["schema"], &entry["sealed_by"]),
        (&json!(1), &json!(1), &json!(null))
    );
    assert_eq!((&entry["compressed"], &entry["position"]), (&json!(true), &json!(0)), "{entry}");
    assert!(entry["bytes"].as_u64().unwrap() > 100 && entry["expires_in"].as_f64().unwrap() > 1000.0, "{entry}");
    let response = &entry["response"];
    assert_eq!((&response["status"], &response["content_bytes"]), (&json!(200), &json!(1)), "{entry}");
    assert_eq!((&response["lifetime"], &response["lifetime_from"]), (&json!(3600.0), &json!("max-age")), "{entry}");
    assert_eq!((&response["stale_while_revalidate"], &response["stale_for"]), (&json!(600.0), &json!(0.0)), "{entry}");
    let (age, left) = (response["age"].as_f64().unwrap(), response["fresh_for"].as_f64().unwrap());
    assert!(age < 60.0 && (age + left - 3600.0).abs() < 0.001, "{entry}");
    let field = |name: &str| {
        let fields = response["fields"].as_array().unwrap();
        fields.iter().find(|field| field["name"] == name).unwrap_or_else(|| panic!("{name} in {entry}"))["value"]
            .clone()
    };
    assert_eq!(field("cache-control"), FRESH[0].1);
    assert_eq!((field("set-cookie"), field("x-auth-token")), (json!(null), json!(null)));
    let tags: Vec<&str> = entry["tags"].as_array().unwrap().iter().filter_map(|tag| tag["meaning"].as_str()).collect();
    for tag in ["url a.example/shop/1?a=1", "prefix a.example/shop/", "prefix /shop/1/", "host a.example"] {
        assert!(tags.contains(&tag), "{tag} in {tags:?}");
    }
    let named = entry["tags"].as_array().unwrap().iter().filter(|tag| tag["meaning"].is_null()).count();
    assert_eq!(named, 1, "that of the origin: {entry}");
    let text = text(&fleet, &[URL]);
    for word in
        ["set-cookie: (10 bytes, not shown)", "59m", "valid: nothing has invalidated it", "compressed", "200 OK"]
    {
        assert!(text.contains(word), "{word:?} in {text}");
    }
    assert!(!format!("{text}{entry}").contains("hunter2"), "{text}{entry}");
}

#[tokio::test]
async fn what_was_purged_says_by_what() {
    let fleet = Fleet::start_with(Server::start(), &[], &FRESH).await;
    fleet.warm(A, PATH).await;
    fleet.has_stored(1).await;
    // Nobody asks any more, so nobody stores it again.
    let purged = |arguments: &[&str]| {
        let said = fleet.run(&[arguments, &["-o", "json"]].concat()).ok().json();
        said["purges"][0]["position"].clone()
    };
    for (arguments, state, verdict, tag) in [
        (&["purge", "--soft", "--prefix", "/shop"][..], "stale", "expired", "prefix /shop/"),
        (&["purge", "--prefix", "http://a.example/shop"], "invalid", "invalidated", "prefix a.example/shop/"),
        (&["purge", "http://a.example/shop/1?a=1"], "invalid", "invalidated", "url a.example/shop/1?a=1"),
        (&["flush", "--namespace", "default", "--yes"], "invalid", "invalidated", "everything"),
    ] {
        let position = purged(arguments);
        let entry = one(&fleet, &[URL]);
        let validity = &entry["validity"];
        assert_eq!((&entry["state"], &validity["verdict"]), (&json!(state), &json!(verdict)), "{entry}");
        // The first that decides is named: everything comes first, what it is of before.
        if tag == "everything" || state == "stale" {
            assert_eq!((&validity["tag"]["meaning"], &validity["position"]), (&json!(tag), &position), "{entry}");
        }
        assert!(text(&fleet, &[URL]).contains("by "), "{entry}");
    }
}

#[tokio::test]
async fn what_is_no_longer_remembered_is_told_apart() {
    let fleet = Fleet::start_with(Server::start(), &[], &FRESH).await;
    fleet.warm(A, PATH).await;
    fleet.has_stored(1).await;
    let verdict = || one(&fleet, &["--max-keys", "0", URL])["validity"].clone();
    let url = fleet.redis.url();
    let store = Store::from_vars([("REDIS_URL", url.as_str())].into_iter().chain(PATIENT)).unwrap();
    let announced = async {
        loop {
            if let Ok(change) = store.begin_change(["category-3"]).await {
                return change;
            }
        }
    };
    let change = within("the change to be announced", announced).await;
    assert_eq!(
        (&verdict()["verdict"], &verdict()["tag"]["meaning"]),
        (&json!("held"), &Value::Null),
        "a tag given by name is a digest"
    );
    drop(within("the change to end", change.commit()).await.unwrap());
    fleet.redis.command(&["ZADD", "{default}:ctl", "7", "\0f", "9", "\0s"]);
    assert_eq!((&verdict()["verdict"], &verdict()["floor"]), (&json!("forgotten"), &json!(7)));
    fleet.redis.command(&["DEL", "{default}:ctl"]);
    assert_eq!(verdict()["verdict"], "other_epoch");
    assert!(text(&fleet, &[URL]).contains("it is of another epoch"));
}

#[tokio::test]
async fn what_is_stale_says_for_how_long_and_what_is_absent_says_so() {
    let head = [("cache-control", "max-age=0, stale-if-error=600"), ("etag", "\"e\"")];
    let fleet = Fleet::start_with(Server::start(), &[], &head).await;
    let [proxy, _] = &fleet.proxies;
    let stored = async {
        while fleet.entries().is_empty() {
            crate::fleet::get(proxy, A, PATH).await;
        }
    };
    within("it to be stored", stored).await;
    let entry = one(&fleet, &[URL]);
    assert_eq!((&entry["state"], &entry["validity"]["verdict"]), (&json!("stale"), &json!("current")), "{entry}");
    assert_eq!((&entry["response"]["fresh_for"], &entry["response"]["stale_if_error"]), (&json!(0.0), &json!(600.0)));
    assert!(text(&fleet, &[URL]).contains("stale for "));
    for absent in ["http://b.example/shop/1?a=1", "http://a.example/shop/1", "https://a.example/shop/2"] {
        let said = fleet.run(&["inspect", "-o", "json", absent]).ok().json();
        assert_eq!(said["entries"], json!([]), "{said}");
        assert_eq!((&said["scan"]["complete"], &said["url"]), (&json!(true), &json!(absent)), "{said}");
        assert!(text(&fleet, &[absent]).starts_with("Nothing is stored for http"));
    }
}

/// Varies by what the path names.
async fn varying() -> Origin {
    Origin::start(|request| async move {
        let vary = request.uri().path().trim_start_matches('/').to_owned();
        let response = Response::builder().header("cache-control", "public, max-age=3600").header("vary", vary);
        response.body(full("the content")).unwrap()
    })
    .await
}

async fn ask(proxy: &Proxy, path: &str, field: &str) {
    proxy.exchange(&format!("GET {path} HTTP/1.1\r\nHost: a.example\r\n{field}\r\n\r\n")).await;
}

#[tokio::test]
async fn all_variants_of_a_url_are_found_and_one_without_looking_far() {
    let fleet = Fleet::over(&varying().await, Server::start(), &[]).await;
    let [proxy, _] = &fleet.proxies;
    let url = "http://a.example/accept-encoding";
    let stored = async {
        while fleet.entries().len() < 4 {
            for field in ["Accept-Encoding: gzip", "Accept-Encoding: BR", "X-None: 1"] {
                ask(proxy, "/accept-encoding", field).await;
            }
        }
    };
    within("the variants", stored).await;
    let said = fleet.run(&["inspect", "-o", "json", url]).ok().json();
    let entries = said["entries"].as_array().unwrap();
    let selecting: Vec<_> = entries.iter().map(|entry| entry["key"]["selecting"][0]["value"].as_str()).collect();
    assert_eq!((entries.len(), &entries[0]["state"]), (4, &json!("variants")), "{said}");
    assert_eq!(entries[0]["varies_by"], json!([["accept-encoding"]]));
    assert!(selecting.contains(&Some("gzip")) && selecting.contains(&Some("br")), "{said}");
    // That of a request without the field is the one that such a request finds.
    assert_eq!(entries[1]["key"]["selecting"][0]["kind"], "missing", "{said}");
    assert_eq!((&entries[1]["found_by"], &entries[2]["found_by"]), (&json!("request"), &json!("scan")), "{said}");
    let said = fleet.run(&["inspect", "-o", "json", "--max-keys", "0", "-H", "accept-encoding: gzip", url]).ok().json();
    let entries = said["entries"].as_array().unwrap();
    assert_eq!((entries.len(), &entries[1]["key"]["selecting"][0]["value"]), (2, &json!("gzip")), "{said}");
    assert_eq!((&said["scan"]["complete"], &said["scan"]["keys"]), (&json!(false), &json!(0)), "{said}");
    assert!(!format!("{said}{}", text(&fleet, &[url])).contains("the content"));
}

#[tokio::test]
async fn what_selects_a_variant_is_not_shown_if_it_may_be_a_secret() {
    let fleet = Fleet::over(&varying().await, Server::start(), &[]).await;
    let [proxy, _] = &fleet.proxies;
    let stored = async {
        while fleet.entries().len() < 2 {
            ask(proxy, "/cookie", "Cookie: id=hunter2").await;
        }
    };
    within("the variant", stored).await;
    let ended = fleet.run(&["inspect", "-o", "json", "/cookie"]).ok();
    let said = ended.json();
    assert_eq!(said["entries"][1]["key"]["selecting"][0], json!({ "name": "cookie", "kind": "digest", "value": null }));
    let text = text(&fleet, &["/cookie"]);
    assert!(
        text.contains("cookie: (not shown)") && !text.contains("hunter2") && !ended.out.contains("hunter2"),
        "{text}"
    );
}

const KEY: &str = "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const OTHER: &str = "k1:AQECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const NEXT: &str = "k2:AQECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

#[tokio::test]
async fn what_is_sealed_is_shown_to_who_has_the_key() {
    let fleet = Fleet::start_with(Server::start(), &[("CACHE_KEYS", KEY)], &FRESH).await;
    // One that is longer than what is read of it at first.
    let path = format!("/{}", "x".repeat(3000));
    for path in [PATH, &path] {
        fleet.warm(A, path).await;
    }
    fleet.has_stored(2).await;
    let with = |keys: &str, url: &str| -> Ended {
        let mut command = fleet.command(&["inspect", "-o", "json", url]);
        run(command.env("CACHE_KEYS", keys)).ok()
    };
    for url in [PATH, &path] {
        let said = with(&format!("{NEXT},{KEY}"), url).json();
        let entry = &said["entries"][0];
        assert_eq!((&entry["sealed_by"], &entry["state"]), (&json!("k1"), &json!("fresh")), "{said}");
        assert_eq!((&entry["found_by"], &said["scan"]["unreadable"]), (&json!("scan"), &json!(0)), "{said}");
    }
    for keys in ["none", NEXT, OTHER] {
        let ended = with(keys, URL);
        let said = ended.json();
        let entry = &said["entries"][0];
        assert_eq!((&entry["state"], &entry["sealed_by"]), (&json!("unreadable"), &json!("k1")), "{said}");
        assert_eq!((&said["scan"]["unreadable"], &entry["response"]), (&json!(2), &json!(null)), "{keys}: {said}");
        assert!(entry["unreadable"].as_str().unwrap().contains("seal"), "{said}");
    }
}

#[tokio::test]
async fn without_a_url_it_shows_the_namespace() {
    let password = "hunter2";
    let server = Server::with_password(password);
    let mut url = server.url().replace("redis://", "redis://:hunter2@");
    url.push_str("/0");
    let fleet = Fleet::start_with(server, &[("REDIS_URL", &url), ("CACHE_NAMESPACE", "shop")], &FRESH).await;
    for path in ["/1", "/2", "/3"] {
        fleet.warm(A, path).await;
    }
    fleet.has_stored(3).await;
    fleet.run(&["purge", "--tag", "a", "--tag", "b"]).ok();
    for (name, life) in fleet.entries().iter().zip(["1000", "2000", "3000"]) {
        fleet.redis.command(&["EXPIRE", name, life]);
    }
    let before = fleet.names("*");
    let ended = fleet.run(&["inspect", "-o", "json"]).ok();
    let said = ended.json();
    let expected = json!({ "about": 3, "exact": true, "unreadable": 0 });
    assert_eq!((&said["namespace"], &said["entries"]), (&json!("shop"), &expected), "{said}");
    assert_eq!((&said["position"], &said["markers"], &said["floor"]), (&json!(2), &json!(2), &json!(0)), "{said}");
    assert_eq!((&said["listeners"], &said["changes"]), (&json!(2), &json!(0)), "{said}");
    assert_eq!(
        (&said["server"]["version"], &said["server"]["maxmemory_policy"]),
        (&json!("7.0"), &json!("noeviction"))
    );
    assert!(said["server"]["used_memory"].as_u64() > Some(100_000) && said["epoch"].as_str().unwrap().len() == 56);
    assert_eq!(said["warnings"], json!([]));
    assert_eq!(fleet.names("*"), before, "it leaves no mark");
    let lives = &said["expires_in"];
    for (percentile, life) in [("p10", 1000.0), ("p50", 2000.0), ("p90", 3000.0)] {
        let gone = life - lives[percentile].as_f64().unwrap();
        assert!((0.0..120.0).contains(&gone), "{percentile}: {lives}");
    }
    assert_eq!(lives["entries"], 3, "{lives}");
    let text = text(&fleet, &[]);
    assert!(text.contains("entries    3\n") && text.contains("listeners  2\n"), "{text}");
    assert!(text.contains("\nexpire in  1") && text.contains(" (P90), of 3 entries\n"), "{text}");
    assert!(!format!("{ended:?}{text}").contains(password));
    // Among many other keys, so many are looked at and no more.
    fleet.redis.command(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    fleet.redis.command(&["EVAL", "for i = 1, 5000 do redis.call('SET', 'other:' .. i, i) end", "0"]);
    let said = fleet.run(&["inspect", "-o", "json", "--max-keys", "1000"]).ok().json();
    assert_eq!(said["scan"], json!({ "keys": 1000, "complete": false }), "{said}");
    assert_eq!(said["entries"]["exact"], false);
    assert!(said["entries"]["about"].as_u64() <= Some(15), "{said}");
    assert!(said["warnings"][0].as_str().unwrap().contains("volatile-lru"), "{said}");
    let said = fleet.run(&["inspect", "-o", "json", "--max-keys", "0"]).ok().json();
    assert_eq!(said["expires_in"], json!({ "p10": null, "p50": null, "p90": null, "entries": 0 }), "{said}");
}

#[test]
fn without_redis_or_a_right_it_fails_and_says_which() {
    let mut server = Server::start();
    let inspect = |url: &str, arguments: &[&str]| {
        let mut command = terrace();
        run(command.envs(PATIENT).env("REDIS_URL", url).args(["inspect", "--timeout", "60s"]).args(arguments))
    };
    inspect(&server.url(), &["shop"]).failed(2, &["a path that begins with a slash"]);
    inspect(&server.url(), &["-H", "a: b"]).failed(2, &["<URL>"]);
    server.command(&["ACL", "SETUSER", "op", "on", ">hunter2", "~*", "&*", "+@all", "-scan"]);
    let url = server.url().replace("redis://", "redis://op:hunter2@");
    inspect(&url, &[]).failed(1, &["does not permit a command"]);
    inspect(&url, &["--max-keys", "0", "http://a.example/"]).ok();
    server.kill();
    for arguments in [&[][..], &["http://a.example/"], &["/x"]] {
        let ended = inspect(&url, arguments).failed(1, &["Redis at 127.0.0.1:", "refused"]);
        assert!(!ended.err.contains("hunter2") && ended.out.is_empty(), "{ended:?}");
    }
}

#[tokio::test]
async fn in_a_cluster_the_entries_of_all_nodes_are_found() {
    let mut nodes: Vec<Server> = (0..3).map(|_| Server::cluster_node()).collect();
    terrace_redis_server::form_cluster(&mut nodes);
    let places: Vec<String> = nodes.iter().map(|node| format!("127.0.0.1:{}", node.port())).collect();
    let places = places.join(",");
    let variables: Vec<_> = PATIENT.into_iter().chain([("REDIS_CLUSTER_NODES", places.as_str())]).collect();
    let origin = varying().await;
    let proxy = Proxy::start_with(&format!("http://{}", origin.address), &["--access-log", "off"], &variables);
    let command = |arguments: &[&str]| {
        let mut command = terrace();
        run(command.envs(variables.iter().copied()).args(arguments).args(["--timeout", "60s"]))
    };
    let counted = || command(&["inspect", "-o", "json"]).ok().json();
    let mut path = 0;
    within("thirty entries", async {
        while counted()["entries"]["about"].as_u64() < Some(30) {
            for _ in 0..10 {
                path += 1;
                ask(&proxy, &format!("/accept?{path}"), "Accept: text/plain").await;
            }
        }
    })
    .await;
    let with_some = nodes.iter().filter(|node| matches!(node.command(&["DBSIZE"]), redis::Value::Int(3..))).count();
    assert_eq!(with_some, 3, "they are spread");
    let said = counted();
    assert_eq!((&said["entries"]["exact"], &said["listeners"]), (&json!(true), &json!(1)), "{said}");
    let listed = command(&["purge", "-o", "json", "--glob", "/accept?*", "--dry-run"]).ok().json();
    assert!(listed["matches"].as_array().unwrap().len() >= 10, "{listed}");
    let one = listed["matches"][0].as_str().unwrap().strip_prefix("http://a.example").unwrap();
    let purged = command(&["purge", "-o", "json", "--glob", one]).ok().json();
    assert_eq!(purged["purges"].as_array().unwrap().len(), 1, "{purged}");
    let said = command(&["inspect", "-o", "json", one]).ok().json();
    assert_eq!(said["entries"][0]["validity"]["verdict"], "invalidated", "{said}");
}
