//! What the JSON of the HTTP API says.

use crate::text::plain;
use http::StatusCode;
use serde_json::Value;
use std::collections::BTreeMap;

/// By name. Nothing of it can be trusted to be harmless where it is shown.
pub(crate) type Labels = BTreeMap<String, String>;

/// A series' value at one time.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sample {
    pub(crate) labels: Labels,
    /// Finite.
    pub(crate) value: f64,
}

/// A series over a time.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Series {
    pub(crate) labels: Labels,
    /// When, in seconds since 1970, and what: both finite.
    pub(crate) points: Vec<(f64, f64)>,
}

/// Something that is scraped.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Target {
    /// `job` and `instance` among them.
    pub(crate) labels: Labels,
    pub(crate) url: String,
    /// `up`, `down` or `unknown`.
    pub(crate) health: String,
    /// Why the last scrape failed; empty when it did not.
    pub(crate) error: String,
}

/// A rule that is loaded.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rule {
    pub(crate) group: String,
    /// The alert's, or what is recorded.
    pub(crate) name: String,
    /// `alerting` or `recording`.
    pub(crate) kind: String,
    /// `ok`, `err` or `unknown`.
    pub(crate) health: String,
    /// Of an alert: `inactive`, `pending` or `firing`.
    pub(crate) state: String,
}

/// What was asked for, of a whole answer.
///
/// # Errors
///
/// What the server says is wrong, or that it is not one of Prometheus's answers.
pub(super) fn data(status: StatusCode, body: &[u8]) -> Result<Value, String> {
    let Ok(mut answer) = serde_json::from_slice::<Value>(body) else {
        return Err(format!("status {}, which is no answer of Prometheus's HTTP API", status.as_u16()));
    };
    match answer["status"].as_str() {
        Some("success") if status.is_success() => Ok(answer["data"].take()),
        _ => Err(format!(
            "status {}: {}",
            status.as_u16(),
            plain(answer["error"].as_str().unwrap_or("it does not say why"))
        )),
    }
}

pub(super) fn samples(data: &Value) -> Result<Vec<Sample>, String> {
    match data["resultType"].as_str() {
        Some("vector") => Ok(list(&data["result"]).filter_map(sample).collect()),
        Some("scalar") => {
            let value = point(&data["result"]).map(|(_, value)| Sample { labels: Labels::new(), value });
            Ok(value.into_iter().collect())
        }
        other => Err(unexpected(other)),
    }
}

pub(super) fn series(data: &Value) -> Result<Vec<Series>, String> {
    match data["resultType"].as_str() {
        Some("matrix") => {
            Ok(list(&data["result"]).map(one_series).filter(|series| !series.points.is_empty()).collect())
        }
        other => Err(unexpected(other)),
    }
}

pub(super) fn targets(data: &Value) -> Vec<Target> {
    let target = |target: &Value| Target {
        labels: labels(&target["labels"]),
        url: text(&target["scrapeUrl"]),
        health: text(&target["health"]),
        error: text(&target["lastError"]),
    };
    list(&data["activeTargets"]).map(target).collect()
}

pub(super) fn rules(data: &Value) -> Vec<Rule> {
    let rule = |group: &Value, rule: &Value| Rule {
        group: text(&group["name"]),
        name: text(&rule["name"]),
        kind: text(&rule["type"]),
        health: text(&rule["health"]),
        state: text(&rule["state"]),
    };
    let groups = list(&data["groups"]);
    groups.flat_map(|group| list(&group["rules"]).map(move |one| rule(group, one))).collect()
}

fn unexpected(kind: Option<&str>) -> String {
    format!("the result is of the type {}, which was not asked for", plain(kind.unwrap_or("none")))
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn labels(value: &Value) -> Labels {
    let all = value.as_object().into_iter().flatten();
    all.map(|(name, value)| (name.clone(), text(value))).collect()
}

fn sample(value: &Value) -> Option<Sample> {
    let (_, number) = point(&value["value"])?;
    Some(Sample { labels: labels(&value["metric"]), value: number })
}

fn one_series(value: &Value) -> Series {
    Series { labels: labels(&value["metric"]), points: list(&value["values"]).filter_map(point).collect() }
}

/// A time and a number, which is written as text because JSON knows neither NaN nor infinity.
fn point(value: &Value) -> Option<(f64, f64)> {
    let (at, number) = (value[0].as_f64()?, value[1].as_str()?.parse::<f64>().ok()?);
    number.is_finite().then_some((at, number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn asked(status: u16, body: &str) -> Result<Value, String> {
        data(StatusCode::from_u16(status).unwrap(), body.as_bytes())
    }

    #[test]
    fn what_is_no_number_is_not_there() {
        let data = json!({"resultType": "vector", "result": [
            {"metric": {"job": "a"}, "value": [1.5, "0.25"]},
            {"metric": {"job": "b"}, "value": [1.5, "NaN"]},
            {"metric": {"job": "c"}, "value": [1.5, "+Inf"]},
            {"metric": {"job": "d"}, "value": [1.5]},
        ]});
        let found = samples(&data).unwrap();
        assert_eq!((found.len(), found[0].value, found[0].labels["job"].as_str()), (1, 0.25, "a"));
        let scalar = json!({"resultType": "scalar", "result": [1.5, "7"]});
        assert_eq!(samples(&scalar).unwrap(), [Sample { labels: Labels::new(), value: 7.0 }]);
        let data = json!({"resultType": "matrix", "result": [
            {"metric": {}, "values": [[1, "1"], [2, "NaN"], [3, "3"]]},
            {"metric": {}, "values": [[1, "NaN"]]},
        ]});
        assert_eq!(series(&data).unwrap(), [Series { labels: Labels::new(), points: vec![(1.0, 1.0), (3.0, 3.0)] }]);
    }

    #[test]
    fn a_refusal_says_why_and_something_else_is_no_answer() {
        let parse = r#"{"status":"error","errorType":"bad_data","error":"1:5: parse\u001b error"}"#;
        assert_eq!(asked(400, parse).unwrap_err(), "status 400: 1:5: parse\\u{1b} error");
        assert_eq!(asked(200, "<html>").unwrap_err(), "status 200, which is no answer of Prometheus's HTTP API");
        assert_eq!(
            asked(503, "Service Unavailable").unwrap_err(),
            "status 503, which is no answer of Prometheus's HTTP API"
        );
        assert_eq!(asked(200, "{}").unwrap_err(), "status 200: it does not say why");
        assert_eq!(asked(500, r#"{"status":"success","data":1}"#).unwrap_err(), "status 500: it does not say why");
        assert!(samples(&json!({"resultType": "matrix"})).unwrap_err().contains("matrix"));
        assert!(series(&json!({})).unwrap_err().contains("none"));
    }

    #[test]
    fn targets_and_rules_are_listed() {
        let data = json!({"activeTargets": [
            {"labels": {"job": "shop", "instance": "a:1"}, "scrapeUrl": "http://a:1/metrics", "health": "down", "lastError": "refused"},
        ]});
        let target = &targets(&data)[0];
        assert_eq!(
            (target.labels["job"].as_str(), target.health.as_str(), target.error.as_str()),
            ("shop", "down", "refused")
        );
        let data = json!({"groups": [{"name": "g", "rules": [
            {"name": "RedisDown", "type": "alerting", "health": "ok", "state": "firing"},
            {"name": "cache_hit_ratio", "type": "recording", "health": "err"},
        ]}]});
        let found = rules(&data);
        assert_eq!((found[0].name.as_str(), found[0].state.as_str()), ("RedisDown", "firing"));
        assert_eq!(
            (found[1].group.as_str(), found[1].kind.as_str(), found[1].health.as_str()),
            ("g", "recording", "err")
        );
        assert!(targets(&json!({})).is_empty() && rules(&json!([])).is_empty());
    }
}
