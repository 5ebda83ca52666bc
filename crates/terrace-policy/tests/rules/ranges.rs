//! Ranges and partial responses (RFC 9110 section 14, RFC 9111 sections 3.3 and 3.4).

use crate::support::{Lines, Trip, asking, get, headers, policies, secs};
use http::Method;
use terrace_policy::{Answer, Forward, Plan, Policy, Slice, StoredResponse, answer, unsatisfied_range};

/// A stored part of a representation with a strong validator.
fn part(content_range: &str, len: u64, policy: &Policy) -> StoredResponse {
    let trip = Trip::new(&[("cache-control", "max-age=60"), ("etag", "\"a\""), ("content-range", content_range)]);
    trip.status(206).store(policy, len)
}

#[test]
fn a_range_before_the_stored_part_goes_to_the_origin() {
    let stored = part("bytes 4-9/10", 6, &Policy::safe());
    for range in ["bytes=0-4", "bytes=0-9", "bytes=3-", "bytes=-7", "bytes=0-0"] {
        let plan = get(&stored, &[("range", range)], 0, &Policy::safe());
        assert_eq!(plan, Plan::Forward(Forward::Partial), "{range}");
    }
    let plan = get(&stored, &[("range", "bytes=4-9")], 0, &Policy::safe());
    assert!(matches!(plan, Plan::Serve(Answer::Partial(_))));
}

#[test]
fn content_that_is_not_as_long_as_its_range_is_never_combined() {
    let policy = Policy::rfc9111();
    let (short, long) = (part("bytes 0-4/10", 3, &policy), part("bytes 0-4/10", 7, &policy));
    let (rest, short_rest) = (part("bytes 5-9/10", 5, &policy), part("bytes 5-9/10", 4, &policy));
    for (earlier, newer) in
        [(&short, &rest), (&long, &rest), (&rest, &short), (&part("bytes 0-4/10", 5, &policy), &short_rest)]
    {
        assert!(earlier.combine(newer).is_none());
        assert!(newer.combine(earlier).is_none());
    }
    let combined = part("bytes 0-4/10", 5, &policy).combine(&rest).expect("both as long as they say");
    assert_eq!(combined.stored.complete_len(), Some(10));
}

/// A complete response of `len` bytes.
fn whole(len: u64) -> StoredResponse {
    let lines = [("cache-control", "max-age=600"), ("etag", "\"a\""), ("last-modified", "@-1000")];
    Trip::new(&lines).store(&Policy::safe(), len)
}

/// The ranges with which a `GET` for `range` is answered; `None` if it is not answered with 206.
fn slices(stored: &StoredResponse, range: &str) -> Option<Vec<Slice>> {
    let request = headers(&[("range", range)]);
    match answer(stored, &asking(&Method::GET, &request, 0)) {
        Some(Answer::Partial(slices)) => Some(slices),
        _ => None,
    }
}

/// The same as first and last positions.
fn positions(stored: &StoredResponse, range: &str) -> Option<Vec<(u64, u64)>> {
    let slices = slices(stored, range)?;
    Some(slices.iter().map(|slice| (slice.range.first, slice.range.last)).collect())
}

/// RFC 9110 section 14.1.2, its examples among them, of 10000 bytes.
#[test]
fn ranges_name_the_bytes_that_the_rfc_says() {
    let stored = whole(10_000);
    let cases: &[(&str, &[(u64, u64)])] = &[
        ("bytes=0-499", &[(0, 499)]),
        ("bytes=500-999", &[(500, 999)]),
        ("bytes=-500", &[(9500, 9999)]),
        ("bytes=9500-", &[(9500, 9999)]),
        ("bytes=0-0,-1", &[(0, 0), (9999, 9999)]),
        ("bytes= 0-999, 4500-5499, -1000", &[(0, 999), (4500, 5499), (9000, 9999)]),
        ("bytes=500-600,601-999", &[(500, 999)]),
        ("bytes=500-700,601-999", &[(500, 999)]),
        ("bytes=0-", &[(0, 9999)]),
        ("bytes=0-99999", &[(0, 9999)]),
        ("bytes=-99999", &[(0, 9999)]),
        ("bytes=9999-", &[(9999, 9999)]),
        ("bytes=5-5", &[(5, 5)]),
        ("bytes=0005-0007", &[(5, 7)]),
        ("bytes=5-99999999999999999999999999", &[(5, 9999)]),
        ("BYTES=0-1", &[(0, 1)]),
        ("bytes=,0-1,,3-4,", &[(0, 1), (3, 4)]),
        ("bytes=0-1\t,\t3-4", &[(0, 1), (3, 4)]),
        // One that can be satisfied is enough (section 14.1.2).
        ("bytes=20000-,0-1", &[(0, 1)]),
        ("bytes=-0,0-1", &[(0, 1)]),
        // In ascending order, however they were asked for, and no byte twice.
        ("bytes=8-9,0-1", &[(0, 1), (8, 9)]),
        ("bytes=0-5,2-3,4-8", &[(0, 8)]),
        ("bytes=-2,0-9999", &[(0, 9999)]),
        ("bytes=0-0,0-0,0-0", &[(0, 0)]),
    ];
    for (range, expected) in cases {
        assert_eq!(positions(&stored, range).as_deref(), Some(*expected), "{range}");
    }
}

/// Section 14.2: "A server MAY ignore the Range header field"; and one of an unknown unit, or
/// malformed, must be.
#[test]
fn a_range_that_is_not_understood_is_ignored() {
    let stored = whole(10);
    for range in [
        "",
        "bytes",
        "bytes=",
        "bytes=,",
        "bytes 0-1",
        "bytes=a-b",
        "bytes=1",
        "bytes=1-x",
        "bytes=x-1",
        "bytes=5-2",
        "bytes=--1",
        "bytes=-",
        "bytes=1-2-3",
        "bytes=+1-2",
        "bytes=0-1;2-3",
        "bytes=0 - 1",
        "bytes=0-1,5-2",
        "lines=0-1",
        "bytes =0-1",
        "byte=0-1",
        "bytes=0x1-0x2",
        "bytes=-1.5",
    ] {
        let request = headers(&[("range", range)]);
        assert_eq!(answer(&stored, &asking(&Method::GET, &request, 0)), Some(Answer::Full), "{range:?}");
    }
    let twice = headers(&[("range", "bytes=0-1"), ("range", "bytes=3-4")]);
    assert_eq!(answer(&stored, &asking(&Method::GET, &twice, 0)), Some(Answer::Full));
    let list = |count| {
        format!("bytes={}", (0..count).map(|at| format!("{}-{}", at * 2, at * 2)).collect::<Vec<_>>().join(","))
    };
    assert_eq!(positions(&whole(100), &list(16)).map(|ranges| ranges.len()), Some(16));
    assert_eq!(positions(&whole(100), &list(17)), None);
}

#[test]
fn a_range_beyond_the_end_is_416() {
    for (len, range, unsatisfiable) in [
        (10, "bytes=10-", true),
        (10, "bytes=10-20", true),
        (10, "bytes=-0", true),
        (10, "bytes=10-,20-30,-0", true),
        (10, "bytes=9-", false),
        (10, "bytes=10-,9-", false),
        (0, "bytes=0-", true),
        (0, "bytes=0-0", true),
    ] {
        let request = headers(&[("range", range)]);
        let given = answer(&whole(len), &asking(&Method::GET, &request, 0));
        assert_eq!(given == Some(Answer::Unsatisfiable), unsatisfiable, "{len} {range}: {given:?}");
    }
    assert_eq!(unsatisfied_range(10), "bytes */10");
    assert_eq!(unsatisfied_range(u64::MAX), "bytes */18446744073709551615");
}

/// Section 14.2: "A server MUST ignore a Range header field received with a request method that is
/// unrecognized or for which range handling is not defined" – that is any but GET.
#[test]
fn ranges_are_for_get_and_successful_responses() {
    let request = headers(&[("range", "bytes=0-1")]);
    for method in [Method::HEAD, Method::POST] {
        assert_eq!(answer(&whole(10), &asking(&method, &request, 0)), Some(Answer::Full), "{method}");
    }
    for code in [203, 301, 404, 500] {
        let stored = Trip::new(&[("cache-control", "max-age=60")]).status(code).store(&Policy::safe(), 10);
        assert_eq!(answer(&stored, &asking(&Method::GET, &request, 0)), Some(Answer::Full), "{code}");
    }
}

#[test]
fn content_range_is_written_as_the_rfc_says() {
    let stored = whole(1234);
    let first = |range| slices(&stored, range).expect("a 206")[0].range;
    assert_eq!(first("bytes=42-1233").content_range(Some(1234)), "bytes 42-1233/1234");
    assert_eq!(first("bytes=42-1233").content_range(None), "bytes 42-1233/*");
    assert_eq!(first("bytes=-1").content_range(Some(1234)), "bytes 1233-1233/1234");
    assert_eq!(first("bytes=-1").len(), 1);
}

/// RFC 9111 section 3.3: a part answers only a request that "is partial and specifies a range wholly
/// within the incomplete response".
#[test]
fn a_stored_part_answers_only_what_lies_within_it() {
    for (name, policy) in policies() {
        let known = part("bytes 4-9/20", 6, &policy);
        let unknown = part("bytes 4-9/*", 6, &policy);
        let end = part("bytes 14-19/20", 6, &policy);
        for (stored, range, expected) in [
            (&known, "bytes=4-9", Some((4, 9, 0))),
            (&known, "bytes=6-8", Some((6, 8, 2))),
            (&known, "bytes=9-9", Some((9, 9, 5))),
            (&known, "bytes=4-10", None),
            (&known, "bytes=3-5", None),
            (&known, "bytes=4-", None),
            (&known, "bytes=-6", None),
            (&known, "bytes=10-12", None),
            (&known, "bytes=20-", None),
            (&known, "bytes=-0", None),
            (&known, "bytes=4-5,7-8", None),
            (&known, "bytes=9-4", None),
            (&known, "lines=4-9", None),
            (&unknown, "bytes=4-9", Some((4, 9, 0))),
            (&unknown, "bytes=5-", None),
            (&unknown, "bytes=-2", None),
            (&unknown, "bytes=5-10", None),
            (&end, "bytes=14-", Some((14, 19, 0))),
            (&end, "bytes=16-", Some((16, 19, 2))),
            (&end, "bytes=16-99", Some((16, 19, 2))),
            (&end, "bytes=-6", Some((14, 19, 0))),
            (&end, "bytes=-1", Some((19, 19, 5))),
            (&end, "bytes=-7", None),
        ] {
            let plan = get(stored, &[("range", range)], 0, &policy);
            match expected {
                None => assert_eq!(plan, Plan::Forward(Forward::Partial), "{name} {range}"),
                Some((first, last, offset)) => {
                    let Plan::Serve(Answer::Partial(slices)) = plan else { panic!("{name} {range}: {plan:?}") };
                    let [slice] = slices.as_slice() else { panic!("{name} {range}: {slices:?}") };
                    assert_eq!(
                        (slice.range.first, slice.range.last, slice.offset),
                        (first, last, offset),
                        "{name} {range}"
                    );
                    let (_, bytes) = slice.within(6).expect("it is there");
                    let (start, end) =
                        (usize::try_from(offset).unwrap(), usize::try_from(last - first + offset).unwrap());
                    assert_eq!(bytes, start..end + 1, "{name} {range}");
                }
            }
        }
        for request in [&[][..], &[("if-none-match", "\"a\"")], &[("cache-control", "max-age=100")]] {
            assert_eq!(get(&known, request, 0, &policy), Plan::Forward(Forward::Partial), "{name} {request:?}");
        }
        let other = [("range", "bytes=4-9"), ("if-range", "\"b\"")];
        assert_eq!(get(&known, &other, 0, &policy), Plan::Forward(Forward::Partial), "{name}");
        let condition = [("range", "bytes=4-9"), ("if-none-match", "\"a\"")];
        assert_eq!(get(&known, &condition, 0, &policy), Plan::Serve(Answer::NotModified), "{name}");
        let head = headers(&[("range", "bytes=4-9")]);
        assert_eq!(answer(&known, &asking(&Method::HEAD, &head, 0)), None, "{name}");
    }
}

/// Content that is not as long as its range promised, under the lenient rules.
#[test]
fn a_slice_is_cut_to_the_content_that_is_there() {
    let policy = Policy::rfc9111();
    for (len, range, expected) in [
        // Promised 4-9, got five bytes: counted from the start, or for a suffix from the end.
        (5, "bytes=4-9", Some((4, 8, 0..5))),
        (5, "bytes=6-8", Some((6, 8, 2..5))),
        (5, "bytes=8-9", Some((8, 8, 4..5))),
        (5, "bytes=9-9", None),
        (5, "bytes=-5", Some((5, 9, 0..5))),
        (5, "bytes=-1", Some((9, 9, 4..5))),
        (5, "bytes=-6", Some((5, 9, 0..5))),
        // Got eight.
        (8, "bytes=4-9", Some((4, 9, 0..6))),
        (8, "bytes=-2", Some((8, 9, 6..8))),
    ] {
        let stored = part("bytes 4-9/10", len, &policy);
        let slices = slices(&stored, range).unwrap_or_else(|| panic!("{len} {range}"));
        let cut = slices[0].within(len).map(|(cut, bytes)| (cut.range.first, cut.range.last, bytes));
        assert_eq!(cut, expected, "{len} {range}");
    }
}

/// Section 3.4: parts are combined "if they all share the same strong validator".
#[test]
fn parts_are_combined_under_one_strong_validator_only() {
    let parts = |first: &[(&'static str, &str)], second: &[(&'static str, &str)]| {
        let of = |validators: &[(&'static str, &str)], range, len| {
            let mut lines = validators.to_vec();
            lines.extend([("cache-control", "max-age=60"), ("content-range", range)]);
            Trip::new(&lines).status(206).store(&Policy::safe(), len)
        };
        of(first, "bytes 0-4/10", 5).combine(&of(second, "bytes 5-9/10", 5)).is_some()
    };
    let dated: Lines<'_> = &[("last-modified", "@-1000"), ("date", "@0")];
    let young: Lines<'_> = &[("last-modified", "@-30"), ("date", "@0")];
    let cases: &[(Lines<'_>, Lines<'_>, bool)] = &[
        (&[("etag", "\"a\"")], &[("etag", "\"a\"")], true),
        (&[("etag", "\"a\"")], &[("etag", "\"b\"")], false),
        (&[("etag", "W/\"a\"")], &[("etag", "W/\"a\"")], false),
        (&[("etag", "\"a\"")], &[("etag", "W/\"a\"")], false),
        (&[("etag", "\"a\"")], &[], false),
        (&[], &[], false),
        (dated, dated, true),
        (young, young, false),
        (dated, &[("last-modified", "@-1001"), ("date", "@0")], false),
        (dated, &[("last-modified", "@-1000"), ("date", "@0"), ("etag", "\"a\"")], false),
    ];
    for (first, second, combine) in cases {
        assert_eq!(parts(first, second), *combine, "{first:?} {second:?}");
    }
}

#[test]
fn parts_are_combined_if_they_overlap_or_touch() {
    let policy = Policy::safe();
    // (earlier, newer) → the whole range, with the earlier bytes before and from where after.
    for (a, b, expected) in [
        ((0, 4), (5, 9), Some(((0, 9), 5, 5))),
        ((5, 9), (0, 4), Some(((0, 9), 0, 0))),
        ((0, 6), (4, 9), Some(((0, 9), 4, 7))),
        ((4, 9), (0, 6), Some(((0, 9), 0, 3))),
        ((0, 9), (3, 5), Some(((0, 9), 3, 6))),
        ((3, 5), (0, 9), Some(((0, 9), 0, 3))),
        ((2, 5), (2, 5), Some(((2, 5), 0, 4))),
        ((0, 4), (6, 9), None),
        ((6, 9), (0, 4), None),
        ((0, 0), (2, 2), None),
    ] {
        let of = |(first, last): (u64, u64)| part(&format!("bytes {first}-{last}/20"), last - first + 1, &policy);
        let combined = of(a).combine(&of(b));
        let Some(((first, last), before, until)) = expected else {
            assert!(combined.is_none(), "{a:?} {b:?}");
            continue;
        };
        let combined = combined.unwrap_or_else(|| panic!("{a:?} {b:?}"));
        assert_eq!((combined.before, combined.until), (before, until), "{a:?} {b:?}");
        let head = combined.stored.headers();
        assert_eq!(head["content-range"], format!("bytes {first}-{last}/20"), "{a:?} {b:?}");
        assert_eq!(head["content-length"], (last - first + 1).to_string(), "{a:?} {b:?}");
        assert_eq!((combined.stored.status().as_u16(), combined.stored.complete_len()), (206, None), "{a:?} {b:?}");
    }
    let lengths = part("bytes 0-4/10", 5, &policy).combine(&part("bytes 5-9/11", 5, &policy));
    assert!(lengths.is_none(), "they are of different lengths");
    assert!(part("bytes 0-4/*", 5, &policy).combine(&part("bytes 5-9/*", 5, &policy)).is_some());
    assert!(whole(10).combine(&part("bytes 5-9/10", 5, &policy)).is_none());
    assert!(part("bytes 5-9/10", 5, &policy).combine(&whole(10)).is_none());
}

#[test]
fn when_nothing_is_missing_the_combined_response_is_a_complete_200() {
    let policy = Policy::safe();
    let old = [("cache-control", "max-age=60"), ("etag", "\"a\""), ("content-range", "bytes 0-4/10"), ("x", "old")];
    let new = [("cache-control", "max-age=90"), ("etag", "\"a\""), ("content-range", "bytes 5-9/10"), ("x", "new")];
    let stored = |lines| Trip::new(lines).status(206).store(&policy, 5);
    let combined = stored(&old).combine(&stored(&new)).expect("they touch").stored;
    assert_eq!((combined.status().as_u16(), combined.complete_len()), (200, Some(10)));
    assert!(!combined.headers().contains_key("content-range"));
    assert_eq!(combined.headers()["content-length"], "10");
    // The newer head counts.
    assert_eq!((combined.headers()["x"].to_str().ok(), combined.freshness().lifetime()), (Some("new"), secs(90)));
    assert_eq!(get(&combined, &[], 0, &policy), Plan::Serve(Answer::Full));
}
