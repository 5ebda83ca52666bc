//! HTTP dates (RFC 9110 section 5.6.7).

use crate::support::{at, now};
use http::HeaderValue;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use terrace_policy::{format_date, parse_date};

fn parse(text: &str, now: SystemTime) -> Option<SystemTime> {
    parse_date(&HeaderValue::from_str(text).expect("a header value"), now)
}

fn printed(text: &str, now: SystemTime) -> Option<String> {
    parse(text, now).map(|date| format_date(date).to_str().expect("ASCII").to_owned())
}

/// "Recipients of a timestamp value in rfc850-date format … MUST interpret a timestamp that appears
/// to be more than 50 years in the future as representing the most recent year in the past that had
/// the same last two digits."
#[test]
fn two_digit_years_are_at_most_fifty_years_ahead_to_the_day() {
    // Now is 21 Nov 2026.
    for (text, year) in [
        ("Friday, 20-Nov-26 00:00:00 GMT", Some("2026")),
        ("Friday, 20-Nov-76 00:00:00 GMT", Some("2076")),
        ("Saturday, 20-Nov-76 00:00:00 GMT", None),
        ("Tuesday, 23-Nov-76 00:00:00 GMT", Some("1976")),
        ("Monday, 23-Nov-76 00:00:00 GMT", None),
        ("Friday, 31-Dec-76 00:00:00 GMT", Some("1976")),
        ("Thursday, 31-Dec-76 00:00:00 GMT", None),
        ("Friday, 31-Dec-99 23:59:59 GMT", Some("1999")),
        ("Saturday, 01-Jan-00 00:00:00 GMT", Some("2000")),
        ("Thursday, 01-Jan-70 00:00:00 GMT", None),
        ("Wednesday, 01-Jan-70 00:00:00 GMT", Some("2070")),
    ] {
        assert_eq!(printed(text, now()).as_deref().map(|date| &date[12..16]), year, "{text}");
    }
}

#[test]
fn only_the_three_formats_are_dates() {
    for text in [
        "",
        "0",
        "-1",
        "now",
        "1795219200",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 94 08:49:37 GMT",
        "Sun, 06-Nov-1994 08:49:37 GMT",
        "Sun, 06-Nov-94 08:49:37 GMT",
        "Sund        ay, 06-Nov-94 08:49:37 GMT",
        "Sunday, 06-Nov-+4 08:49:37 GMT",
        "Sunday, 06-Nov-94\"08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37",
        "Sun 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 08:49:37 gmt",
        "Sun, 06 Nov 1994 08:49:37 +0000",
        "SUN, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 NOV 1994 08:49:37 GMT",
        "Sun, 06  Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 8:49:37 GMT",
        "Sun, 06 Nov 1994 08.49.37 GMT",
        "Sun, 06 Nov 1994 24:00:00 GMT",
        "Sun, 06 Nov 1994 08:60:00 GMT",
        "Mon, 06 Nov 1994 08:49:37 GMT",
        "Sun, 31 Feb 1994 08:49:37 GMT",
        "Wed, 31 Dec 1969 23:59:59 GMT",
        "Sun Nov 6 08:49:37 1994",
        "Sun Nov 06 08:49:37 94",
    ] {
        assert_eq!(parse(text, now()), None, "{text:?}");
    }
}

#[test]
fn what_is_printed_is_read_back() {
    for offset in [0, 1, -1, 59, 86_400 * 365, -1_795_219_200] {
        assert_eq!(parse_date(&format_date(at(offset)), now()), Some(at(offset)));
    }
    let fractions = now() + Duration::from_millis(999);
    assert_eq!(parse_date(&format_date(fractions), now()), Some(now()));
    for (far, text) in [
        (UNIX_EPOCH - Duration::from_secs(1), "Thu, 01 Jan 1970 00:00:00 GMT"),
        (UNIX_EPOCH + Duration::from_secs(300_000_000_000), "Fri, 31 Dec 9999 23:59:59 GMT"),
    ] {
        assert_eq!(format_date(far), text);
        // A clock that is wrong by centuries decides centuries wrongly, and nothing worse.
        let _ = parse("Sunday, 06-Nov-94 08:49:37 GMT", far);
    }
}
