//! Parts of representations.

use super::*;

const DIGITS: &str = "0123456789";

fn digits() -> World {
    let fields = &[("cache-control", "max-age=60"), ("etag", "\"strong\""), ("content-type", "text/plain")];
    World::new(Rules::new(), Origin::answering(move |_| text(fields, DIGITS)))
}

#[tokio::test]
async fn ranges_are_served_from_a_complete_response() {
    for (_, rules) in sets() {
        let mut world = digits();
        world.service = CacheLayer::new(world.store.clone()).rules(rules).layer(world.origin.clone());
        world.get("/").await;
        let table: [(&str, u16, &str, &str); 9] = [
            ("bytes=0-3", 206, "0123", "bytes 0-3/10"),
            ("bytes=4-", 206, "456789", "bytes 4-9/10"),
            ("bytes=-3", 206, "789", "bytes 7-9/10"),
            ("bytes=8-100", 206, "89", "bytes 8-9/10"),
            ("bytes=-100", 206, DIGITS, "bytes 0-9/10"),
            ("bytes=10-", 416, "", "bytes */10"),
            ("bytes=3-1", 200, DIGITS, ""),
            ("lines=0-3", 200, DIGITS, ""),
            ("bytes=a-b", 200, DIGITS, ""),
        ];
        for (range, status, content, content_range) in table {
            let answer = world.ask(get_with("/", &[("range", range)])).await;
            assert_eq!(answer.status.as_u16(), status, "{range}");
            assert_eq!((answer.text(), answer.field("content-range").as_str()), (content, content_range), "{range}");
            if status == 206 {
                assert_eq!(answer.field("content-length"), content.len().to_string());
            }
            assert!(answer.is_hit(), "{range}");
        }
        let head = world.ask(ask(Method::HEAD, "/", &[("range", "bytes=0-3")])).await;
        assert_eq!((head.status.as_u16(), head.text()), (200, ""));
        assert_eq!(world.origin.calls(), 1);
    }
}

#[tokio::test]
async fn if_range_serves_a_part_only_of_the_same_representation() {
    let world = digits();
    world.get("/").await;
    for (validator, status) in [("\"strong\"", 206), ("\"other\"", 200), ("W/\"strong\"", 200), (date(0), 200)] {
        let answer = world.ask(get_with("/", &[("range", "bytes=0-3"), ("if-range", validator)])).await;
        assert_eq!(answer.status.as_u16(), status, "{validator}");
    }
    let both = world.ask(get_with("/", &[("range", "bytes=0-3"), ("if-none-match", "\"strong\"")])).await;
    assert_eq!(both.status, 304);
}

/// The parts of a `multipart/byteranges` (RFC 2046 section 5.1.1): their fields and content.
fn parts(answer: &Answer) -> Vec<(HashMap<String, String>, String)> {
    let kind = answer.field("content-type");
    let boundary = kind.strip_prefix("multipart/byteranges; boundary=").expect("a boundary").trim_matches('"');
    assert!(!boundary.is_empty() && boundary.len() <= 70);
    let delimiter = format!("\r\n--{boundary}");
    let framed = format!("\r\n{}", answer.text().trim_start_matches("\r\n"));
    let mut pieces = framed.split(delimiter.as_str());
    assert_eq!(pieces.next(), Some(""), "nothing before the first delimiter");
    let pieces: Vec<_> = pieces.collect();
    let (last, parts) = pieces.split_last().unwrap();
    assert!(last.starts_with("--"), "the close delimiter");
    parts
        .iter()
        .map(|part| {
            let part = part.strip_prefix("\r\n").expect("a line ends the delimiter");
            let (head, content) = part.split_once("\r\n\r\n").expect("a head");
            let fields = head.split("\r\n").map(|line| line.split_once(": ").expect("a field"));
            (fields.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect(), content.to_owned())
        })
        .collect()
}

#[tokio::test]
async fn several_ranges_come_in_one_multipart() {
    let world = digits();
    world.get("/").await;
    let answer = world.ask(get_with("/", &[("range", "bytes=0-1, 4-5, -1")])).await;
    assert_eq!(answer.status, 206);
    assert_eq!(answer.field("content-length"), answer.content.len().to_string());
    assert_eq!(answer.field("content-range"), "");
    let found = parts(&answer);
    let expected = [("bytes 0-1/10", "01"), ("bytes 4-5/10", "45"), ("bytes 9-9/10", "9")];
    assert_eq!(found.len(), expected.len());
    for ((fields, content), (range, bytes)) in found.iter().zip(expected) {
        assert_eq!((fields["content-range"].as_str(), content.as_str()), (range, bytes));
        assert_eq!(fields["content-type"], "text/plain");
    }
    // One that is left over of several is served as one.
    let one = world.ask(get_with("/", &[("range", "bytes=2-3, 50-60")])).await;
    assert_eq!((one.status.as_u16(), one.text(), one.field("content-range").as_str()), (206, "23", "bytes 2-3/10"));
}

#[tokio::test]
async fn many_and_overlapping_ranges_cost_no_more_than_the_content() {
    let world = digits();
    world.get("/").await;
    let many = format!("bytes={}", vec!["0-9"; 500].join(","));
    let answer = world.ask(get_with("/", &[("range", &many)])).await;
    assert!(answer.content.len() <= 10 + 200, "{} bytes for 10", answer.content.len());
}

/// An origin that serves one range of the digits, under these validators in turn.
fn partial(tags: &'static [&'static str]) -> Origin {
    let calls = AtomicUsize::new(0);
    Origin::answering(move |request| {
        let tag = tags[calls.fetch_add(1, SeqCst).min(tags.len() - 1)];
        let fields = [("cache-control", "max-age=60"), ("etag", tag)];
        let Some(range) = request.headers.get("range") else {
            return text(&fields, DIGITS);
        };
        let (first, last) = range.to_str().unwrap().trim_start_matches("bytes=").split_once('-').unwrap();
        let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap_or(9));
        let mut response = respond(206, &fields, full(&DIGITS[first..=last]));
        response.headers_mut().insert("content-range", format!("bytes {first}-{last}/10").parse().unwrap());
        response
    })
}

#[tokio::test]
async fn parts_are_stored_and_put_together_under_one_strong_validator() {
    let world = World::new(Rules::new(), partial(&["\"a\""]));
    let range = async |range: &str| world.ask(get_with("/", &[("range", range)])).await;
    assert_eq!(range("bytes=0-4").await.text(), "01234");
    let inside = range("bytes=1-3").await;
    assert_eq!((inside.text(), inside.is_hit(), inside.field("content-range").as_str()), ("123", true, "bytes 1-3/10"));
    assert_eq!(range("bytes=5-9").await.text(), "56789");
    let whole = world.get("/").await;
    assert_eq!((whole.status.as_u16(), whole.text(), whole.is_hit()), (200, DIGITS, true));
    assert_eq!(world.origin.calls(), 2);
}

#[tokio::test]
async fn parts_of_different_or_weakly_validated_representations_are_never_put_together() {
    for tags in [&["\"a\"", "\"b\""][..], &["W/\"a\"", "W/\"a\""]] {
        let world = World::new(Rules::new(), partial(tags));
        world.ask(get_with("/", &[("range", "bytes=0-4")])).await;
        world.ask(get_with("/", &[("range", "bytes=5-9")])).await;
        let whole = world.get("/").await;
        assert_eq!((whole.status.as_u16(), whole.is_hit()), (200, false), "{tags:?}");
        assert_eq!(whole.text(), DIGITS);
    }
}

#[tokio::test]
async fn a_stored_part_never_answers_a_request_for_the_whole() {
    let world = World::new(Rules::new(), partial(&["\"a\""]));
    world.ask(get_with("/", &[("range", "bytes=0-4")])).await;
    let whole = world.get("/").await;
    assert_eq!((whole.status.as_u16(), whole.text(), whole.is_hit()), (200, DIGITS, false));
    assert!(world.get("/").await.is_hit());
}
