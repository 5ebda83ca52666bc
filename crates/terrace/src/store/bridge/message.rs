//! What a message of another program asks for, decided without I/O.

use crate::observe::stats::{BridgeChannel, BridgeResult};
use serde_json::Value;

/// The longest message that is read, in bytes.
pub(crate) const MAX_MESSAGE: usize = 64 << 10;

/// What a message names, each of it fit to be used.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Message {
    /// Absolute, or from the path on.
    pub(crate) urls: Vec<String>,
    /// The same, without what follows them.
    pub(crate) prefixes: Vec<String>,
    pub(crate) tags: Vec<String>,
    /// How much else it names.
    pub(crate) refused: usize,
}

impl Message {
    /// Reads a message for the processes of `namespace`.
    ///
    /// # Errors
    ///
    /// Why there is nothing to do for it.
    pub(crate) fn read(channel: BridgeChannel, text: &[u8], namespace: &str) -> Result<Self, BridgeResult> {
        if text.len() > MAX_MESSAGE {
            return Err(BridgeResult::TooLarge);
        }
        let value = serde_json::from_slice(text).map_err(|_| BridgeResult::Syntax)?;
        let mut message = Self::default();
        match value {
            Value::Object(members) => message.take_members(members, namespace)?,
            bare => message.take(bare, Self::take_bare)?,
        }
        if channel == BridgeChannel::Prewarm {
            // Nobody knows which URLs these stand for.
            message.refused += message.prefixes.len() + message.tags.len();
            (message.prefixes, message.tags) = (Vec::new(), Vec::new());
        }
        match (message.len(), message.refused) {
            (0, 0) => Err(BridgeResult::Empty),
            (0, _) => Err(BridgeResult::Item),
            _ => Ok(message),
        }
    }

    fn len(&self) -> usize {
        self.urls.len() + self.prefixes.len() + self.tags.len()
    }

    /// Members of other names are for other readers.
    fn take_members(&mut self, members: serde_json::Map<String, Value>, namespace: &str) -> Result<(), BridgeResult> {
        for (name, value) in members {
            match name.as_str() {
                "key" | "keys" => self.take(value, Self::take_key)?,
                "pattern" | "patterns" => self.take(value, Self::take_pattern)?,
                "tag" | "tags" => self.take(value, Self::take_tag)?,
                "namespace" => is_for(namespace, &value)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// One string, or an array of them; null is as good as nothing.
    fn take(&mut self, value: Value, item: fn(&mut Self, &str)) -> Result<(), BridgeResult> {
        match value {
            Value::Null => {}
            Value::String(text) => item(self, &text),
            Value::Array(values) => {
                for value in values {
                    match value {
                        Value::String(text) => item(self, &text),
                        _ => self.refused += 1,
                    }
                }
            }
            _ => return Err(BridgeResult::Shape),
        }
        Ok(())
    }

    /// What a string is that stands for itself.
    fn take_bare(&mut self, text: &str) {
        let is_place = text == "*" || text.starts_with('/') || after_scheme(text).is_some();
        match (is_place, text.ends_with('*')) {
            (true, true) => self.take_pattern(text),
            (true, false) => self.take_key(text),
            (false, _) => self.take_tag(text),
        }
    }

    fn take_key(&mut self, text: &str) {
        if is_place(text) { self.urls.push(text.to_owned()) } else { self.refused += 1 }
    }

    /// A pattern is a prefix of whole segments: what ends within one, or has a `*` elsewhere, has no tag.
    fn take_pattern(&mut self, text: &str) {
        let prefix = match text.trim_end_matches('*') {
            "" if text.is_empty() => None,
            "" => Some("/"),
            prefix if prefix.len() == text.len() || prefix.ends_with('/') => Some(prefix),
            _ => None,
        };
        match prefix {
            Some(prefix) if is_place(prefix) && !prefix.contains(['*', '?', '#']) => {
                self.prefixes.push(prefix.to_owned());
            }
            _ => self.refused += 1,
        }
    }

    fn take_tag(&mut self, text: &str) {
        if text.is_empty() { self.refused += 1 } else { self.tags.push(text.to_owned()) }
    }
}

fn is_for(namespace: &str, value: &Value) -> Result<(), BridgeResult> {
    match value {
        Value::Null => Ok(()),
        Value::String(named) if named == namespace => Ok(()),
        Value::String(_) => Err(BridgeResult::Foreign),
        _ => Err(BridgeResult::Shape),
    }
}

/// An absolute HTTP URL without user information, or one from the path on.
fn is_place(text: &str) -> bool {
    if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return false;
    }
    match after_scheme(text) {
        Some(rest) => {
            let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
            !host.is_empty() && !host.contains('@')
        }
        // `//host/path` names a host, but the path would be taken for it.
        None => text.starts_with('/') && !text.starts_with("//"),
    }
}

fn after_scheme(text: &str) -> Option<&str> {
    let (scheme, rest) = text.split_once("://")?;
    ["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known)).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::split_url;
    use BridgeChannel::{Invalidate, Prewarm};
    use proptest::prelude::*;
    use serde_json::json;

    fn read(channel: BridgeChannel, text: &str) -> Result<Message, BridgeResult> {
        Message::read(channel, text.as_bytes(), "shop")
    }

    fn message(urls: &[&str], prefixes: &[&str], tags: &[&str], refused: usize) -> Message {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Message { urls: owned(urls), prefixes: owned(prefixes), tags: owned(tags), refused }
    }

    #[test]
    fn what_other_programs_send_is_understood() {
        let whole =
            r#"{"keys":["https://shop.example/products/1"],"patterns":["/products/*"],"tags":["tenant:42"],"at":1}"#;
        let expected = message(&["https://shop.example/products/1"], &["/products/"], &["tenant:42"], 0);
        assert_eq!(read(Invalidate, whole), Ok(expected));
        for (text, expected) in [
            (r#""/products/1?a=b""#, message(&["/products/1?a=b"], &[], &[], 0)),
            (
                r#"["/a/*", "HTTPS://h/a", "tenant:42", "*"]"#,
                message(&["HTTPS://h/a"], &["/a/", "/"], &["tenant:42"], 0),
            ),
            (r#"{"key":"/a","pattern":"http://h/*","tag":"t"}"#, message(&["/a"], &["http://h/"], &["t"], 0)),
            (r#"{"patterns":["/a/**", "/a", "/a/"]}"#, message(&[], &["/a/", "/a", "/a/"], &[], 0)),
            (r#"{"keys":"/literal/*","tags":null,"namespace":"shop"}"#, message(&["/literal/*"], &[], &[], 0)),
        ] {
            assert_eq!(read(Invalidate, text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_url_within_a_query_is_not_the_one_that_is_meant() {
        let text = r#""/login?next=https://shop.example/a""#;
        let found = read(Invalidate, text).unwrap();
        assert_eq!(split_url(&found.urls[0]).unwrap(), ("", "/login", "next=https://shop.example/a"));
        let (host, path, query) = split_url("https://h/login?next=http://shop.example/a").unwrap();
        assert_eq!((host, path, query), ("h", "/login", "next=http://shop.example/a"));
    }

    #[test]
    fn what_cannot_be_used_is_left_out_and_counted() {
        let text = json!({
            "keys": ["/a", "product:1", 7, "//h/a", "http:///a", "http://me@h/a", "/a b", ""],
            "patterns": ["/a*", "/a/*/b", "/a?b/*", "**x", ""],
            "tags": ["", "t"],
        });
        assert_eq!(read(Invalidate, &text.to_string()), Ok(message(&["/a"], &[], &["t"], 13)));
        let text = r#"{"keys":["/a"],"patterns":["/a/*"],"tags":["t"]}"#;
        assert_eq!(read(Prewarm, text), Ok(message(&["/a"], &[], &[], 2)));
        assert_eq!(read(Prewarm, r#"["tenant:42"]"#), Err(BridgeResult::Item));
    }

    #[test]
    fn the_reason_of_a_refusal_is_told() {
        let deep = "[".repeat(MAX_MESSAGE);
        let large = format!("[{}\"/a\"]", " ".repeat(MAX_MESSAGE));
        for (text, reason) in [
            ("", BridgeResult::Syntax),
            ("/products/1", BridgeResult::Syntax),
            ("{\"keys\":[\"/a\"", BridgeResult::Syntax),
            (&deep, BridgeResult::Syntax),
            (&large, BridgeResult::TooLarge),
            ("7", BridgeResult::Shape),
            (r#"{"keys":{"a":"b"}}"#, BridgeResult::Shape),
            (r#"{"keys":["/a"],"namespace":1}"#, BridgeResult::Shape),
            (r#"{"keys":["/a"],"namespace":"other"}"#, BridgeResult::Foreign),
            ("{}", BridgeResult::Empty),
            ("null", BridgeResult::Empty),
            (r#"{"url":"/a"}"#, BridgeResult::Empty),
            (r#"{"keys":["product:1"]}"#, BridgeResult::Item),
        ] {
            assert_eq!(read(Invalidate, text), Err(reason), "{}", &text[..text.len().min(60)]);
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let text = prop_oneof![".{0,12}", "(https?://[a-z]{0,3})?/?[a-z*?/@ ]{0,8}", "[*]{0,2}"];
        let leaf = prop_oneof![Just(Value::Null), any::<bool>().prop_map(Value::from), text.prop_map(Value::from)];
        leaf.prop_recursive(3, 24, 6, |inner| {
            let name = prop_oneof![".{0,4}", "keys?", "patterns?", "tags?", Just("namespace".to_owned())];
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(name, inner, 0..6).prop_map(|all| all.into_iter().collect::<Value>()),
            ]
        })
    }

    /// Whatever is understood is not empty, and can be made into tags.
    fn is_usable(read: &Result<Message, BridgeResult>) -> bool {
        let Ok(message) = read else { return true };
        let places = message.urls.iter().chain(&message.prefixes);
        message.len() > 0
            && places.into_iter().all(|place| split_url(place).is_ok_and(|(_, path, _)| path.starts_with('/')))
            && message.tags.iter().all(|tag| !tag.is_empty())
    }

    proptest! {
        #[test]
        fn no_bytes_confuse_it(bytes: Vec<u8>) {
            prop_assert!(is_usable(&Message::read(Invalidate, &bytes, "shop")));
        }

        #[test]
        fn no_json_confuses_it(value in any_json(), prewarm: bool) {
            let channel = if prewarm { Prewarm } else { Invalidate };
            let found = read(channel, &value.to_string());
            prop_assert!(is_usable(&found), "{found:?}");
            if let (Ok(message), true) = (&found, prewarm) {
                prop_assert!(message.prefixes.is_empty() && message.tags.is_empty());
            }
        }

        #[test]
        fn what_was_written_is_read(
            urls in prop::collection::vec("(https?://[a-z]{1,9}(:[1-9][0-9]{0,3})?)?/[a-z0-9/]{0,9}(\\?[a-z=]{1,5})?", 1..5)
        ) {
            let urls: Vec<String> = urls.into_iter().filter(|url| !url.starts_with("//")).collect();
            prop_assume!(!urls.is_empty());
            let expected = Ok(Message { urls: urls.clone(), ..Message::default() });
            prop_assert_eq!(read(Prewarm, &json!({ "keys": urls }).to_string()), expected);
            prop_assert_eq!(read(Prewarm, &json!(urls).to_string()).map(|read| read.urls), Ok(urls));
        }
    }
}
