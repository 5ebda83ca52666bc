use crate::store::remote::TagName;
use sha2::{Digest as _, Sha256};
use std::borrow::Cow;
use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState};

/// A tag, as a digest of what is tagged.
///
/// In a store of one process, 32 bits of a digest keyed at random, so that nobody can choose tags that are alike. Two
/// that are alike fall together, which costs a fetch: an invalidation meets one foreign entry in some hundred million.
///
/// In a store that processes share, 128 bits of a digest that all of them compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Tag(u128);

impl Tag {
    /// Carried by every entry, without being written down in each.
    pub(crate) const EVERYTHING: Self = Self(0);

    /// As processes share it.
    pub(crate) fn name(self) -> TagName {
        TagName(self.0.to_be_bytes())
    }

    pub(crate) fn named(name: TagName) -> Self {
        Self(u128::from_be_bytes(name.0))
    }

    /// Writes it as an entry of a store with these tags keeps it.
    pub(crate) fn write(self, tags: &Tags, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.0.to_be_bytes()[16 - tags.width()..]);
    }

    /// The reverse of [`write`](Self::write).
    pub(crate) fn read(bytes: &[u8]) -> Self {
        Self(bytes.iter().fold(0, |digest, byte| digest << 8 | u128::from(*byte)))
    }
}

/// A tag as this process looks it up: 32 bits, keyed at random in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Short(u32);

impl Short {
    /// A part that picks a place.
    pub(super) fn place(self) -> u16 {
        let [.., high, low] = self.0.to_be_bytes();
        u16::from_be_bytes([high, low])
    }
}

impl Hash for Short {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        // 32 bits, spread over all.
        hasher.write_u64(u64::from(self.0).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    }
}

/// Makes tags. What is tagged has a kind, so that a tag given by name never means a path or a partition.
#[derive(Clone, Debug)]
pub(crate) struct Tags {
    /// One for each kind.
    keys: [RandomState; 7],
    shared: bool,
}

/// What is tagged.
#[derive(Clone, Copy)]
enum Kind {
    Name,
    Partition,
    Host,
    /// A host, a path and a query.
    Resource,
    /// The beginning of a path.
    Prefix,
    /// Whose facts and responses they are.
    Tenant,
    /// The same, of one subject in a tenant.
    Subject,
}

impl Kind {
    /// What tells it from the others where processes share tags.
    fn byte(self) -> u8 {
        b"tphu/os"[self as usize]
    }
}

impl Tags {
    /// Deeper paths share the tag of their prefix of this many segments.
    const MAX_DEPTH: usize = 8;

    /// For a store of this process alone.
    pub(super) fn alone() -> Self {
        Self { keys: Default::default(), shared: false }
    }

    /// For a store that processes share.
    pub(in crate::store) fn shared() -> Self {
        Self { keys: Default::default(), shared: true }
    }

    /// The bytes of a tag in an entry.
    pub(crate) fn width(&self) -> usize {
        if self.shared { 16 } else { 4 }
    }

    pub(super) fn short(&self, tag: Tag) -> Short {
        let keyed = self.shared && tag != Tag::EVERYTHING;
        let digest: u128 = if keyed { self.keys[Kind::Name as usize].hash_one(tag.0).into() } else { tag.0 };
        let [.., a, b, c, d] = digest.to_be_bytes();
        Short(u32::from_be_bytes([a, b, c, d]))
    }

    /// A tag given by name.
    pub(crate) fn name(&self, name: &str) -> Tag {
        self.tag(self.digest(name.as_bytes(), Kind::Name))
    }

    /// All entries of a partition.
    pub(crate) fn partition(&self, name: &str) -> Tag {
        self.tag(self.digest(name.as_bytes(), Kind::Partition))
    }

    /// All that is stored about a tenant.
    pub(crate) fn tenant(&self, tenant: &str) -> Tag {
        self.tag(self.digest(tenant.as_bytes(), Kind::Tenant))
    }

    /// All that is stored about a subject of a tenant.
    pub(crate) fn subject(&self, tenant: &str, subject: &str) -> Tag {
        let mut hash = self.begin(Kind::Subject);
        // Their length first, so that no two pairs are written alike.
        hash.write(&u32::try_from(tenant.len()).unwrap_or(u32::MAX).to_be_bytes());
        hash.write(tenant.as_bytes());
        hash.write(subject.as_bytes());
        self.tag(hash.finish())
    }

    /// All entries of a URL. An empty host stands for every host.
    pub(crate) fn url(&self, host: &str, path: &str, query: &str) -> Tag {
        self.tag(self.resource(&canonical(host.as_bytes()), path.as_bytes(), query.as_bytes()))
    }

    /// All URLs whose path begins with these segments. An empty host stands for every host.
    pub(crate) fn prefix(&self, host: &str, prefix: &str) -> Tag {
        self.tag(self.host(&canonical(host.as_bytes())) ^ self.prefixes(prefix.as_bytes()).last().unwrap_or_default())
    }

    /// The tags that an entry of this URL carries without being told, with and without its host.
    pub(crate) fn implicit(&self, host: &[u8], path: &[u8], query: &[u8]) -> Vec<Tag> {
        let mut tags = Vec::with_capacity(16);
        tags.push(self.tag(self.resource(b"", path, query)));
        let host = canonical(host);
        let digest = self.host(&host);
        if digest != 0 {
            tags.extend([self.tag(self.resource(&host, path, query)), self.tag(digest)]);
        }
        for prefix in self.prefixes(path) {
            tags.push(self.tag(prefix));
            if digest != 0 {
                tags.push(self.tag(digest ^ prefix));
            }
        }
        tags
    }

    /// From a digest, or those of a host and of what is there with exclusive or between them: each is as good as random.
    fn tag(&self, digest: u128) -> Tag {
        let kept = if self.shared { digest } else { digest & u128::from(u32::MAX) };
        // Only that of everything is zero.
        Tag(kept.max(u128::from(digest != 0)))
    }

    fn begin(&self, kind: Kind) -> Digest {
        if self.shared {
            Digest::Shared(Box::default(), kind)
        } else {
            Digest::Alone(self.keys[kind as usize].build_hasher())
        }
    }

    fn digest(&self, name: &[u8], kind: Kind) -> u128 {
        let mut hash = self.begin(kind);
        hash.write(name);
        hash.finish()
    }

    /// Of a canonical host; zero if it is empty.
    fn host(&self, host: &[u8]) -> u128 {
        if host.is_empty() { 0 } else { self.digest(host, Kind::Host) }
    }

    fn resource(&self, host: &[u8], path: &[u8], query: &[u8]) -> u128 {
        let mut hash = self.begin(Kind::Resource);
        hash.write(host);
        hash.write(path);
        if !query.is_empty() {
            hash.write(b"?");
            write_sorted(&mut hash, query);
        }
        hash.finish()
    }

    /// Of the beginnings of a path, shortest first, without that of no segment: its digest is zero.
    fn prefixes(&self, path: &[u8]) -> impl Iterator<Item = u128> {
        let mut hash = self.begin(Kind::Prefix);
        let segments = path.split(|byte| *byte == b'/').filter(|segment| !segment.is_empty());
        segments.take(Self::MAX_DEPTH).map(move |segment| {
            hash.write(segment);
            hash.write(b"/");
            hash.finish()
        })
    }
}

/// A digest in the making.
enum Digest {
    Alone(DefaultHasher),
    Shared(Box<Sha256>, Kind),
}

impl Digest {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        match self {
            Self::Alone(hash) => hash.write(bytes),
            Self::Shared(hash, _) => hash.update(bytes),
        }
    }

    /// Of what was written so far. Its kind is in the key or comes last: no name of one kind can be written as one of
    /// another.
    #[inline]
    fn finish(&self) -> u128 {
        match self {
            Self::Alone(hash) => hash.finish().into(),
            Self::Shared(hash, kind) => {
                let digest = hash.as_ref().clone().chain_update([kind.byte()]).finalize();
                let (front, _) = digest.split_at(16);
                front.iter().fold(0, |digest, byte| digest << 8 | u128::from(*byte))
            }
        }
    }
}

/// A host in lower case and without a default port.
pub(crate) fn canonical(host: &[u8]) -> Cow<'_, [u8]> {
    let host = host.strip_suffix(b":80").or_else(|| host.strip_suffix(b":443")).unwrap_or(host);
    if has_upper_case(host) { host.to_ascii_lowercase().into() } else { host.into() }
}

/// A host in lower case, which it mostly is.
pub(crate) fn lower_case(host: &str) -> Cow<'_, str> {
    if has_upper_case(host.as_bytes()) { host.to_ascii_lowercase().into() } else { host.into() }
}

fn has_upper_case(text: &[u8]) -> bool {
    // Not `any`: the compiler looks at many bytes at a time if it may look at all of them.
    text.iter().fold(false, |upper, byte| upper | byte.is_ascii_uppercase())
}

/// Parameters in one order, whatever order they are in.
fn write_sorted(hash: &mut Digest, query: &[u8]) {
    if !query.contains(&b'&') {
        hash.write(query);
        return;
    }
    let parameters = query.split(|byte| *byte == b'&').filter(|parameter| !parameter.is_empty());
    let mut parameters: Vec<&[u8]> = parameters.collect();
    parameters.sort_unstable();
    hash.write(&parameters.join(&b'&'));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both() -> [Tags; 2] {
        [Tags::alone(), Tags::shared()]
    }

    #[test]
    fn an_entry_carries_the_tags_by_which_it_is_purged() {
        for tags in both() {
            let carried = tags.implicit(b"Example.com:443", b"/a/b/c", b"y=2&x=1");
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
            let others =
                [tags.prefix("", "/a/bc"), tags.prefix("", "/a/b/c/d"), tags.url("", "/a/b/c", ""), tags.name("*")];
            assert!(others.iter().all(|tag| !carried.contains(tag)));
        }
    }

    #[test]
    fn a_tag_survives_in_an_entry_and_among_processes() {
        for tags in both() {
            let (tag, mut bytes) = (tags.name("a"), Vec::new());
            tag.write(&tags, &mut bytes);
            assert_eq!(bytes.len(), tags.width());
            assert_eq!(Tag::read(&bytes), tag);
            assert_eq!(Tag::named(tag.name()), tag);
            assert_ne!(tag, Tag::EVERYTHING);
        }
    }

    #[test]
    fn processes_that_share_a_store_agree_on_tags_and_others_do_not() {
        let [one, other] = [Tags::shared(), Tags::shared()];
        assert_eq!(one.implicit(b"h", b"/a/b", b"c=d"), other.implicit(b"h", b"/a/b", b"c=d"));
        assert_ne!(one.short(one.name("a")), other.short(other.name("a")));
        assert_ne!(Tags::alone().name("a"), Tags::alone().name("a"));
    }

    #[test]
    fn paths_deeper_than_the_limit_are_found_by_their_beginning() {
        for tags in both() {
            let path = "/a".repeat(30);
            assert!(tags.implicit(b"h", path.as_bytes(), b"").len() <= 2 * (Tags::MAX_DEPTH + 1) + 1);
            assert_eq!(tags.prefix("", "/"), Tag::EVERYTHING);
            assert!(tags.implicit(b"h", path.as_bytes(), b"").contains(&tags.prefix("h", &path)));
        }
    }
}
