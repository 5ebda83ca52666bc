//! What a command has judged: named checks, as a table and as JSON, and the exit status that follows from them.

use crate::failure::Failure;
use crate::text::{Format, plain, print, print_json, table};
use serde_json::{Value, json};

/// What became of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Ok,
    Warn,
    Fail,
    /// It was not asked for, or does not apply. Nothing is known.
    Skip,
    /// It was asked for and could not be judged: neither good nor bad.
    Unknown,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// Its name, which scripts may rely on: lower case, words joined by hyphens.
    pub(crate) id: &'static str,
    pub(crate) status: Status,
    /// What was seen.
    pub(crate) measured: String,
    /// What was expected, if there is more to it than its being so.
    pub(crate) threshold: Option<String>,
    /// What to do, in one line, unless all is well.
    pub(crate) fix: Option<String>,
}

impl Finding {
    pub(crate) fn ok(id: &'static str, measured: impl Into<String>) -> Self {
        Self { id, status: Status::Ok, measured: measured.into(), threshold: None, fix: None }
    }

    pub(crate) fn warn(id: &'static str, measured: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { status: Status::Warn, fix: Some(fix.into()), ..Self::ok(id, measured) }
    }

    pub(crate) fn fail(id: &'static str, measured: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { status: Status::Fail, ..Self::warn(id, measured, fix) }
    }

    pub(crate) fn skip(id: &'static str, measured: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { status: Status::Skip, ..Self::warn(id, measured, fix) }
    }

    pub(crate) fn unknown(id: &'static str, measured: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { status: Status::Unknown, ..Self::warn(id, measured, fix) }
    }

    /// What was expected.
    pub(crate) fn threshold(mut self, threshold: impl Into<String>) -> Self {
        self.threshold = Some(threshold.into());
        self
    }

    fn json(&self) -> Value {
        let Self { id, status, measured, threshold, fix } = self;
        json!({ "id": id, "status": status.word(), "measured": measured, "threshold": threshold, "fix": fix })
    }

    fn row(&self) -> Vec<String> {
        let threshold = self.threshold.as_deref().unwrap_or("-");
        vec![self.status.word().into(), self.id.into(), plain(&self.measured), plain(threshold)]
    }
}

impl Status {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
            Self::Skip => "skip",
            Self::Unknown => "unknown",
        }
    }
}

/// What follows from all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Exit status 0.
    Pass,
    /// Exit status 1.
    Fail,
    /// Something could not be judged, and nothing failed. Exit status 3.
    Inconclusive,
    /// There are warnings, or checks that were skipped, and they count. Exit status 4.
    Warned,
}

impl Verdict {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Inconclusive => "inconclusive",
            Self::Warned => "warned",
        }
    }
}

/// A list of checks, in the order in which they are shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Findings(pub(crate) Vec<Finding>);

impl Findings {
    pub(crate) fn count(&self, status: Status) -> usize {
        self.0.iter().filter(|finding| finding.status == status).count()
    }

    /// The worst counts; warnings and what was skipped only if `strict`.
    pub(crate) fn verdict(&self, strict: bool) -> Verdict {
        let any = |status| self.count(status) > 0;
        match () {
            () if any(Status::Fail) => Verdict::Fail,
            () if any(Status::Unknown) => Verdict::Inconclusive,
            () if strict && (any(Status::Warn) || any(Status::Skip)) => Verdict::Warned,
            () => Verdict::Pass,
        }
    }

    /// # Errors
    ///
    /// With the exit status of the verdict, unless it is to pass. The message names what counted.
    pub(crate) fn outcome(&self, strict: bool) -> Result<(), Failure> {
        let named = |statuses: &[Status]| {
            let all = self.0.iter().filter(|finding| statuses.contains(&finding.status)).map(|finding| finding.id);
            all.collect::<Vec<_>>().join(", ")
        };
        match self.verdict(strict) {
            Verdict::Pass => Ok(()),
            Verdict::Fail => Err(Failure::runtime(format!("failed: {}", named(&[Status::Fail])))),
            Verdict::Inconclusive => {
                Err(Failure::inconclusive(format!("could not be judged: {}", named(&[Status::Unknown]))))
            }
            Verdict::Warned => {
                let all = named(&[Status::Warn, Status::Skip]);
                Err(Failure::warned(format!("--strict, and there are warnings: {all}")))
            }
        }
    }

    /// One object: `verdict`, `findings`, and the members of `more`.
    pub(crate) fn json(&self, strict: bool, more: Value) -> Value {
        let mut all = json!({
            "verdict": self.verdict(strict).word(),
            "findings": self.0.iter().map(Finding::json).collect::<Vec<_>>(),
        });
        if let (Some(all), Value::Object(more)) = (all.as_object_mut(), more) {
            all.extend(more);
        }
        all
    }

    /// A line for each, what helps beneath it, and how many there are of each kind.
    pub(crate) fn text(&self) -> String {
        let rows: Vec<_> = self.0.iter().map(Finding::row).collect();
        let table = table(&["RESULT", "CHECK", "MEASURED", "EXPECTED"], &rows);
        let fixes = std::iter::once(None).chain(self.0.iter().map(|finding| finding.fix.as_deref()));
        let mut text = String::new();
        for (line, fix) in table.lines().zip(fixes) {
            text += line;
            text.push('\n');
            if let Some(fix) = fix {
                text += "         -> ";
                text += &plain(fix);
                text.push('\n');
            }
        }
        text + &self.counts()
    }

    fn counts(&self) -> String {
        let all = [Status::Ok, Status::Warn, Status::Fail, Status::Skip, Status::Unknown];
        let some = all.into_iter().map(|status| (self.count(status), status.word())).filter(|(count, _)| *count > 0);
        some.map(|(count, word)| format!("{count} {word}")).collect::<Vec<_>>().join(", ") + "\n"
    }

    /// For people, or as [`json`](Self::json).
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub(crate) fn print(&self, format: Format, strict: bool, more: Value) -> Result<(), Failure> {
        match format {
            Format::Table => print(&self.text()),
            Format::Json => print_json(&self.json(strict, more)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(statuses: &[Status]) -> Findings {
        let finding = |status: &Status| Finding { status: *status, ..Finding::warn("a-check", "1", "do that") };
        Findings(statuses.iter().map(finding).collect())
    }

    #[test]
    fn the_worst_decides_and_strictness_counts_warnings() {
        use Status::{Fail, Ok, Skip, Unknown, Warn};
        for (statuses, verdict, strict) in [
            (&[][..], Verdict::Pass, Verdict::Pass),
            (&[Ok, Ok], Verdict::Pass, Verdict::Pass),
            (&[Ok, Warn], Verdict::Pass, Verdict::Warned),
            (&[Ok, Skip], Verdict::Pass, Verdict::Warned),
            (&[Skip, Unknown, Warn], Verdict::Inconclusive, Verdict::Inconclusive),
            (&[Unknown, Fail, Ok], Verdict::Fail, Verdict::Fail),
        ] {
            let all = of(statuses);
            assert_eq!((all.verdict(false), all.verdict(true)), (verdict, strict), "{statuses:?}");
            assert_eq!(all.outcome(true).is_ok(), strict == Verdict::Pass, "{statuses:?}");
        }
    }

    #[test]
    fn the_table_has_what_helps_beneath_what_it_is_for() {
        let all = Findings(vec![
            Finding::ok("one", "5 ms").threshold("< 15 ms"),
            Finding::fail("other", "\u{1b}x", "mend it"),
        ]);
        let expected = "RESULT  CHECK  MEASURED  EXPECTED\nok      one    5 ms      < 15 ms\nfail    other  \\u{1b}x   -\n         \
                        -> mend it\n1 ok, 1 fail\n";
        assert_eq!(all.text(), expected);
    }

    #[test]
    fn json_has_everything() {
        let all = Findings(vec![Finding::fail("one", "5", "mend it").threshold("3")]);
        let finding = json!({ "id": "one", "status": "fail", "measured": "5", "threshold": "3", "fix": "mend it" });
        let expected = json!({ "verdict": "fail", "findings": [finding], "ready": "9 of 10" });
        assert_eq!(all.json(false, json!({ "ready": "9 of 10" })), expected);
    }
}
