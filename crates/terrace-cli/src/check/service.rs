//! What is deployed, asked as its clients ask it.

use super::exercise::{l2_hit, median, millis, nonce};
use super::options::Options;
use super::process::Scrape;
use super::tail::Tail;
use crate::ask::Verdict;
use crate::failure::Failure;
use crate::findings::Finding;
use crate::web::{Reply, Web};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{Request, StatusCode, Uri};
use http_body_util::Full;
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};

/// Where the caller's token is read from: what is an argument, other users of the machine can see.
const TOKEN: &str = "TERRACE_AUTHZ_TOKEN";
const PAIRS: usize = 200;
/// What a hit is to save, in percent.
const SAVED: f64 = 40.0;
const READS: u32 = 20;

/// The services that were given.
pub(super) struct Services<'a> {
    web: &'a Web,
    options: &'a Options,
    token: Option<HeaderValue>,
}

/// Answers that were fetched and the same ones from the cache, in turn.
#[derive(Default)]
struct Pairs {
    misses: Vec<Duration>,
    hits: Vec<Duration>,
    /// Why a hit was not what its miss was.
    different: Option<String>,
}

impl<'a> Services<'a> {
    /// # Errors
    ///
    /// When the token cannot be in a header field.
    pub(super) fn new(web: &'a Web, options: &'a Options) -> Result<Self, Failure> {
        let token = std::env::var(TOKEN).ok().filter(|token| !token.is_empty());
        let field = |token: String| {
            let mut value = HeaderValue::try_from(format!("Bearer {token}"))?;
            value.set_sensitive(true);
            Ok::<_, http::header::InvalidHeaderValue>(value)
        };
        let bad = |_| Failure::usage(format_args!("{TOKEN}: expected visible ASCII characters"));
        Ok(Self { web, options, token: token.map(field).transpose().map_err(bad)? })
    }

    /// `service-health`.
    pub(super) async fn health(&self) -> Finding {
        let id = "service-health";
        let Some(url) = &self.options.url else { return not_given(id, "--url") };
        let fix = "look at the log of the service; is it started, and is this its address?";
        match self.web.get(&health_of(url)).await {
            Ok(reply) if reply.status.is_success() => {
                Finding::ok(id, format!("status {} in {}", reply.status.as_u16(), millis(reply.took)))
            }
            Ok(reply) => Finding::fail(id, format!("status {}", reply.status.as_u16()), fix),
            Err(why) => Finding::fail(id, why, fix),
        }
        .threshold("2xx")
    }

    /// `source`: somebody new is asked about, so that the permission source has to answer.
    pub(super) async fn source(&self, budget: Duration) -> Finding {
        let id = "source";
        let Some(url) = &self.options.authz_url else { return not_given(id, "--authz-url") };
        let fix = "look at the database of permissions and at AUTHZ_CACHE_SOURCE_TIMEOUT_MS";
        match self.decided(url, &format!("terrace-check-{}", nonce())).await {
            Ok(reply) if reply.took <= budget => Finding::ok(id, millis(reply.took)),
            Ok(reply) => Finding::fail(id, millis(reply.took), fix),
            Err(why) => Finding::fail(id, why, fix),
        }
        .threshold(format!("an answer within {}", millis(budget)))
    }

    /// `l2-hit` of two processes, if they were given.
    pub(super) async fn l2_hit(&self) -> Option<Finding> {
        let (peer, metrics) = self.options.peer_url.as_ref().zip(self.options.peer_metrics.as_ref())?;
        let (url, own) = self.options.authz_url.as_ref().zip(self.options.metrics.first())?;
        let fix =
            "look at cache_stores_total{tier=\"l2\"} of the first process and at cache_lookups_total of the other";
        let read = self.read_by_peer((url, own), (peer, metrics)).await;
        Some(
            read.map_or_else(
                |why| Finding::fail("l2-hit", why, fix),
                |reads| l2_hit(&reads, self.options.l2_hit_within),
            ),
        )
    }

    async fn read_by_peer(
        &self,
        (url, own): (&Uri, &Uri),
        (peer, metrics): (&Uri, &Uri),
    ) -> Result<Vec<Duration>, String> {
        // What is asked about the caller is found in Redis from then on.
        self.decided(peer, &format!("terrace-check-{}", nonce())).await?;
        let (user, stored) = (format!("terrace-check-{}", nonce()), self.stored(own).await?);
        let filled = self.decided(url, &user).await?;
        let started = Instant::now();
        while self.stored(own).await? <= stored {
            if started.elapsed() > self.options.timeout {
                return Err("the first process has stored nothing in Redis".into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let before = self.scraped(metrics).await?;
        let mut reads = Vec::new();
        for _ in 0..READS {
            let reply = self.decided(peer, &user).await?;
            if reply.body != filled.body {
                return Err("the other process answers something else".into());
            }
            reads.push(reply.took);
        }
        let (hits, others) = came(&before, &self.scraped(metrics).await?);
        if others > 0.0 || hits < f64::from(READS) {
            return Err(format!("{hits} checks of the other process came from Redis, {others} did not"));
        }
        Ok(reads)
    }

    /// How many rights a process has stored in Redis.
    async fn stored(&self, metrics: &Uri) -> Result<f64, String> {
        let labels = [("cache", "authz"), ("tier", "l2"), ("result", "ok")];
        Ok(self.scraped(metrics).await?.sum("cache_stores_total", &labels).unwrap_or(0.0))
    }

    /// # Errors
    ///
    /// In a few words, why there are no metrics.
    pub(super) async fn scraped(&self, metrics: &Uri) -> Result<Scrape, String> {
        let reply = self.web.get(metrics).await?;
        if !reply.status.is_success() {
            return Err(format!("{metrics}: status {}", reply.status.as_u16()));
        }
        Ok(Scrape::read(&String::from_utf8_lossy(&reply.body)))
    }

    /// `performance` and `same-answer`.
    pub(super) async fn pairs(&self) -> [Finding; 2] {
        let paired = match (&self.options.authz_url, self.options.probe_url.first()) {
            (Some(url), _) => self.pairs_of_checks(url).await,
            (None, Some(url)) => self.pairs_of_responses(url).await,
            (None, None) => {
                return ["performance", "same-answer"].map(|id| not_given(id, "--authz-url or --probe-url"));
            }
        };
        let fix = "look at the log of the service, and at the token in TERRACE_AUTHZ_TOKEN";
        match paired {
            Ok(pairs) => [performance(&pairs.misses, &pairs.hits), pairs.sameness()],
            Err(why) => ["performance", "same-answer"].map(|id| Finding::fail(id, why.clone(), fix)),
        }
    }

    async fn pairs_of_checks(&self, url: &Uri) -> Result<Pairs, String> {
        let (token, mut pairs) = (nonce(), Pairs::default());
        for number in 0..PAIRS {
            let user = format!("terrace-check-{token}-{number}");
            pairs.add(&self.decided(url, &user).await?, &self.decided(url, &user).await?);
        }
        Ok(pairs)
    }

    async fn pairs_of_responses(&self, url: &Uri) -> Result<Pairs, String> {
        let (token, mut pairs) = (nonce(), Pairs::default());
        for number in 0..PAIRS {
            let own = with_parameter(url, &format!("{token}-{number}"))?;
            let (miss, hit) = (self.web.get(&own).await?, self.web.get(&own).await?);
            if !miss.status.is_success() {
                return Err(format!("{own}: status {}", miss.status.as_u16()));
            }
            pairs.add(&miss, &hit);
            if Verdict::of(&hit.headers) != Verdict::Hit {
                pairs.different.get_or_insert_with(|| format!("{own} is no hit the second time"));
            }
        }
        Ok(pairs)
    }

    /// `structured-logs`: what the service writes about a request of ours.
    pub(super) async fn logs(&self) -> Finding {
        let id = "structured-logs";
        let Some(log) = &self.options.log else { return not_given(id, "--log") };
        let fix = "log JSON, one object in each line, with the trace id of `traceparent`";
        let asked = match (self.options.probe_url.first(), &self.options.authz_url) {
            (Some(url), _) => (url, false),
            (None, Some(url)) => (url, true),
            (None, None) => return not_given(id, "--probe-url or --authz-url"),
        };
        match self.logged(log, asked).await {
            Ok((lines, trace)) => structured(&lines, &trace),
            Err(why) => Finding::fail(id, why, fix),
        }
    }

    async fn logged(&self, log: &Path, (url, is_check): (&Uri, bool)) -> Result<(String, String), String> {
        let unread = |error: std::io::Error| format!("{}: {error}", log.display());
        let (tail, trace) = (Tail::of(log).map_err(unread)?, nonce() + &nonce());
        let parent = format!("00-{trace}-{}-01", nonce());
        let request = if is_check { self.question(url) } else { Request::get(with_parameter(url, &nonce())?) };
        let body = if is_check { self.body(&format!("terrace-check-{}", nonce())) } else { Bytes::new() };
        let request =
            request.header("traceparent", parent).body(Full::from(body)).map_err(|error| error.to_string())?;
        self.web.exchange(request).await?;
        // It is written when the request has ended, and perhaps later.
        let lines = tail.until(&trace, self.options.timeout).await.map_err(unread)?;
        Ok((lines, trace))
    }

    fn question(&self, url: &Uri) -> http::request::Builder {
        let request = Request::post(url.clone()).header(CONTENT_TYPE, "application/json");
        match &self.token {
            Some(token) => request.header(AUTHORIZATION, token.clone()),
            None => request,
        }
    }

    fn body(&self, user: &str) -> Bytes {
        let (org, permission) = (&self.options.authz_org, &self.options.authz_permission);
        json!({ "user_id": user, "org_id": org, "permission": permission }).to_string().into()
    }

    /// A decision about somebody; an answer that is none is an error, whatever its status.
    async fn decided(&self, url: &Uri, user: &str) -> Result<Reply, String> {
        let question = self.question(url).body(Full::from(self.body(user))).map_err(|error| error.to_string())?;
        let reply = self.web.exchange(question).await?;
        let allowed = serde_json::from_slice::<Value>(&reply.body).ok().and_then(|answer| answer["allowed"].as_bool());
        if reply.status == StatusCode::OK && allowed.is_some() {
            return Ok(reply);
        }
        let text: String = String::from_utf8_lossy(&reply.body).chars().take(200).collect();
        Err(format!("{url}: status {} without a decision: {text}", reply.status.as_u16()))
    }
}

impl Pairs {
    fn add(&mut self, miss: &Reply, hit: &Reply) {
        self.misses.push(miss.took);
        self.hits.push(hit.took);
        let what = |reply: &Reply| (reply.status, reply.headers.get(CONTENT_TYPE).cloned(), reply.body.clone());
        if what(miss) != what(hit) {
            let (one, other) = (miss.status.as_u16(), hit.status.as_u16());
            self.different.get_or_insert_with(|| {
                format!("status {one} with {} bytes, then {other} with {}", miss.body.len(), hit.body.len())
            });
        }
    }

    fn sameness(&self) -> Finding {
        let fix = "look for what the answer depends on and the key does not have: Vary, a header field, the time";
        match &self.different {
            None => Finding::ok("same-answer", format!("{} hits equal their misses", self.hits.len())),
            Some(why) => Finding::fail("same-answer", why.as_str(), fix),
        }
        .threshold("status, type and body")
    }
}

/// What a hit saves, by the medians.
fn performance(misses: &[Duration], hits: &[Duration]) -> Finding {
    let (miss, hit) = (median(misses), median(hits));
    let saved = if miss.is_zero() { 0.0 } else { (1.0 - hit.as_secs_f64() / miss.as_secs_f64()) * 100.0 };
    let measured = format!("{saved:.0} % saved: {} instead of {}, {} pairs", millis(hit), millis(miss), hits.len());
    let fix = "is it stored at all (same-answer, Cache-Status)? is the origin so fast that caching does not pay?";
    if saved >= SAVED { Finding::ok("performance", measured) } else { Finding::fail("performance", measured, fix) }
        .threshold(format!(">= {SAVED} %"))
}

/// Whether all lines are objects, and one of them is about our request.
fn structured(lines: &str, trace: &str) -> Finding {
    let fix = "log JSON, one object in each line, with the trace id of `traceparent`";
    let all: Vec<&str> = lines.lines().filter(|line| !line.trim().is_empty()).collect();
    let broken =
        all.iter().filter(|line| !serde_json::from_str::<Value>(line).is_ok_and(|line| line.is_object())).count();
    let ours = all.iter().filter(|line| line.contains(trace)).count();
    let measured = format!("{} lines, {broken} not JSON, {ours} with the trace id", all.len());
    let is_well = broken == 0 && ours > 0;
    if is_well { Finding::ok("structured-logs", measured) } else { Finding::fail("structured-logs", measured, fix) }
        .threshold("JSON with the trace id")
}

/// Checks that came from Redis, and others.
fn came(before: &Scrape, after: &Scrape) -> (f64, f64) {
    let since = |labels: &[(&str, &str)]| {
        let of = |seen: &Scrape| seen.sum("authz_check_total", labels).unwrap_or(0.0);
        of(after) - of(before)
    };
    let hits = since(&[("cache_status", "l2_cache_hit")]);
    (hits, since(&[]) - hits)
}

fn health_of(url: &Uri) -> Uri {
    if url.path() != "/" {
        return url.clone();
    }
    let mut parts = url.clone().into_parts();
    parts.path_and_query = Some(http::uri::PathAndQuery::from_static("/health"));
    Uri::from_parts(parts).unwrap_or_else(|_| url.clone())
}

pub(super) fn with_parameter(url: &Uri, value: &str) -> Result<Uri, String> {
    let separator = if url.query().is_some() { '&' } else { '?' };
    format!("{url}{separator}terrace-check={value}").parse().map_err(|error| format!("{url}: {error}"))
}

pub(super) fn not_given(id: &'static str, options: &str) -> Finding {
    Finding::skip(id, "no target was given", format!("give {options}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::Status;

    #[test]
    fn a_hit_has_to_save_two_fifths() {
        let of = |millis| vec![Duration::from_millis(millis); 3];
        for (miss, hit, status) in
            [(10, 6, Status::Ok), (10, 7, Status::Fail), (0, 0, Status::Fail), (5, 9, Status::Fail)]
        {
            assert_eq!(performance(&of(miss), &of(hit)).status, status, "{miss} {hit}");
        }
    }

    #[test]
    fn lines_are_objects_and_one_is_about_the_request() {
        for (lines, status) in [
            ("{\"trace_id\":\"abc\"}\n{\"level\":\"INFO\"}\n", Status::Ok),
            ("{\"trace_id\":\"abc\"}\nplain\n", Status::Fail),
            ("{\"trace_id\":\"other\"}\n", Status::Fail),
            ("\"abc\"\n", Status::Fail),
            ("", Status::Fail),
        ] {
            assert_eq!(structured(lines, "abc").status, status, "{lines}");
        }
    }

    #[test]
    fn a_health_url_without_a_path_gets_one() {
        for (given, expected) in [("http://h:1", "http://h:1/health"), ("http://h/healthz", "http://h/healthz")] {
            assert_eq!(health_of(&given.parse().unwrap()).to_string(), expected);
        }
        let own = with_parameter(&"http://h/a?b=1".parse().unwrap(), "x").unwrap();
        assert_eq!(own.to_string(), "http://h/a?b=1&terrace-check=x");
    }
}
