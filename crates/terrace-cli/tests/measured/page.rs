//! Whether a page is whole, and needs nothing else.

use crate::harness::{Origin, full};
use crate::prometheus::Prometheus;
use http::Response;
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

/// The text of a page that is well-formed, loads nothing, runs nothing and says no NaN.
pub(crate) fn check(page: &str) -> String {
    let mut reader = Reader::from_str(page);
    let (mut text, mut open, mut plots) = (String::new(), Vec::new(), 0);
    loop {
        match reader.read_event().unwrap_or_else(|error| panic!("{error}: {page}")) {
            Event::Start(element) => {
                harmless(&element);
                plots += usize::from(element.name().as_ref() == "svg");
                open.push(element.name().as_ref().to_owned());
            }
            Event::Empty(element) => harmless(&element),
            Event::End(element) => assert_eq!(open.pop().as_deref(), Some(element.name().as_ref())),
            Event::Text(part) => text.push_str(&part),
            Event::GeneralRef(name) => text.extend(["&", &*name, ";"]),
            Event::Eof => break,
            _ => {}
        }
    }
    assert!(open.is_empty() && plots > 0, "{open:?} are open, {plots} plots");
    for bad in ["NaN", "inf ", "@import", "url("] {
        assert!(!page.contains(bad), "{bad} in {page}");
    }
    text
}

fn harmless(element: &BytesStart<'_>) {
    let name = element.name().as_ref().to_owned();
    assert!(!["script", "link", "img", "iframe", "object", "embed", "use", "image"].contains(&&*name), "{element:?}");
    for attribute in element.attributes() {
        let attribute = attribute.expect("an attribute");
        let (key, value) = (attribute.key.as_ref().to_owned(), attribute.value.to_string());
        assert!(
            !["src", "href", "xlink:href", "srcset", "data"].contains(&&*key) && !key.starts_with("on"),
            "{element:?}"
        );
        assert!(key == "xmlns" || !value.contains("//"), "{element:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_process_calls_itself_is_no_markup() {
    let evil = r"</td><script src='//evil.example/x.js'></script>|<img onerror=x>";
    let origin = Origin::start(move |_| async move {
        let info = format!("cache_build_info{{version=\"1\",revision=\"{evil}\",rustc=\"1\"}} 1\n");
        Response::builder().header("content-type", "text/plain; version=0.0.4").body(full(info)).unwrap()
    })
    .await;
    let prometheus = Prometheus::start(&[origin.address]);
    let file = prometheus.file("page.html");
    let report = prometheus.eventually(0, "Measured", &["report", "--for", "10s", "--html", &file]);
    assert!(report.out.contains(r"\<script src='//evil.example/x.js'\>\</script\>\|\<img"), "{}", report.out);
    // Nobody asked for anything, and that is what it says.
    assert!(report.out.contains("## Responses\n\nNo traffic.\n") && !report.out.contains("NaN"), "{}", report.out);
    let page = std::fs::read_to_string(&file).unwrap();
    assert!(page.contains("&lt;script src=&apos;//evil.example/x.js&apos;&gt;"), "{page}");
    assert!(
        !page.contains("<script") && !page.contains("<img") && page.contains("Nothing was there to draw."),
        "{page}"
    );
}
