//! What values may be, and how they are read and written.

use std::fmt;
use std::ops::RangeInclusive;

/// What a value may be.
pub(super) enum Accepts {
    Boolean,
    Count(RangeInclusive<u64>),
    Bytes(RangeInclusive<u64>),
    /// In nanoseconds.
    Time(RangeInclusive<u64>),
    /// In nanoseconds; a plain number is in milliseconds.
    Millis(RangeInclusive<u64>),
    /// In nanoseconds, or `none`.
    TimeOrNone(RangeInclusive<u64>),
    Name,
    Thinning,
    /// A secret: kept as text, and never shown.
    Keys,
}

/// `none` among the encoded values.
pub(super) const NONE: u64 = u64::MAX;

pub(super) const KIB: u64 = 1 << 10;
pub(super) const MIB: u64 = 1 << 20;
pub(super) const GIB: u64 = 1 << 30;
pub(super) const MILLISECOND: u64 = 1_000_000;
pub(super) const SECOND: u64 = 1000 * MILLISECOND;
pub(super) const MINUTE: u64 = 60 * SECOND;
pub(super) const HOUR: u64 = 60 * MINUTE;

impl Accepts {
    /// Encodes a value: booleans as 0 and 1, times in nanoseconds, `none` as [`NONE`], thinning as one in so many.
    pub(super) fn parse(&self, text: &str) -> Option<u64> {
        let value = match self {
            Self::Boolean => u64::from(parse_bool(text)?),
            Self::Count(_) => parse_digits(text)?,
            Self::Bytes(_) => parse_bytes(text)?,
            Self::TimeOrNone(_) if text == "none" => return Some(NONE),
            Self::Time(_) | Self::TimeOrNone(_) => parse_time(text)?,
            Self::Millis(_) => parse_digits(text).map_or_else(|| parse_time(text), |n| n.checked_mul(MILLISECOND))?,
            Self::Thinning => parse_thinning(text)?,
            Self::Name | Self::Keys => return None,
        };
        self.range().contains(&value).then_some(value)
    }

    pub(super) fn range(&self) -> RangeInclusive<u64> {
        match self {
            Self::Count(range)
            | Self::Bytes(range)
            | Self::Time(range)
            | Self::Millis(range)
            | Self::TimeOrNone(range) => range.clone(),
            Self::Boolean => 0..=1,
            Self::Name | Self::Thinning | Self::Keys => 0..=u64::MAX,
        }
    }

    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Boolean => "boolean",
            Self::Count(_) => "number",
            Self::Bytes(_) => "bytes",
            Self::Time(_) | Self::Millis(_) | Self::TimeOrNone(_) => "time",
            Self::Name => "name",
            Self::Thinning => "choice",
            Self::Keys => "secret",
        }
    }
}

/// What is accepted, for errors and the manual.
impl fmt::Display for Accepts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean => f.write_str("`1 0 true false yes no on off`"),
            Self::Count(range) => write!(f, "{} to {}", range.start(), range.end()),
            Self::Bytes(range) => write!(f, "{} to {}", bytes_text(*range.start()), bytes_text(*range.end())),
            Self::Time(range) | Self::Millis(range) => {
                write!(f, "{} to {}", time_text(*range.start()), time_text(*range.end()))
            }
            Self::TimeOrNone(range) => {
                write!(f, "`none`, or {} to {}", time_text(*range.start()), time_text(*range.end()))
            }
            Self::Name => f.write_str("1 to 64 of `A-Z a-z 0-9 _ . -`, but not `other`"),
            Self::Keys => f.write_str("`none`, or 1 to 3 of `id:key` with commas between them"),
            Self::Thinning => f.write_str("`off`, `sample:N` with N from 1 to 1000000000, or `all`"),
        }
    }
}

pub(crate) fn parse_bool(text: &str) -> Option<bool> {
    let is = |word: &&str| text.eq_ignore_ascii_case(word);
    match () {
        () if ["1", "true", "yes", "on"].iter().any(is) => Some(true),
        () if ["0", "false", "no", "off"].iter().any(is) => Some(false),
        () => None,
    }
}

/// Digits only: no sign, no space, no underscore.
pub(crate) fn parse_digits(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}

/// A number and, directly after it, a unit.
pub(super) fn parse_with_unit(text: &str, factor: impl Fn(&str) -> Option<u64>) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    parse_digits(digits)?.checked_mul(factor(unit)?)
}

pub(super) fn parse_bytes(text: &str) -> Option<u64> {
    parse_with_unit(text, |unit| match unit {
        "" => Some(1),
        "KiB" => Some(KIB),
        "MiB" => Some(MIB),
        "GiB" => Some(GIB),
        "KB" => Some(1_000),
        "MB" => Some(1_000_000),
        "GB" => Some(1_000_000_000),
        _ => None,
    })
}

/// In nanoseconds.
pub(crate) fn parse_time(text: &str) -> Option<u64> {
    parse_with_unit(text, |unit| match unit {
        "ms" => Some(MILLISECOND),
        "" | "s" => Some(SECOND),
        "m" => Some(MINUTE),
        "h" => Some(HOUR),
        _ => None,
    })
}

pub(super) fn parse_thinning(text: &str) -> Option<u64> {
    match text {
        "off" => Some(0),
        "all" => Some(1),
        _ => parse_digits(text.strip_prefix("sample:")?).filter(|n| (1..=1_000_000_000).contains(n)),
    }
}

/// A name that is safe as a metric label and as a part of a key in Redis.
pub(crate) fn parse_name(text: &str) -> Option<&str> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    let valid = (1..=64).contains(&text.len()) && text.bytes().all(allowed) && text != "other";
    valid.then_some(text)
}

pub(super) fn bytes_text(bytes: u64) -> String {
    match bytes {
        0 => "0".to_owned(),
        _ if bytes.is_multiple_of(GIB) => format!("{}GiB", bytes / GIB),
        _ if bytes.is_multiple_of(MIB) => format!("{}MiB", bytes / MIB),
        _ if bytes.is_multiple_of(KIB) => format!("{}KiB", bytes / KIB),
        _ => bytes.to_string(),
    }
}

pub(super) fn time_text(time: u64) -> String {
    match time {
        _ if !time.is_multiple_of(SECOND) => format!("{}ms", time / MILLISECOND),
        _ if !time.is_multiple_of(MINUTE) || time == 0 => format!("{}s", time / SECOND),
        _ if !time.is_multiple_of(HOUR) => format!("{}m", time / MINUTE),
        _ => format!("{}h", time / HOUR),
    }
}
