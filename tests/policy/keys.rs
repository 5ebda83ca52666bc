//! What requests have in common.

use super::*;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct KeyParts {
    scheme: &'static str,
    host: String,
    path: String,
    query: Option<String>,
    version: String,
    partition: Option<String>,
    extra: Option<String>,
}

fn key_parts() -> impl Strategy<Value = KeyParts> {
    // Short and of few letters, so that parts are often equal and often run into each other.
    let word = || proptest::string::string_regex("[a/.-]{0,3}").unwrap();
    let host = proptest::string::string_regex("[ab]{1,2}").unwrap();
    let path = proptest::string::string_regex("[ab/]{0,3}").unwrap();
    let query = proptest::option::of(proptest::string::string_regex("[ab=&]{1,3}").unwrap());
    let maybe = || proptest::option::of(word());
    (prop_oneof![Just("http"), Just("https")], host, path, query, word(), maybe(), maybe()).prop_map(
        |(scheme, host, path, query, version, partition, extra)| KeyParts {
            scheme,
            host,
            path: format!("/{path}"),
            query,
            version,
            partition,
            extra,
        },
    )
}

impl KeyParts {
    fn request(&self) -> Request<Body> {
        let query = self.query.as_ref().map_or_else(String::new, |query| format!("?{query}"));
        let mut request = get(&format!("{}://{}{}{query}", self.scheme, self.host, self.path));
        if let Some(partition) = &self.partition {
            request.extensions_mut().insert(Partition::new(partition.as_str()));
        }
        let extra = self.extra.clone();
        request.extensions_mut().insert(Rules::new().version(self.version.clone()).key_with(move |_| extra.clone()));
        request
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn two_requests_share_an_answer_exactly_if_every_part_of_their_keys_is_the_same(
        requests in proptest::collection::vec(key_parts(), 1..80)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let world = World::counting(Rules::new(), &[("cache-control", "max-age=60")]);
            let mut answers: HashMap<KeyParts, String> = HashMap::new();
            for parts in requests {
                let answer = world.ask(parts.request()).await;
                assert_eq!(answer.is_hit(), answers.contains_key(&parts), "{parts:?}: {answer:?}");
                let known = answers.entry(parts).or_insert_with(|| answer.text().to_owned());
                assert_eq!(known, answer.text());
            }
        });
    }

    #[test]
    fn an_unchanged_body_always_hits_and_a_changed_one_never_does(
        bodies in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..6), 1..60)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let (_, service) = questions(Rules::new().default_ttl(secs(60)), &BodyDigestLayer::new(), Origin::counting(&[]));
            let mut answers: HashMap<Vec<u8>, String> = HashMap::new();
            for body in bodies {
                let answer = call(&service, post("/", body.clone())).await;
                assert_eq!(answer.is_hit(), answers.contains_key(&body));
                let known = answers.entry(body).or_insert_with(|| answer.text().to_owned());
                assert_eq!(known, answer.text());
            }
        });
    }
}

#[tokio::test]
async fn a_host_is_the_same_in_any_case_and_in_the_uri_or_the_field() {
    let world = World::counting(Rules::new(), &[("cache-control", "max-age=60")]);
    world.get("/").await;
    for same in [get("http://example.com/"), get("http://EXAMPLE.com/"), ask(Method::HEAD, "/", &[])] {
        assert!(world.ask(same).await.is_hit());
    }
    let other = [get("http://example.org/"), get("https://example.com/"), get("http://example.com:8080/")];
    for other in other {
        assert!(!world.ask(other).await.is_hit());
    }
    let mut two_hosts = get("/");
    two_hosts.headers_mut().append("host", "example.com".parse().unwrap());
    assert!(!world.ask(two_hosts).await.is_hit(), "which of two hosts is meant is not for a cache to guess");
}

#[tokio::test]
async fn queries_count_as_the_rules_say() {
    let named = || ["utm", "ref"];
    let table: [(Query, &[(&str, bool)]); 4] = [
        (Query::Exact, &[("?a=1&b=2", true), ("?b=2&a=1", false), ("?a=1&b=2&", false), ("?a=1&b=2&utm=x", false)]),
        (
            Query::Sorted,
            &[
                ("?b=2&a=1", true),
                ("?a=1&b=2&", true),
                ("?b=2&a=2", false),
                ("?a=1&b=2&b=3", false),
                ("?A=1&b=2", false),
            ],
        ),
        (
            Query::without(named()),
            &[("?utm=1&b=2&ref=&a=1", true), ("?a=1&b=2&utm", true), ("?a=1&b=2&utm2=1", false), ("?a=1", false)],
        ),
        (Query::only(["a"]), &[("?a=1", true), ("?c=9&a=1", true), ("?a=2", false), ("?b=2", false), ("", false)]),
    ];
    for (query, cases) in table {
        let world = World::counting(Rules::new().query(query.clone()), &[("cache-control", "max-age=60")]);
        world.get("/?a=1&b=2").await;
        for (other, same) in cases {
            let answer = world.ask(get_with(&format!("/{other}"), &[("cache-control", "only-if-cached")])).await;
            assert_eq!(answer.is_hit(), *same, "{query:?} {other}");
        }
    }
    // Parameters of one name keep their order.
    let world = World::counting(Rules::new().query(Query::Sorted), &[("cache-control", "max-age=60")]);
    assert_ne!(world.get("/?x=1&x=2").await.text(), world.get("/?x=2&x=1").await.text());
}

#[tokio::test]
async fn a_get_with_content_is_not_cached() {
    for field in [("content-length", "3"), ("transfer-encoding", "chunked")] {
        let world = World::counting(Rules::new(), &[("cache-control", "max-age=60")]);
        assert!(!world.stores(|| get_with("/", &[field])).await);
    }
}

#[tokio::test]
async fn a_key_over_the_limit_is_not_cached() {
    let world = World::counting(Rules::new(), &[("cache-control", "max-age=60")]);
    let (short, long) = (format!("/{}", "x".repeat(3900)), format!("/{}", "x".repeat(4097)));
    assert!(world.stores(|| get(&short)).await);
    assert!(!world.stores(|| get(&long)).await);
    let world = World::counting(Rules::new().key_with(|_| Some("x".repeat(5000))), &[("cache-control", "max-age=60")]);
    assert!(!world.stores(|| get("/")).await);
    assert!(!world.stores(|| in_partition(&"x".repeat(5000), get("/"))).await);
}
