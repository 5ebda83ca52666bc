//! What holds for every exchange, however strange.

use http::header::{CACHE_CONTROL, ETAG};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use sfv::FieldType as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use terrace_policy::{
    Answer, CacheStatus, Demands, Exchange, Facts, Forward, Plan, Policy, Presented, RequestDirectives,
    ResponseDirectives, Storable, StoredResponse, Timing, Unstorable, Vary, answer, content_language, format_date,
    freshen, invalidates, is_safe, parse_date, plan, preferred_language, selecting_values, selecting_values_in,
    storable, unsatisfied_range,
};

/// The fields that some rule reads.
const NAMES: &[&str] = &[
    "accept-encoding",
    "accept-language",
    "age",
    "authorization",
    "cache-control",
    "cdn-cache-control",
    "connection",
    "content-length",
    "content-location",
    "content-range",
    "cookie",
    "date",
    "etag",
    "expires",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "last-modified",
    "location",
    "range",
    "set-cookie",
    "transfer-encoding",
    "vary",
    "x-other",
];

const WORDS: &[&str] = &[
    "max-age=",
    "s-maxage=",
    "no-cache",
    "public",
    "must-revalidate",
    "must-understand",
    "immutable",
    "private",
    "stale-while-revalidate=",
    "stale-if-error=",
    "max-stale",
    "min-fresh=",
    "only-if-cached",
    "no-store",
    "=",
    "\"",
    ",",
    ", ",
    "0",
    "1",
    "60",
    "3600",
    "99999999999999999999",
    "-",
    "bytes=",
    "bytes ",
    "/",
    "*",
    "W/",
    "\"a\"",
    "gzip",
    ";q=0.5",
    "Sun, 06 Nov 1994 08:49:37 GMT",
    "Sat, 21 Nov 2026 00:00:00 GMT",
    "Saturday, 21-Nov-26 00:00:00 GMT",
    "Sat Nov 21 00:00:00 2026",
    "http://origin.example",
    "../",
    "?",
    "#",
];

/// Any value that a header may have, or one of the words that mean something.
fn value() -> impl Strategy<Value = HeaderValue> {
    let word = select(WORDS).prop_map(|word| word.as_bytes().to_vec());
    let bytes = vec(prop_oneof![Just(b'\t'), 0x20..=0x7e_u8, 0x80..=0xff_u8], 0..4);
    let pieces = vec(prop_oneof![4 => word, 1 => bytes], 0..6);
    pieces.prop_map(|pieces| HeaderValue::from_bytes(&pieces.concat()).expect("a possible value"))
}

fn head() -> impl Strategy<Value = HeaderMap> {
    let line = (select(NAMES), value()).prop_map(|(name, value)| (HeaderName::from_static(name), value));
    vec(line, 0..10).prop_map(|lines| {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(name, value);
        }
        map
    })
}

fn method() -> impl Strategy<Value = Method> {
    let token =
        "[!#$%&'*+.^_`|~0-9A-Za-z-]{1,12}".prop_map(|name| Method::from_bytes(name.as_bytes()).expect("a token"));
    let usual = select(vec![Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS]);
    prop_oneof![3 => Just(Method::GET), 2 => usual, 1 => token]
}

fn status() -> impl Strategy<Value = StatusCode> {
    let usual = select(vec![200, 206, 204, 301, 304, 404, 416, 503]);
    prop_oneof![3 => usual, 1 => 100..1000_u16].prop_map(|code| StatusCode::from_u16(code).expect("three digits"))
}

/// A moment near now, or anywhere a clock can be.
fn moment() -> impl Strategy<Value = SystemTime> {
    let near = (1_795_219_100..1_795_219_300_u64).prop_map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds));
    let after = any::<u32>().prop_map(|seconds| UNIX_EPOCH + Duration::from_secs(u64::from(seconds) * 1000));
    let before = any::<u32>().prop_map(|seconds| UNIX_EPOCH - Duration::from_secs(u64::from(seconds) * 100));
    prop_oneof![8 => near, 1 => after, 1 => before]
}

fn duration() -> impl Strategy<Value = Duration> {
    prop_oneof![
        8 => (0..10_000_u64).prop_map(Duration::from_secs),
        4 => any::<u32>().prop_map(|millis| Duration::from_millis(millis.into())),
        1 => any::<u64>().prop_map(Duration::from_secs),
        1 => Just(Duration::MAX),
    ]
}

prop_compose! {
    fn policy()(
        rfc in any::<bool>(),
        flags in any::<[bool; 7]>(),
        ttl in proptest::option::of(duration()),
        windows in (duration(), duration(), duration()),
        changed in any::<bool>(),
    ) -> Policy {
        let mut policy = if rfc { Policy::rfc9111() } else { Policy::safe() };
        if changed {
            policy.default_ttl = ttl;
            policy.status_ttl = ttl.map(|ttl| (StatusCode::NOT_FOUND, ttl)).into_iter().collect();
            (policy.stale_while_revalidate, policy.stale_if_error, policy.heuristic_max) = windows;
            let [disconnected, forbids, reload, guard, post, lenient, targeted] = flags;
            (policy.stale_when_disconnected, policy.s_maxage_forbids_stale) = (disconnected, forbids);
            (policy.honor_reload, policy.guard_cookies) = (reload, guard);
            (policy.store_post, policy.lenient_partial) = (post, lenient);
            policy.targeted.truncate(usize::from(targeted));
        }
        policy
    }
}

/// An exchange that owns its parts.
#[derive(Clone, Debug)]
struct Trip {
    method: Method,
    target: Uri,
    request: HeaderMap,
    status: StatusCode,
    response: HeaderMap,
    timing: Timing,
    extension: Option<ResponseDirectives>,
    partitioned: bool,
    keyed_by_body: bool,
}

impl Trip {
    fn exchange(&self) -> Exchange<'_> {
        Exchange {
            method: &self.method,
            target: &self.target,
            request: &self.request,
            status: self.status,
            response: &self.response,
            timing: self.timing,
            extension: self.extension.as_ref(),
            partitioned: self.partitioned,
            keyed_by_body: self.keyed_by_body,
        }
    }
}

prop_compose! {
    fn trip()(
        method in method(),
        target in select(vec!["http://origin.example/a/b?c", "https://origin.example:8443/", "/a/b", "*"]),
        request in head(),
        status in status(),
        response in head(),
        received in moment(),
        delay in duration(),
        extension in proptest::option::weighted(0.1, head()),
        partitioned in any::<bool>(),
        keyed_by_body in any::<bool>(),
    ) -> Trip {
        let extension = extension.map(|head| ResponseDirectives::from_cache_control(&head));
        let timing = Timing { received, delay };
        let target = Uri::from_static(target);
        Trip { method, target, request, status, response, timing, extension, partitioned, keyed_by_body }
    }
}

/// An exchange that is usually stored: a fresh 200 to a plain GET with some more fields.
fn storable_trip() -> impl Strategy<Value = Trip> {
    (trip(), select(vec!["max-age=60", "public, max-age=600", "s-maxage=60, stale-while-revalidate=30", "max-age=0"]))
        .prop_map(|(mut trip, lifetime)| {
            (trip.method, trip.status) = (Method::GET, StatusCode::OK);
            trip.request.remove(CACHE_CONTROL);
            trip.response.insert(CACHE_CONTROL, HeaderValue::from_static(lifetime));
            trip.response.insert(ETAG, HeaderValue::from_static("\"a\""));
            trip
        })
}

fn stored(trip: &Trip, policy: &Policy, len: u64) -> Option<StoredResponse> {
    storable(&trip.exchange(), policy).and_then(|storable| storable.received(len)).ok()
}

fn presented<'a>(method: &'a Method, headers: &'a HeaderMap, resident: Duration) -> Presented<'a> {
    Presented { method, headers, resident, expired: false, collapsed: false, partitioned: false }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn nothing_panics(
        trips in (trip(), storable_trip()),
        policy in policy(),
        later in trip(),
        times in (duration(), any::<u64>(), any::<f64>()),
        flags in any::<(bool, bool, bool)>(),
    ) {
        let (resident, len, share) = times;
        for trip in [trips.0, trips.1] {
            let _ = (invalidates(&trip.method, &trip.target, trip.status, &trip.response), is_safe(&trip.method));
            let _ = (Vary::of(&trip.response), Demands::of(&trip.request).origin_conditions(), unsatisfied_range(len));
            let Ok(judged) = storable(&trip.exchange(), &policy) else { continue };
            let _ = selecting_values(judged.vary(), &later.request);
            if let Some(language) = preferred_language(&later.request) {
                let _ = selecting_values_in(judged.vary(), &later.request, &language);
            }
            let _ = content_language(judged.vary(), &trip.response);
            for len in [0, 1, 10, len] {
                let Ok(mut stored) = judged.clone().received(len) else { continue };
                stored.shorten(share);
                let presented = Presented {
                    method: &later.method,
                    headers: &later.request,
                    resident,
                    expired: flags.0,
                    collapsed: flags.1,
                    partitioned: false,
                };
                let _ = (plan(&stored, &presented, &policy), stored.freshness().may_serve_on_error(resident, flags.0));
                if let Some(Answer::Partial(slices)) = answer(&stored, &presented) {
                    for slice in slices {
                        let _ = (slice.within(len), slice.within(u64::MAX), slice.range.content_range(Some(len)));
                    }
                }
                let _ = (stored.validated_by(&later.response), stored.described_by(&later.response));
                let _ = freshen(&stored, &later.exchange(), flags.2, &policy);
                let freshness = stored.freshness();
                let _ = CacheStatus::hit(freshness.remaining(resident), freshness.staleness(resident)).to_value();
            }
        }
    }

    /// Facts that were read somewhere else later decide as if they had been kept here.
    #[test]
    fn facts_survive_as_bytes_and_age(trip in storable_trip(), policy in policy(), ago in duration(), len in 0..100_u64) {
        let Ok(judged) = storable(&trip.exchange(), &policy) else { return Ok(()) };
        let Ok(stored) = judged.received(len) else { return Ok(()) };
        let (facts, headers) = stored.clone().into_parts();
        let mut bytes = Vec::new();
        facts.encode(&mut bytes);
        let bytes: [u8; Facts::ENCODED_LEN] = bytes.try_into().unwrap();
        let read = Facts::decode(&bytes, ago).unwrap();
        prop_assert_eq!(read.complete_len(), facts.complete_len());
        prop_assert_eq!(read.freshness().is_fresh(Duration::ZERO), facts.freshness().is_fresh(ago));
        let there = StoredResponse::from_parts(Facts::decode(&bytes, Duration::ZERO).unwrap(), headers);
        prop_assert_eq!(format!("{there:?}"), format!("{stored:?}"));
    }

    #[test]
    fn whatever_bytes_are_taken_for_facts_nothing_panics(
        front in any::<[u8; 32]>(), back in any::<[u8; 32]>(), status in 100..=999_u16, ago in duration(), policy in policy(),
    ) {
        let mut bytes = [0; Facts::ENCODED_LEN];
        bytes[2..34].copy_from_slice(&front);
        let at = bytes.len() - back.len();
        bytes[at..].copy_from_slice(&back);
        bytes[..2].copy_from_slice(&status.to_be_bytes());
        // Which mean something, so that more is read than the first of them.
        bytes[30..34].iter_mut().for_each(|byte| *byte %= 8);
        let Some(facts) = Facts::decode(&bytes, ago) else { return Ok(()) };
        let stored = StoredResponse::from_parts(facts, HeaderMap::new());
        let mut request = HeaderMap::new();
        request.insert("range", HeaderValue::from_static("bytes=0-1,-5"));
        let _ = plan(&stored, &presented(&Method::GET, &request, ago), &policy);
        let _ = (stored.combine(&stored), stored.representation_len());
    }

    /// Whatever stands around it, in whatever case, on whatever line.
    #[test]
    fn what_no_store_or_private_forbids_is_never_stored(
        mut trip in storable_trip(),
        policy in policy(),
        word in select(vec!["no-store", "private", "no-store=1", "no-store=\"x\"", "private=", "private=\"\""]),
        capitals in any::<u32>(),
        neighbours in vec("[A-Za-z][A-Za-z-]{0,20}(=([A-Za-z0-9-]{1,8}|\"[A-Za-z0-9 ,=;-]{0,12}\"))?", 0..6),
        at in any::<Index>(),
        split in any::<Index>(),
        blanks in select(vec!["", " ", "\t", "  "]),
    ) {
        let cased: String = word
            .chars()
            .enumerate()
            .map(|(at, letter)| if capitals >> (at % 32) & 1 == 1 { letter.to_ascii_uppercase() } else { letter })
            .collect();
        let mut members = neighbours;
        // Understood, it would lift no-store (section 5.2.2.3).
        members.retain(|member| !member.to_ascii_lowercase().starts_with("must-understand"));
        members.insert(at.index(members.len() + 1), cased);
        trip.response.remove(CACHE_CONTROL);
        let (first, second) = members.split_at(split.index(members.len() + 1));
        for line in [first, second] {
            let line = line.join(&format!("{blanks},{blanks}"));
            trip.response.append(CACHE_CONTROL, HeaderValue::from_str(&line).expect("visible ASCII"));
        }
        trip.response.remove("cdn-cache-control");
        trip.extension = None;
        prop_assert!(storable(&trip.exchange(), &policy).is_err(), "{:?}", trip.response);
    }

    /// Neither is what the request forbade.
    #[test]
    fn a_request_with_no_store_leaves_nothing_behind(mut trip in storable_trip(), policy in policy(), other in value()) {
        trip.request.append(CACHE_CONTROL, HeaderValue::from_static("No-Store"));
        trip.request.append(CACHE_CONTROL, other);
        prop_assert!(matches!(storable(&trip.exchange(), &policy), Err(Unstorable::NoStore | Unstorable::Status)));
    }

    #[test]
    fn freshness_never_grows_with_age(
        trip in storable_trip(),
        policy in policy(),
        asked in head(),
        mut times in vec(duration(), 2..6),
        flags in any::<(bool, bool)>(),
    ) {
        let Some(stored) = stored(&trip, &policy, 10) else { return Ok(()) };
        let tolerant = RequestDirectives::from_cache_control(&asked).max_stale.is_some();
        let (mut served, mut answered, mut before) = (true, true, Duration::MAX);
        times.sort_unstable();
        for resident in times {
            let freshness = stored.freshness();
            let remaining = freshness.remaining(resident);
            prop_assert!(remaining <= before);
            prop_assert_eq!(freshness.is_fresh(resident), !remaining.is_zero());
            prop_assert!(remaining.is_zero() || freshness.staleness(resident).is_zero());
            let presented = Presented { expired: flags.0, collapsed: flags.1, ..presented(&Method::GET, &asked, resident) };
            let plan = plan(&stored, &presented, &policy);
            let serves = matches!(plan, Plan::Serve(_));
            let answers = serves || matches!(plan, Plan::ServeWhileRevalidating(_));
            prop_assert!(answered || !answers, "{:?} after the origin had to be asked", plan);
            // A client that tolerates any staleness is also served beyond the window to validate in.
            prop_assert!(served || !serves || tolerant, "{:?} after it was stale", plan);
            (served, answered, before) = (serves, answers, remaining);
        }
    }

    #[test]
    fn the_same_is_stored_twice(trip in storable_trip(), policy in policy()) {
        let Some(once) = stored(&trip, &policy, 10) else { return Ok(()) };
        // Storing again what was stored (a second cache behind this one) changes no lifetime and no field.
        let again = Trip { response: once.headers().clone(), ..trip };
        let twice = stored(&again, &policy, 10);
        prop_assert_eq!(twice.as_ref().map(StoredResponse::headers), Some(once.headers()));
    }

    #[test]
    fn dates_are_printed_and_read_stably(seconds in 0..253_402_300_800_u64, nanos in 0..1_000_000_000_u32, now in moment()) {
        let time = UNIX_EPOCH + Duration::new(seconds, nanos);
        let text = format_date(time);
        let read = parse_date(&text, now);
        prop_assert_eq!(read, Some(UNIX_EPOCH + Duration::from_secs(seconds)));
        prop_assert_eq!(read.map(format_date), Some(text));
    }

    #[test]
    fn dates_in_other_formats_are_printed_as_imf_fixdates(text in value(), now in moment()) {
        if let Some(time) = parse_date(&text, now) {
            let printed = format_date(time);
            prop_assert_eq!(printed.len(), 29);
            prop_assert_eq!(parse_date(&printed, now), Some(time));
        }
    }

    #[test]
    fn cache_status_is_a_list_of_one_token_with_parameters(
        hit in any::<bool>(),
        reason in select(vec![
            Forward::Bypass, Forward::Method, Forward::UriMiss, Forward::VaryMiss,
            Forward::Miss, Forward::Request, Forward::Stale, Forward::Partial,
        ]),
        times in (duration(), duration()),
        ttl in proptest::option::of(any::<i64>()),
        code in proptest::option::of(status()),
        detail in proptest::option::of(select(vec!["degraded", "breaker-open", "x/y:z"])),
        flags in any::<(bool, bool)>(),
    ) {
        let mut status = if hit { CacheStatus::hit(times.0, times.1) } else { CacheStatus::forwarded(reason) };
        (status.stored, status.collapsed, status.forward_status, status.detail) = (flags.0, flags.1, code, detail);
        status.ttl = ttl.or(status.ttl);
        let value = status.to_value();
        let list: sfv::List = sfv::Parser::new(value.as_bytes()).parse().expect("a structured field");
        let [sfv::ListEntry::Item(item)] = list.as_slice() else { panic!("one member: {value:?}") };
        prop_assert_eq!(item.bare_item.as_token().map(sfv::TokenRef::as_str), Some("terrace"));
        let integer = |key: &str| item.params.get(sfv::KeyRef::from_str(key).expect("a key"))?.as_integer().map(i64::from);
        prop_assert_eq!(integer("ttl"), status.ttl.map(|ttl| ttl.clamp(-999_999_999_999_999, 999_999_999_999_999)));
        prop_assert_eq!(integer("fwd-status"), code.map(|code| code.as_u16().into()));
        let printed = list.serialize().expect("not empty");
        prop_assert_eq!(printed.replace(';', "; "), value.to_str().expect("ASCII"));
    }

    /// Ranges are printed as they are read.
    #[test]
    fn content_range_is_printed_and_read_stably(first in 0..1_000_000_u64, len in 1..1_000_000_u64, more in 1..1000_u64) {
        let policy = Policy::safe();
        let complete = first + len + more;
        let text = format!("bytes {first}-{}/{complete}", first + len - 1);
        let stored = part(&text, len, &policy).expect("storable");
        let mut asked = HeaderMap::new();
        asked.insert("range", format!("bytes={first}-{}", first + len - 1).parse().expect("a value"));
        let Some(Answer::Partial(slices)) = answer(&stored, &presented(&Method::GET, &asked, Duration::ZERO)) else {
            panic!("all of the part was asked for")
        };
        prop_assert_eq!(slices[0].range.content_range(stored.representation_len()), text);
        prop_assert_eq!(slices[0].range.len(), len);
    }

    /// A field nobody knows: its list is compared, member by member.
    #[test]
    fn selecting_values_are_equal_exactly_if_the_lists_are(
        a in vec(vec("[ -!#-+.-~]{0,6}|\"[ -!#-\\[\\]-~]{0,6}\"", 1..4), 0..3),
        b in vec(vec("[ -!#-+.-~]{0,6}|\"[ -!#-\\[\\]-~]{0,6}\"", 1..4), 0..3),
    ) {
        let field = HeaderName::from_static("x-other");
        let request = |lines: &[Vec<String>]| {
            let mut map = HeaderMap::new();
            for line in lines {
                map.append(field.clone(), HeaderValue::from_str(&line.join(" , ")).expect("visible ASCII"));
            }
            map
        };
        let list = |lines: &[Vec<String>]| {
            lines.iter().flatten().map(|member| member.trim().to_owned()).collect::<Vec<_>>()
        };
        let values = |lines: &[Vec<String>]| selecting_values(std::slice::from_ref(&field), &request(lines));
        let equal = list(&a) == list(&b) && a.is_empty() == b.is_empty();
        prop_assert_eq!(values(&a) == values(&b), equal, "{:?} {:?}", a, b);
        // However the members are spread over lines.
        let joined: Vec<Vec<String>> = if a.is_empty() { Vec::new() } else { vec![a.concat()] };
        prop_assert_eq!(values(&a), values(&joined));
    }

    /// Requests that differ in a selecting field by more than white space never match.
    #[test]
    fn a_change_of_any_selecting_field_changes_the_values(
        mut request in head(),
        which in any::<Index>(),
        new in "[!#-+.-:<-~]{1,12}",
    ) {
        let fields: Vec<_> = ["accept-encoding", "accept-language", "authorization", "cookie", "x-other"].map(HeaderName::from_static).into();
        let before = selecting_values(&fields, &request);
        prop_assert_eq!(&before, &selecting_values(&fields, &request.clone()));
        let field = &fields[which.index(fields.len())];
        let old: Vec<u8> = request.get_all(field).iter().flat_map(|line| line.as_bytes().to_ascii_lowercase()).collect();
        let old: Vec<_> = old.into_iter().filter(|byte| !byte.is_ascii_whitespace()).collect();
        prop_assume!(old != new.to_ascii_lowercase().as_bytes());
        // Several members may be one and the same thing ("gzip, gzip"); a single new one is none of them.
        prop_assume!(!old.contains(&b','));
        prop_assume!(!old.contains(&b';'));
        request.insert(field.clone(), HeaderValue::from_str(&new).expect("visible ASCII"));
        prop_assert_ne!(before, selecting_values(&fields, &request));
    }

    /// However a body is cut in two, put together it is that body.
    #[test]
    fn combined_parts_are_the_original_bytes(
        body in vec(any::<u8>(), 1..64),
        cuts in any::<[Index; 4]>(),
        swapped in any::<bool>(),
        known in any::<bool>(),
    ) {
        let policy = Policy::safe();
        let cut = |first: Index, second: Index| {
            let (a, b) = (first.index(body.len()), second.index(body.len()));
            a.min(b)..a.max(b) + 1
        };
        let (mut earlier, mut newer) = (cut(cuts[0], cuts[1]), cut(cuts[2], cuts[3]));
        if swapped {
            std::mem::swap(&mut earlier, &mut newer);
        }
        let length = if known { body.len().to_string() } else { "*".to_owned() };
        let of = |range: &std::ops::Range<usize>| {
            part(&format!("bytes {}-{}/{length}", range.start, range.end - 1), range.len() as u64, &policy).expect("storable")
        };
        let (a, b) = (of(&earlier), of(&newer));
        let apart = earlier.end < newer.start || newer.end < earlier.start;
        let whole = [&a, &b].into_iter().any(|part| part.complete_len().is_some());
        let Some(combined) = a.combine(&b) else {
            prop_assert!(apart || whole);
            return Ok(());
        };
        prop_assert!(!apart);
        let content = &body[earlier.clone()];
        let before = usize::try_from(combined.before).expect("small");
        let until = usize::try_from(combined.until).expect("small");
        let together = [&content[..before], &body[newer.clone()], &content[until..]].concat();
        let union = earlier.start.min(newer.start)..earlier.end.max(newer.end);
        prop_assert_eq!(&together, &body[union.clone()]);
        let complete = known && union == (0..body.len());
        prop_assert_eq!(combined.stored.complete_len(), complete.then_some(body.len() as u64));
    }

    /// Every byte of a 206 is one that was asked for, and none is missing or sent twice.
    #[test]
    fn slices_are_the_bytes_that_were_asked_for(
        len in 0..60_u64,
        ranges in vec((any::<Index>(), proptest::option::of(0..70_u64)), 1..10),
        suffix in proptest::option::of(0..70_u64),
    ) {
        let mut asked: Vec<_> = ranges.iter().map(|(first, count)| (first.index(70) as u64, *count)).collect();
        for (first, count) in &mut asked {
            *count = count.map(|count| *first + count);
        }
        let mut members: Vec<_> = asked
            .iter()
            .map(|(first, last)| last.map_or_else(|| format!("{first}-"), |last| format!("{first}-{last}")))
            .collect();
        members.extend(suffix.map(|count| format!("-{count}")));
        let wanted = |at: u64| {
            asked.iter().any(|(first, last)| *first <= at && last.is_none_or(|last| at <= last))
                || suffix.is_some_and(|count| at + count >= len)
        };
        let mut request = HeaderMap::new();
        request.insert("range", format!("bytes={}", members.join(",")).parse().expect("a value"));
        let mut head = HeaderMap::new();
        head.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=60"));
        let stored = judged(StatusCode::OK, &head, &Policy::safe()).and_then(|head| head.received(len)).expect("storable");
        match answer(&stored, &presented(&Method::GET, &request, Duration::ZERO)) {
            Some(Answer::Unsatisfiable) => prop_assert!((0..len).all(|at| !wanted(at))),
            Some(Answer::Partial(slices)) => {
                let mut sent = vec![0; usize::try_from(len).expect("small")];
                for slice in slices {
                    let (cut, bytes) = slice.within(len).expect("it is there");
                    prop_assert_eq!(cut, slice);
                    bytes.for_each(|at| sent[at] += 1);
                }
                let expected: Vec<_> = (0..len).map(|at| i32::from(wanted(at))).collect();
                prop_assert_eq!(sent, expected);
            }
            other => panic!("{other:?}"),
        }
    }
}

fn judged(status: StatusCode, response: &HeaderMap, policy: &Policy) -> Result<Storable, Unstorable> {
    let timing = Timing { received: UNIX_EPOCH + Duration::from_secs(1_795_219_200), delay: Duration::ZERO };
    let (request, target) = (HeaderMap::new(), Uri::from_static("/"));
    let exchange = Exchange {
        method: &Method::GET,
        target: &target,
        request: &request,
        status,
        response,
        timing,
        extension: None,
        partitioned: false,
        keyed_by_body: false,
    };
    storable(&exchange, policy)
}

/// A stored part under a strong validator.
fn part(content_range: &str, len: u64, policy: &Policy) -> Option<StoredResponse> {
    let mut head = HeaderMap::new();
    head.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=60"));
    head.insert(ETAG, HeaderValue::from_static("\"a\""));
    head.insert("content-range", HeaderValue::from_str(content_range).expect("a value"));
    judged(StatusCode::PARTIAL_CONTENT, &head, policy).and_then(|head| head.received(len)).ok()
}
