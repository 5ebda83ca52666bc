//! Dates and delta-seconds (RFC 9110 section 5.6.7, RFC 9111 section 1.2.2).

use http::HeaderValue;
use httpdate::HttpDate;
use std::cell::RefCell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The largest delta-seconds kept: "2147483648 (2^31)" (RFC 9111 section 1.2.2).
const MAX_DELTA: u32 = 1 << 31;

/// Parses delta-seconds: one or more digits and nothing else. Too large a value becomes 2^31.
pub(crate) fn delta_seconds(text: &[u8]) -> Option<Duration> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let seconds = text.iter().fold(0u32, |sum, digit| {
        let sum = sum.saturating_mul(10);
        sum.saturating_add(u32::from(digit - b'0')).min(MAX_DELTA)
    });
    Some(Duration::from_secs(u64::from(seconds)))
}

/// "more than 50 years in the future" (RFC 9110 section 5.6.7).
const FIFTY_YEARS: Duration = Duration::from_secs(50 * 31_557_600);

/// Parses an HTTP-date in any of the three formats of RFC 9110 section 5.6.7.
///
/// `now` decides the century of the obsolete format with a two-digit year. Anything else,
/// a date before 1970 or with the wrong day of the week included, is `None`. Allocates for the
/// obsolete format only.
pub fn parse_date(value: &HeaderValue, now: SystemTime) -> Option<SystemTime> {
    let text = value.to_str().ok()?.trim();
    match Obsolete::new(text) {
        Some(obsolete) => obsolete.resolve(now),
        // No other format is longer than an IMF-fixdate, but httpdate knows variants of the obsolete one.
        None if text.len() > "Sun, 06 Nov 1994 08:49:37 GMT".len() => None,
        None => httpdate::parse_http_date(text).ok(),
    }
}

/// The parts of `Sunday, 06-Nov-94 08:49:37 GMT`.
struct Obsolete<'a> {
    weekday: &'a str,
    day: &'a str,
    month: &'a str,
    year: u32,
    time: &'a str,
}

impl<'a> Obsolete<'a> {
    fn new(text: &'a str) -> Option<Self> {
        let (weekday, rest) = text.split_once(", ")?;
        let (date, time) = rest.split_once(' ')?;
        let (day, month_and_year) = date.split_once('-')?;
        let (month, year) = month_and_year.split_once('-')?;
        let full = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"].contains(&weekday);
        let two_digits = year.len() == 2 && year.bytes().all(|byte| byte.is_ascii_digit());
        let year = year.parse().ok().filter(|_| full && two_digits)?;
        Some(Self { weekday: &weekday[..3], day, month, year, time })
    }

    /// "Recipients … MUST interpret a timestamp that appears to be more than 50 years in the future
    /// as representing the most recent year in the past that had the same last two digits." The day
    /// of the week fits one of the two centuries at most.
    fn resolve(&self, now: SystemTime) -> Option<SystemTime> {
        let this_year: u32 = format_date(now).to_str().ok()?[12..16].parse().ok()?;
        let century = this_year / 100 * 100;
        let near = self.in_century(century).filter(|date| since(*date, now) <= FIFTY_YEARS);
        near.or_else(|| self.in_century(century - 100).filter(|date| since(now, *date) < FIFTY_YEARS))
    }

    fn in_century(&self, century: u32) -> Option<SystemTime> {
        let Self { weekday, day, month, year, time } = self;
        httpdate::parse_http_date(&format!("{weekday}, {day} {month} {} {time}", century + year)).ok()
    }
}

fn since(later: SystemTime, earlier: SystemTime) -> Duration {
    later.duration_since(earlier).unwrap_or_default()
}

/// Writes `time` as an IMF-fixdate. Times outside the years 1970 to 9999 become the nearest of these.
pub fn format_date(time: SystemTime) -> HeaderValue {
    const YEAR_9999: u64 = 253_402_300_799;
    thread_local! {
        // All responses of a second have one date.
        static LAST: RefCell<(u64, HeaderValue)> = RefCell::new((0, written(0)));
    }
    let seconds = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs().min(YEAR_9999);
    LAST.with_borrow_mut(|last| {
        if last.0 != seconds {
            *last = (seconds, written(seconds));
        }
        last.1.clone()
    })
}

fn written(seconds: u64) -> HeaderValue {
    let date = HttpDate::from(UNIX_EPOCH + Duration::from_secs(seconds));
    HeaderValue::try_from(date.to_string()).expect("an IMF-fixdate is visible ASCII")
}

/// Cuts a time to whole seconds, the resolution of every HTTP date.
pub(crate) fn whole_seconds(time: SystemTime) -> SystemTime {
    let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    UNIX_EPOCH + Duration::from_secs(since_epoch.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn parse(text: &str) -> Option<SystemTime> {
        // 21 Nov 2026
        parse_date(&HeaderValue::from_str(text).unwrap(), at(1_795_219_200))
    }

    #[test]
    fn all_three_formats_name_the_same_time() {
        let time = Some(at(784_111_777));
        assert_eq!(parse("Sun, 06 Nov 1994 08:49:37 GMT"), time);
        assert_eq!(parse("Sunday, 06-Nov-94 08:49:37 GMT"), time);
        assert_eq!(parse("Sun Nov  6 08:49:37 1994"), time);
    }

    #[test]
    fn two_digit_years_are_at_most_fifty_years_ahead() {
        let year = |text: &str| {
            let date = httpdate::fmt_http_date(parse(text).unwrap());
            date[12..16].parse::<u32>().unwrap()
        };
        assert_eq!(year("Tuesday, 06-Nov-68 08:49:37 GMT"), 2068);
        assert_eq!(year("Wednesday, 06-Nov-75 08:49:37 GMT"), 2075);
        assert_eq!(year("Sunday, 06-Nov-77 08:49:37 GMT"), 1977);
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in ["", "0", "-1", "Thu, 18 Aug 2050 02:01:18 AEST", "Thu, 18 Aug 50 02:01:18 GMT"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn delta_seconds_are_digits_only_and_saturate() {
        let seconds = |text: &str| delta_seconds(text.as_bytes()).map(|delta| delta.as_secs());
        assert_eq!(seconds("003600"), Some(3600));
        assert_eq!(seconds("2147483649"), Some(2_147_483_648));
        assert_eq!(seconds("99999999999999999999999"), Some(2_147_483_648));
        for text in ["", "-1", "1.0", " 1", "1s", "'1'"] {
            assert_eq!(seconds(text), None, "{text:?}");
        }
    }
}
