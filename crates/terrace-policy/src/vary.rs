//! Negotiated responses: `Vary` and the selecting header fields (RFC 9111 section 4.1).

use http::header::{ACCEPT_ENCODING, ACCEPT_LANGUAGE, AUTHORIZATION, CONTENT_LANGUAGE, COOKIE, VARY};
use http::{HeaderMap, HeaderName, HeaderValue};

/// What the `Vary` field of a response says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Vary {
    /// `*`, or a member that is no field name: no later request can be known to match.
    Any,
    /// The selecting header fields, sorted and without repetition; empty if there is no `Vary`.
    Fields(Vec<HeaderName>),
}

impl Vary {
    /// Reads every `Vary` line of a response.
    pub fn of(response: &HeaderMap) -> Self {
        let mut fields = Vec::new();
        for line in response.get_all(VARY) {
            for member in line.as_bytes().split(|&byte| byte == b',') {
                match member.trim_ascii() {
                    b"" => {}
                    member => match HeaderName::from_bytes(member) {
                        Ok(name) if member != b"*" => fields.push(name),
                        _ => return Self::Any,
                    },
                }
            }
        }
        fields.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        fields.dedup();
        Self::Fields(fields)
    }
}

/// The values that a request has for the selecting header `fields`, normalised and encoded.
///
/// Two requests match exactly if these bytes are equal: each value is preceded by its length, and
/// a missing field differs from an empty one ("if a header field is absent from a request, it can
/// only match another request if it is also absent there"). Values are normalised only "in a way
/// that is known to have identical semantics": lines are combined, white space around commas is
/// dropped, and `Accept-Encoding` and `Accept-Language` are compared without case and by weight
/// instead of by order. `Cookie` and `Authorization` are compared as they are.
pub fn selecting_values(fields: &[HeaderName], request: &HeaderMap) -> Vec<u8> {
    let mut encoded = Vec::new();
    for field in fields {
        let value = request.contains_key(field).then(|| normalised(field, request));
        match value {
            None => encoded.extend_from_slice(&u32::MAX.to_be_bytes()),
            Some(value) => {
                let len = u32::try_from(value.len()).unwrap_or(u32::MAX - 1);
                encoded.extend_from_slice(&len.to_be_bytes());
                encoded.extend_from_slice(&value);
            }
        }
    }
    encoded
}

/// As [`selecting_values`], for a request that wants nothing but `language`.
pub fn selecting_values_in(fields: &[HeaderName], request: &HeaderMap, language: &HeaderValue) -> Vec<u8> {
    let mut request = request.clone();
    request.insert(ACCEPT_LANGUAGE, language.clone());
    selecting_values(fields, &request)
}

/// The language that a request prefers to all others; `None` if it names none, or several alike.
pub fn preferred_language(request: &HeaderMap) -> Option<HeaderValue> {
    let lines = request.get_all(ACCEPT_LANGUAGE).iter();
    let members = lines.flat_map(|line| line.as_bytes().split(|&byte| byte == b','));
    let mut weighted: Vec<_> = members
        .map(|member| member.trim_ascii().to_ascii_lowercase())
        .filter(|member| !member.is_empty())
        .map(|member| weight(&member))
        .collect();
    weighted.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
    let (most, language) = weighted.first()?;
    let alone = weighted.get(1).is_none_or(|(second, _)| second < most);
    let usable = alone && *most > 0 && language != b"*";
    HeaderValue::from_bytes(language).ok().filter(|_| usable)
}

/// The one language of a response that varies by language.
pub fn content_language(fields: &[HeaderName], response: &HeaderMap) -> Option<HeaderValue> {
    let mut lines = response.get_all(CONTENT_LANGUAGE).iter();
    let (line, None) = (lines.next()?, lines.next()) else {
        return None;
    };
    let single = !line.as_bytes().contains(&b',') && fields.contains(&ACCEPT_LANGUAGE);
    single.then(|| line.clone())
}

fn normalised(field: &HeaderName, request: &HeaderMap) -> Vec<u8> {
    let lines = request.get_all(field).iter().map(HeaderValue::as_bytes);
    if *field == COOKIE || *field == AUTHORIZATION {
        return lines.collect::<Vec<_>>().join(&b", "[..]);
    }
    let mut members: Vec<Vec<u8>> = Vec::new();
    for line in lines {
        members.extend(list_members(line).map(|member| member.trim_ascii().to_vec()));
    }
    if *field == ACCEPT_ENCODING || *field == ACCEPT_LANGUAGE {
        by_weight(&mut members);
    }
    members.join(&b',')
}

/// Splits at commas outside quoted strings.
fn list_members(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    line.split(move |&byte| {
        let separates = byte == b',' && !quoted;
        if byte == b'"' && !escaped {
            quoted = !quoted;
        }
        escaped = byte == b'\\' && quoted && !escaped;
        separates
    })
}

/// Brings `en;q=1, DE ;q=0.50` and `de;q=0.5,en` into one form: lower case, no needless weights,
/// heaviest first, equal weights by name (RFC 9110 sections 12.4.2, 12.5.3, 12.5.4).
fn by_weight(members: &mut Vec<Vec<u8>>) {
    let mut weighted: Vec<(u16, Vec<u8>)> =
        members.iter().filter(|member| !member.is_empty()).map(|member| weight(&member.to_ascii_lowercase())).collect();
    weighted.sort_unstable_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    weighted.dedup();
    *members = weighted
        .into_iter()
        .map(|(weight, mut range)| {
            if weight != 1000 {
                // No header value holds a zero byte, so that no other member ends like this.
                range.push(0);
                range.extend_from_slice(&weight.to_be_bytes());
            }
            range
        })
        .collect();
}

/// Splits `gzip;q=0.8` into 800 and `gzip`. What is not such a pair keeps its text and counts as heaviest.
fn weight(member: &[u8]) -> (u16, Vec<u8>) {
    let Some(at) = member.iter().position(|&byte| byte == b';') else {
        return (1000, member.to_vec());
    };
    let (range, parameter) = (member[..at].trim_ascii(), member[at + 1..].trim_ascii());
    match parameter.strip_prefix(b"q=").and_then(thousandths) {
        Some(weight) => (weight, range.to_vec()),
        None => (1000, member.to_vec()),
    }
}

/// Parses a qvalue: `( "0" [ "." 0*3DIGIT ] ) / ( "1" [ "." 0*3("0") ] )`.
fn thousandths(text: &[u8]) -> Option<u16> {
    let (whole, fraction) = match text {
        [whole] => (whole, &[][..]),
        [whole, b'.', fraction @ ..] if fraction.len() <= 3 => (whole, fraction),
        _ => return None,
    };
    if !matches!(whole, b'0' | b'1') || !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digit = |at: usize| fraction.get(at).map_or(0, |digit| u16::from(digit - b'0'));
    let weight = u16::from(whole - b'0') * 1000 + digit(0) * 100 + digit(1) * 10 + digit(2);
    (weight <= 1000).then_some(weight)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(*name, value.parse().unwrap());
        }
        map
    }

    fn same(field: &'static str, a: &[&str], b: &[&str]) -> bool {
        let values = |values: &[&str]| {
            let lines: Vec<_> = values.iter().map(|value| (field, *value)).collect();
            selecting_values(&[HeaderName::from_static(field)], &headers(&lines))
        };
        values(a) == values(b)
    }

    #[test]
    fn a_star_anywhere_matches_no_request() {
        for lines in [&["*"][..], &["*, *"], &["*", "*"], &[", *"], &["", "*"], &["*, foo"], &["foo, *"], &["a b"]] {
            let lines: Vec<_> = lines.iter().map(|line| ("vary", *line)).collect();
            assert_eq!(Vary::of(&headers(&lines)), Vary::Any, "{lines:?}");
        }
    }

    #[test]
    fn fields_are_a_set() {
        let fields = |line| Vary::of(&headers(&[("vary", line)]));
        assert_eq!(fields("Foo, bar,,foo"), fields("bar,FOO"));
        assert_eq!(fields(""), Vary::Fields(Vec::new()));
    }

    #[test]
    fn only_what_means_the_same_matches() {
        assert!(same("foo", &["1, 2"], &["1", "2"]));
        assert!(same("foo", &["1,2"], &[" 1, 2 "]));
        assert!(!same("foo", &["1,2"], &["2,1"]));
        assert!(!same("foo", &["a"], &["A"]));
        assert!(!same("foo", &["\"a, b\""], &["\"a,b\""]));
        assert!(!same("foo", &[], &[""]));
        assert!(!same("cookie", &["a=1, 2"], &["a=1,2"]));
    }

    #[test]
    fn languages_and_codings_match_by_weight() {
        assert!(same("accept-language", &["en, de"], &["de, en"]));
        assert!(same("accept-language", &["en, de"], &["eN ,  De;q=1.0"]));
        assert!(same("accept-encoding", &["gzip;q=0.5, br"], &["br", "GZIP;q=0.50"]));
        assert!(!same("accept-language", &["en, de"], &["en, de;q=0.9"]));
        assert!(!same("accept-language", &["en, de"], &["fr;q=0.5, de;q=1.0"]));
        assert!(!same("accept-encoding", &["gzip"], &["gzip;q=0"]));
    }

    #[test]
    fn a_preferred_language_stands_out() {
        let preferred = |value| preferred_language(&headers(&[("accept-language", value)]));
        assert_eq!(preferred("fr;q=0.5, DE;q=1.0").unwrap(), "de");
        assert_eq!(preferred("de").unwrap(), "de");
        for value in ["en, de", "*", "*, de;q=0.5", "de;q=0", ""] {
            assert_eq!(preferred(value), None, "{value:?}");
        }
    }

    #[test]
    fn values_cannot_run_into_each_other() {
        let fields = [HeaderName::from_static("a"), HeaderName::from_static("b")];
        let one = selecting_values(&fields, &headers(&[("a", "xy"), ("b", "z")]));
        let two = selecting_values(&fields, &headers(&[("a", "x"), ("b", "yz")]));
        assert_ne!(one, two);
    }
}
