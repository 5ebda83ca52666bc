//! What a sitemap lists (sitemaps.org, protocol 0.9).

use quick_xml::Reader;
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::{BytesRef, Event};

/// The largest sitemap, unpacked: the protocol's own limit.
pub(crate) const MAX_SITEMAP: usize = 52_428_800;

/// Elements within elements; the protocol needs three.
const MAX_DEPTH: usize = 16;

/// A sitemap, or a list of them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Sitemap {
    Pages(Vec<String>),
    Index(Vec<String>),
}

/// Reads a sitemap. Whatever else is in it, such as the addresses of images, is for others.
///
/// # Errors
///
/// What is wrong, and at which byte.
pub(crate) fn parse(bytes: &[u8]) -> Result<Sitemap, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| format!("not UTF-8: {error}"))?;
    let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}'));
    let mut found = Found::default();
    loop {
        let event = reader.read_event().map_err(|error| format!("byte {}: {error}", reader.error_position()))?;
        if matches!(event, Event::Eof) {
            return found.finish();
        }
        found.take(&event).map_err(|error| format!("byte {}: {error}", reader.buffer_position()))?;
    }
}

#[derive(Default)]
struct Found {
    /// The names of the elements around, without their prefixes.
    path: Vec<String>,
    root: String,
    location: String,
    locations: Vec<String>,
}

impl Found {
    fn take(&mut self, event: &Event<'_>) -> Result<(), String> {
        match event {
            Event::Start(start) => self.enter(start.local_name().into_inner())?,
            Event::End(_) => self.leave(),
            Event::Text(text) if self.is_location() => self.location.push_str(&text.xml10_content()),
            Event::CData(text) if self.is_location() => self.location.push_str(&text.xml10_content()),
            Event::GeneralRef(reference) if self.is_location() => self.location.push_str(&resolve(reference)?),
            _ => {}
        }
        Ok(())
    }

    fn enter(&mut self, name: &str) -> Result<(), String> {
        if self.path.len() == MAX_DEPTH {
            return Err(format!("more than {MAX_DEPTH} elements within one another"));
        }
        if self.path.is_empty() {
            name.clone_into(&mut self.root);
        }
        self.path.push(name.to_owned());
        Ok(())
    }

    fn leave(&mut self) {
        if self.is_location() {
            let location = std::mem::take(&mut self.location);
            self.locations.extend(Some(location.trim()).filter(|text| !text.is_empty()).map(str::to_owned));
        }
        self.path.pop();
    }

    fn is_location(&self) -> bool {
        let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
        matches!(*path, ["urlset", "url", "loc"] | ["sitemapindex", "sitemap", "loc"])
    }

    fn finish(self) -> Result<Sitemap, String> {
        match (self.root.as_str(), self.path.is_empty()) {
            (_, false) => Err("it ends within an element".into()),
            ("urlset", true) => Ok(Sitemap::Pages(self.locations)),
            ("sitemapindex", true) => Ok(Sitemap::Index(self.locations)),
            ("", true) => Err("there is no XML; expected <urlset> or <sitemapindex>".into()),
            (root, true) => Err(format!("it is <{}>; expected <urlset> or <sitemapindex>", root.escape_default())),
        }
    }
}

/// A character, or one of the five names that need no declaration. There are no others, so nothing grows.
fn resolve(reference: &BytesRef<'_>) -> Result<String, String> {
    let unknown = || format!("unknown reference &{};", reference.escape_default());
    match reference.resolve_char_ref() {
        Ok(Some(character)) => Ok(character.into()),
        Ok(None) => resolve_xml_entity(reference).map(str::to_owned).ok_or_else(unknown),
        Err(_) => Err(unknown()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages(text: &str) -> Vec<String> {
        let Ok(Sitemap::Pages(pages)) = parse(text.as_bytes()) else { panic!("{:?}", parse(text.as_bytes())) };
        pages
    }

    #[test]
    fn pages_are_listed_and_images_are_not() {
        let text = r#"<?xml version="1.0" encoding="UTF-8"?>
            <urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9" xmlns:image="http://www.google.com/schemas/sitemap-image/1.1">
              <!-- one --><url><loc> https://shop.example/a?b=1&amp;c=&#50; </loc><lastmod>2026-01-01</lastmod>
                <image:image><image:loc>https://cdn.example/a.jpg</image:loc></image:image></url>
              <url><loc><![CDATA[https://shop.example/b&c]]></loc></url><url><loc/></url>
            </urlset>"#;
        assert_eq!(pages(text), ["https://shop.example/a?b=1&c=2", "https://shop.example/b&c"]);
        assert_eq!(pages("\u{feff}<s:urlset xmlns:s='x'><s:url><s:loc>/a</s:loc></s:url></s:urlset>"), ["/a"]);
    }

    #[test]
    fn an_index_lists_sitemaps() {
        let text = "<sitemapindex><sitemap><loc>https://h/1.xml.gz</loc></sitemap></sitemapindex>";
        assert_eq!(parse(text.as_bytes()), Ok(Sitemap::Index(vec!["https://h/1.xml.gz".into()])));
    }

    #[test]
    fn what_is_no_sitemap_is_refused() {
        let deep = "<urlset>".repeat(1000);
        let bomb = "<!DOCTYPE x [<!ENTITY a 'aaaaaaaa'>]><urlset><url><loc>&a;</loc></url></urlset>";
        for (text, word) in [
            ("", "no XML"),
            ("https://shop.example/a\n", "no XML"),
            ("<html><body/></html>", "it is <html>"),
            ("<urlset><url>", "ends within"),
            ("<urlset><url></urlset>", "byte"),
            (&deep, "more than 16"),
            (bomb, "unknown reference &a;"),
        ] {
            let error = parse(text.as_bytes()).unwrap_err();
            assert!(error.contains(word), "{}: {error}", &text[..text.len().min(40)]);
        }
        assert!(parse(b"<urlset>\xff</urlset>").unwrap_err().contains("UTF-8"));
    }
}
