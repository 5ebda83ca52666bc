//! The questions.

use super::answer::{self, Rule, Sample, Series, Target};
use super::http::Http;
use crate::failure::Failure;
use crate::proxy::origin::OriginUrl;
use crate::web::Reply;
use std::time::Duration;

/// A server of Prometheus's HTTP API (v1), or something that speaks it.
#[derive(Clone, Debug)]
pub(crate) struct Prometheus(Http);

/// From when to when, both included, in seconds since 1970; and how far apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Range {
    pub(crate) from: f64,
    pub(crate) to: f64,
    pub(crate) step: f64,
}

/// Where the token is read from: what is an argument, other users of the machine can see.
const TOKEN: &str = "TERRACE_PROMETHEUS_TOKEN";

impl Prometheus {
    /// The server at `base`, each of whose answers may take `timeout`. The environment's `TERRACE_PROMETHEUS_TOKEN`, if
    /// there is one, is sent as a bearer token.
    ///
    /// # Errors
    ///
    /// When the token cannot be in a header field, or the operating system's certificate authorities cannot be read.
    pub(crate) fn new(base: OriginUrl, timeout: Duration) -> Result<Self, Failure> {
        let http = Http::new(base, timeout)?;
        match std::env::var(TOKEN) {
            Ok(token) if !token.is_empty() => http.bearer(&token).map(Self),
            Err(std::env::VarError::NotUnicode(_)) => return Err(bad_token()),
            _ => Ok(Self(http)),
        }
        .map_err(|_| bad_token())
    }

    pub(crate) fn base(&self) -> &OriginUrl {
        self.0.base()
    }

    /// What a query has now, or at a time in seconds since 1970. Without what is not finite: what has no value is not there.
    ///
    /// # Errors
    ///
    /// In a few words, why that is not known.
    pub(crate) async fn query(&self, query: &str, at: Option<f64>) -> Result<Vec<Sample>, String> {
        let at = at.map(|at| at.to_string());
        let mut form = vec![("query", query)];
        form.extend(at.as_deref().map(|at| ("time", at)));
        answer::samples(&self.ask("/api/v1/query", &form).await?)
    }

    /// What a query had over a time. Without what is not finite.
    ///
    /// # Errors
    ///
    /// In a few words, why that is not known.
    pub(crate) async fn query_range(&self, query: &str, range: Range) -> Result<Vec<Series>, String> {
        let [start, end, step] = [range.from, range.to, range.step].map(|number| number.to_string());
        let form = [("query", query), ("start", &start), ("end", &end), ("step", &step)];
        answer::series(&self.ask("/api/v1/query_range", &form).await?)
    }

    /// What it scrapes.
    ///
    /// # Errors
    ///
    /// In a few words, why that is not known.
    pub(crate) async fn targets(&self) -> Result<Vec<Target>, String> {
        let data = self.told(self.0.get("/api/v1/targets?state=active").await)?;
        Ok(answer::targets(&data))
    }

    /// The rules that it has loaded.
    ///
    /// # Errors
    ///
    /// In a few words, why that is not known.
    pub(crate) async fn rules(&self) -> Result<Vec<Rule>, String> {
        let data = self.told(self.0.get("/api/v1/rules").await)?;
        Ok(answer::rules(&data))
    }

    async fn ask(&self, path: &str, form: &[(&str, &str)]) -> Result<serde_json::Value, String> {
        self.told(self.0.post(path, form).await)
    }

    fn told(&self, answer: Result<Reply, String>) -> Result<serde_json::Value, String> {
        let data = answer.and_then(|reply| answer::data(reply.status, &reply.body));
        data.map_err(|why| format!("Prometheus at {}: {why}", self.base()))
    }
}

fn bad_token() -> Failure {
    Failure::usage(format_args!("{TOKEN}: expected visible ASCII characters"))
}
