//! HTTP dates. Four bytes are the wall clock, the rest is the text.
//!
//! A second parser of the grammar of RFC 9110 section 5.6.7, which counts days instead of asking a
//! library, must read the same.
#![no_main]

use http::HeaderValue;
use libfuzzer_sys::fuzz_target;
use std::time::{Duration, UNIX_EPOCH};
use terrace_fuzz::clock;
use terrace_policy::{format_date, parse_date};

fuzz_target!(|input: ([u8; 4], &[u8])| {
    let (now, text) = (clock(u32::from_be_bytes(input.0)), input.1);
    let printed = format_date(now);
    assert_eq!(parse_date(&printed, now), Some(now));
    let Ok(value) = HeaderValue::from_bytes(text) else { return };
    let read = parse_date(&value, now);
    let seconds = read.map(|time| time.duration_since(UNIX_EPOCH).expect("not before 1970").as_secs());
    let now = u32::from_be_bytes(input.0).into();
    match std::str::from_utf8(text).ok().and_then(|text| naive(text.trim_matches([' ', '\t']), now)) {
        Some(Naive::Date(date)) => assert_eq!(seconds, Some(date), "{value:?}"),
        Some(Naive::EitherCentury) => {}
        None => assert_eq!(seconds, None, "{value:?}"),
    }
    if let Some(time) = read {
        assert_eq!(parse_date(&format_date(time), UNIX_EPOCH + Duration::from_secs(now)), read);
    }
});

const DAYS: [&str; 7] = ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

enum Naive {
    Date(u64),
    /// Fifty years ahead give or take a leap day, where nobody knows what a year is.
    EitherCentury,
}

fn naive(text: &str, now: u64) -> Option<Naive> {
    let words: Vec<&str> = text.split(' ').collect();
    match words.as_slice() {
        [day, date, month, year, time, "GMT"] if day.len() == 4 && year.len() == 4 => {
            let short = day.strip_suffix(',')?;
            on_its_day(short, 3, seconds(number(date, 2)?, month, number(year, 4)?, time)?)
        }
        [day, date, time, "GMT"] => {
            let [date, month, year] = date.split('-').collect::<Vec<_>>().try_into().ok()?;
            let (date, year) = (number(date, 2)?, year_of(now / 86_400) / 100 * 100 + number(year, 2)?);
            let ahead = days_since_1970(date, month, year) - i64::try_from(now / 86_400).ok()? - FIFTY_YEARS;
            if ahead.abs() <= 2 {
                return Some(Naive::EitherCentury);
            }
            let year = if ahead > 0 { year - 100 } else { year };
            on_its_day(day.strip_suffix(',')?, 9, seconds(date, month, year, time)?)
        }
        [day, month, date @ .., time, year] => {
            let date = match date {
                ["", date] => number(date, 1)?,
                [date] => number(date, 2)?,
                _ => return None,
            };
            on_its_day(day, 3, seconds(date, month, number(year, 4)?, time)?)
        }
        _ => None,
    }
}

/// In days.
const FIFTY_YEARS: i64 = 18_262;

/// Whether or not there is such a day.
fn days_since_1970(date: u64, month: &str, year: u64) -> i64 {
    let month = MONTHS.iter().position(|name| *name == month).unwrap_or_default();
    let years = if year >= 1970 {
        (1970..year).map(days_of).sum::<u64>().cast_signed()
    } else {
        -(year..1970).map(days_of).sum::<u64>().cast_signed()
    };
    years + (0..month).map(|month| days_in(month, year)).sum::<u64>().cast_signed() + date.cast_signed() - 1
}

fn on_its_day(weekday: &str, letters: usize, total: u64) -> Option<Naive> {
    let full = DAYS[usize::try_from(total / 86_400 % 7).ok()?];
    (weekday == &full[..letters.min(full.len())]).then_some(Naive::Date(total))
}

fn number(text: &str, digits: usize) -> Option<u64> {
    (text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

fn seconds(date: u64, month: &str, year: u64, time: &str) -> Option<u64> {
    let [hour, minute, second] = time.split(':').collect::<Vec<_>>().try_into().ok()?;
    let (hour, minute, second) = (number(hour, 2)?, number(minute, 2)?, number(second, 2)?);
    let possible = (1..=days_in(MONTHS.iter().position(|name| *name == month)?, year)).contains(&date);
    let days = u64::try_from(days_since_1970(date, month, year)).ok()?;
    let within_a_day = possible && hour < 24 && minute < 60 && second < 60;
    within_a_day.then_some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_of(year: u64) -> u64 {
    365 + u64::from(is_leap(year))
}

fn days_in(month: usize, year: u64) -> u64 {
    [31, 28 + u64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month]
}

fn year_of(mut day: u64) -> u64 {
    let mut year = 1970;
    while day >= days_of(year) {
        day -= days_of(year);
        year += 1;
    }
    year
}
