use std::borrow::Cow;
use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState};

/// A tag as entries carry it: a digest keyed at random, so that nobody can choose tags that are alike. Two that are alike
/// fall together, which costs a fetch: with 32 bits, an invalidation meets one foreign entry in some hundred million.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tag(u32);

impl Tag {
    /// Carried by every entry, without being written down in each.
    pub(crate) const EVERYTHING: Self = Self(0);

    /// The bytes of a tag.
    pub(crate) const LEN: usize = 4;

    pub(crate) fn to_bytes(self) -> [u8; Self::LEN] {
        self.0.to_be_bytes()
    }

    pub(crate) fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(u32::from_be_bytes(bytes))
    }

    /// A digest, or those of a host and of what is there with exclusive or between them: each is as good as random.
    fn of(digest: u64) -> Self {
        let [a, b, c, d, ..] = digest.to_be_bytes();
        // Only that of everything is zero.
        Self(u32::from_be_bytes([a, b, c, d]).max(u32::from(digest != 0)))
    }

    /// A part of the digest that picks a place.
    pub(super) fn place(self) -> u16 {
        let [.., high, low] = self.0.to_be_bytes();
        u16::from_be_bytes([high, low])
    }
}

impl Hash for Tag {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        // 32 bits, spread over all.
        hasher.write_u64(u64::from(self.0).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    }
}

/// Makes tags. What is tagged has a kind, so that a tag given by name never means a path or a partition.
#[derive(Clone, Debug)]
pub(crate) struct Tags(RandomState);

impl Tags {
    /// Deeper paths share the tag of their prefix of this many segments.
    const MAX_DEPTH: usize = 8;

    pub(super) fn new() -> Self {
        Self(RandomState::new())
    }

    /// A tag given by name.
    pub(crate) fn name(&self, name: &str) -> Tag {
        Tag::of(self.digest(name, b't'))
    }

    /// All entries of a partition.
    pub(crate) fn partition(&self, name: &str) -> Tag {
        Tag::of(self.digest(name, b'p'))
    }

    /// All entries of a URL. An empty host stands for every host.
    pub(crate) fn url(&self, host: &str, path: &str, query: &str) -> Tag {
        let mut hash = self.0.build_hasher();
        hash.write(canonical(host).as_bytes());
        hash.write(path.as_bytes());
        if !query.is_empty() {
            hash.write_u8(b'?');
            write_sorted(&mut hash, query);
        }
        hash.write_u8(b'u');
        Tag::of(hash.finish())
    }

    /// All URLs whose path begins with these segments. An empty host stands for every host.
    pub(crate) fn prefix(&self, host: &str, prefix: &str) -> Tag {
        Tag::of(self.host(host) ^ self.prefixes(prefix).last().unwrap_or_default())
    }

    /// The tags that an entry of this URL carries without being told, with and without its host.
    pub(crate) fn implicit(&self, host: &str, path: &str, query: &str) -> Vec<Tag> {
        let mut tags = Vec::with_capacity(16);
        tags.push(self.url("", path, query));
        let digest = self.host(host);
        if digest != 0 {
            tags.extend([self.url(host, path, query), Tag::of(digest)]);
        }
        for prefix in self.prefixes(path) {
            tags.push(Tag::of(prefix));
            if digest != 0 {
                tags.push(Tag::of(digest ^ prefix));
            }
        }
        tags
    }

    /// What kind of name it is comes last: no name of one kind can be written as one of another.
    fn digest(&self, name: &str, kind: u8) -> u64 {
        let mut hash = self.0.build_hasher();
        hash.write(name.as_bytes());
        hash.write_u8(kind);
        hash.finish()
    }

    /// Of a host; zero if it is empty.
    fn host(&self, host: &str) -> u64 {
        let mut hash = self.0.build_hasher();
        hash.write(canonical(host).as_bytes());
        hash.write_u8(b'h');
        if host.is_empty() { 0 } else { hash.finish() }
    }

    /// Of the beginnings of a path, shortest first, without that of no segment: its digest is zero.
    fn prefixes(&self, path: &str) -> impl Iterator<Item = u64> {
        let mut hash = self.0.build_hasher();
        let segments = path.split('/').filter(|segment| !segment.is_empty());
        segments.take(Self::MAX_DEPTH).map(move |segment| {
            hash.write(segment.as_bytes());
            hash.write_u8(b'/');
            hash.finish()
        })
    }
}

/// A host in lower case and without a default port.
fn canonical(host: &str) -> Cow<'_, str> {
    lower_case(host.strip_suffix(":80").or_else(|| host.strip_suffix(":443")).unwrap_or(host))
}

/// A host in lower case, which it mostly is.
pub(crate) fn lower_case(host: &str) -> Cow<'_, str> {
    // Not `any`: the compiler looks at many bytes at a time if it may look at all of them.
    let upper = host.bytes().fold(false, |upper, byte| upper | byte.is_ascii_uppercase());
    if upper { host.to_ascii_lowercase().into() } else { host.into() }
}

/// Parameters in one order, whatever order they are in.
fn write_sorted(hash: &mut DefaultHasher, query: &str) {
    if !query.contains('&') {
        hash.write(query.as_bytes());
        return;
    }
    let mut parameters: Vec<&str> = query.split('&').filter(|parameter| !parameter.is_empty()).collect();
    parameters.sort_unstable();
    hash.write(parameters.join("&").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_carries_the_tags_by_which_it_is_purged() {
        let tags = Tags::new();
        let carried = tags.implicit("Example.com:443", "/a/b/c", "y=2&x=1");
        for tag in [
            tags.url("example.com", "/a/b/c", "x=1&y=2"),
            tags.url("", "/a/b/c", "y=2&x=1"),
            tags.prefix("example.com", "/a/b"),
            tags.prefix("", "/a/b/"),
            tags.prefix("example.com", ""),
            tags.prefix("", "/a/b/c"),
        ] {
            assert!(carried.contains(&tag));
        }
        for tag in [tags.prefix("", "/a/bc"), tags.prefix("", "/a/b/c/d"), tags.url("", "/a/b/c", ""), tags.name("*")] {
            assert!(!carried.contains(&tag));
        }
    }

    #[test]
    fn a_tag_survives_as_bytes() {
        let tag = Tags::new().name("a");
        assert_eq!(Tag::from_bytes(tag.to_bytes()), tag);
        assert_ne!(tag, Tag::EVERYTHING);
    }

    #[test]
    fn paths_deeper_than_the_limit_are_found_by_their_beginning() {
        let tags = Tags::new();
        let path = "/a".repeat(30);
        assert!(tags.implicit("h", &path, "").len() <= 2 * (Tags::MAX_DEPTH + 1) + 1);
        assert_eq!(tags.prefix("", "/"), Tag::EVERYTHING);
        assert!(tags.implicit("h", &path, "").contains(&tags.prefix("h", &path)));
    }
}
