//! What an access log says was requested: Common and Combined Log Format, and JSON lines.

use serde_json::Value;
use std::cmp::Reverse;
use std::collections::HashMap;

/// How many different URLs are counted; more are passed over.
const MOST: usize = 1_000_000;

/// How often each URL was asked for, by requests that could be asked again: GET, and answered without an error.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    urls: HashMap<String, u64>,
    /// Lines that are no such request, or none at all.
    pub(crate) ignored: u64,
}

impl Counts {
    /// Counts a line. A host that the line names is one of `scheme`, for logs do not say which it was.
    pub(crate) fn add(&mut self, line: &str, scheme: &str) {
        let url = if line.starts_with('{') { from_json(line, scheme) } else { from_common(line) };
        match url {
            Some(url) if self.urls.len() < MOST || self.urls.contains_key(&url) => {
                *self.urls.entry(url).or_default() += 1;
            }
            _ => self.ignored += 1,
        }
    }

    /// The most requested first, at most `top`.
    pub(crate) fn into_top(self, top: usize) -> Vec<String> {
        let mut urls: Vec<(String, u64)> = self.urls.into_iter().collect();
        urls.sort_unstable_by(|(a, a_count), (b, b_count)| (Reverse(a_count), a).cmp(&(Reverse(b_count), b)));
        urls.truncate(top);
        urls.into_iter().map(|(url, _)| url).collect()
    }
}

/// `… "GET /a?b=c HTTP/1.1" 200 …`. No target holds a quote.
fn from_common(line: &str) -> Option<String> {
    let (_, rest) = line.split_once('"')?;
    let (request, rest) = rest.split_once('"')?;
    let status = rest.split_whitespace().next()?;
    requested(request, status)
}

fn requested(request: &str, status: &str) -> Option<String> {
    let mut words = request.split(' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next());
    let is_http = version.is_none_or(|version| version.starts_with("HTTP/")) && words.next().is_none();
    (is_http && is_asked_again(method, status) && target.starts_with('/')).then(|| target.to_owned())
}

fn is_asked_again(method: &str, status: &str) -> bool {
    method == "GET" && matches!(status.parse(), Ok(200..=399_u16))
}

/// The names that servers use: those of this proxy, of nginx, Apache, Caddy and Traefik.
fn from_json(line: &str, scheme: &str) -> Option<String> {
    let value: Value = serde_json::from_str(line).ok()?;
    // Caddy has them one level down.
    let inner = value.get("request").filter(|request| request.is_object()).unwrap_or(&value);
    let text = |names: &[&str]| names.iter().find_map(|name| inner.get(name)?.as_str());
    let status = ["status", "status_code", "DownstreamStatus"].iter().find_map(|name| value.get(name));
    let status = status?.as_str().map_or_else(|| status.map(Value::to_string), |text| Some(text.to_owned()))?;
    let target = if let Some(request) = text(&["request"]) {
        requested(request, &status)?
    } else {
        let method = text(&["method", "request_method", "RequestMethod"])?;
        let target = text(&["target", "request_uri", "uri", "path", "RequestPath", "url"])?;
        is_asked_again(method, &status).then(|| target.to_owned())?
    };
    // Where a query was left out of the log, nobody knows what was asked.
    if target.ends_with('?') {
        return None;
    }
    match text(&["host", "http_host", "RequestHost"]) {
        Some(host) if !host.is_empty() && target.starts_with('/') => Some(format!("{scheme}://{host}{target}")),
        _ => Some(target),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(lines: &[&str], top: usize) -> (Vec<String>, u64) {
        let mut counts = Counts::default();
        for line in lines {
            counts.add(line, "http");
        }
        let ignored = counts.ignored;
        (counts.into_top(top), ignored)
    }

    #[test]
    fn the_most_requested_come_first() {
        let lines = [
            r#"127.0.0.1 - - [10/Oct/2026:13:55:36 -0700] "GET /b HTTP/1.0" 200 2326"#,
            r#"::1 - me [10/Oct/2026:13:55:36 -0700] "GET /a?x=1 HTTP/1.1" 200 26 "https://h/" "Mozilla/5.0 (\"x\")""#,
            r#"127.0.0.1 - - [10/Oct/2026:13:55:36 -0700] "GET /c HTTP/2.0" 304 0 "-" "curl""#,
            r#"127.0.0.1 - - [10/Oct/2026:13:55:36 -0700] "GET /a?x=1 HTTP/1.1" 206 1"#,
        ];
        assert_eq!(counted(&lines, 10), (vec!["/a?x=1".into(), "/b".into(), "/c".into()], 0));
        assert_eq!(counted(&lines, 1).0, ["/a?x=1"]);
    }

    #[test]
    fn what_cannot_be_asked_again_is_passed_over() {
        for line in [
            r#"h - - [t] "POST /a HTTP/1.1" 200 1"#,
            r#"h - - [t] "GET /a HTTP/1.1" 404 1"#,
            r#"h - - [t] "GET /a HTTP/1.1" 499 1"#,
            r#"h - - [t] "GET http://h/a HTTP/1.1" 200 1"#,
            r#"h - - [t] "\x16\x03" 400 1"#,
            r#"h - - [t] "GET /a b HTTP/1.1" 200 1"#,
            r#"h - - [t] "GET /a HTTP/1.1""#,
            r#"h - - [t] "-" 408 0"#,
            "nothing of the kind",
            "",
            "{",
            r#"{"method":"GET","path":"/a"}"#,
            r#"{"method":"GET","target":"/a?","status":200}"#,
            r#"{"method":"PUT","target":"/a","status":200}"#,
        ] {
            assert_eq!(counted(&[line], 10), (vec![], 1), "{line}");
        }
    }

    #[test]
    fn json_lines_of_several_servers_are_read() {
        for (line, expected) in [
            (r#"{"client":"::1","method":"GET","host":"h:80","target":"/a","status":200}"#, "http://h:80/a"),
            (r#"{"request":"GET /a?b HTTP/1.1","status":"200","host":"h"}"#, "http://h/a?b"),
            (r#"{"request_method":"GET","request_uri":"/a","status":304}"#, "/a"),
            (r#"{"request":{"method":"GET","host":"h","uri":"/a"},"status":200}"#, "http://h/a"),
            (r#"{"RequestMethod":"GET","RequestHost":"h","RequestPath":"/a","DownstreamStatus":200}"#, "http://h/a"),
            (r#"{"method":"GET","url":"https://h/a","status":200}"#, "https://h/a"),
        ] {
            assert_eq!(counted(&[line], 10), (vec![expected.into()], 0), "{line}");
        }
    }
}
