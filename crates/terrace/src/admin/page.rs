//! The page.

use super::answer::{AdminBody, html};
use base64ct::{Base64, Encoding};
use http::{HeaderValue, Response};
use sha2::{Digest, Sha256};
use std::sync::LazyLock;

const PAGE: &str = include_str!("page.html");

/// Nothing is loaded, and nothing but what is written in the page is run.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let (script, style) = (hash(between("<script>", "</script>")), hash(between("<style>", "</style>")));
    let policy = format!(
        "default-src 'none'; script-src '{script}'; style-src '{style}'; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    HeaderValue::from_str(&policy).expect("base64 is visible ASCII")
});

pub(super) fn answer() -> Response<AdminBody> {
    html(PAGE, POLICY.clone())
}

fn between(begin: &str, end: &str) -> &'static str {
    let (_, rest) = PAGE.split_once(begin).expect("the page has one");
    rest.split_once(end).expect("which ends").0
}

fn hash(text: &str) -> String {
    format!("sha256-{}", Base64::encode_string(&Sha256::digest(text)))
}
