use std::hash::{BuildHasher, DefaultHasher, Hasher, RandomState};

/// A tag as entries carry it: a digest keyed at random, so that nobody can choose tags that are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Tag(pub(super) u64);

/// Makes tags. What is tagged has a kind, so that a tag given by name never means a path or a partition.
#[derive(Clone, Debug)]
pub(crate) struct Tags(RandomState);

impl Tags {
    /// Deeper paths share the tag of their prefix of this many segments.
    const MAX_DEPTH: usize = 8;

    pub(super) fn new() -> Self {
        Self(RandomState::new())
    }

    fn tag(&self, kind: u8, host: &str, name: &str) -> Tag {
        self.digest(|hash| {
            hash.write_u8(kind);
            write_host(hash, host);
            hash.write(name.as_bytes());
        })
    }

    fn digest(&self, write: impl FnOnce(&mut DefaultHasher)) -> Tag {
        let mut hash = self.0.build_hasher();
        write(&mut hash);
        Tag(hash.finish())
    }

    /// Carried by every entry.
    pub(crate) fn everything(&self) -> Tag {
        self.tag(b'*', "", "")
    }

    /// A tag given by name.
    pub(crate) fn name(&self, name: &str) -> Tag {
        self.tag(b't', "", name)
    }

    /// All entries of a partition.
    pub(crate) fn partition(&self, name: &str) -> Tag {
        self.tag(b'p', "", name)
    }

    /// All entries of a URL. An empty host stands for every host.
    pub(crate) fn url(&self, host: &str, path: &str, query: &str) -> Tag {
        self.digest(|hash| {
            hash.write_u8(b'u');
            write_host(hash, host);
            hash.write(path.as_bytes());
            hash.write_u8(b'?');
            write_sorted(hash, query);
        })
    }

    /// All URLs whose path begins with these segments. An empty host stands for every host.
    pub(crate) fn prefix(&self, host: &str, prefix: &str) -> Tag {
        let segments: Vec<&str> = segments(prefix).take(Self::MAX_DEPTH).collect();
        self.tag(b'/', host, &segments.join("/"))
    }

    /// The tags that an entry of this URL carries without being told, with and without its host.
    pub(crate) fn implicit(&self, host: &str, path: &str, query: &str) -> Vec<Tag> {
        let mut tags = vec![self.everything()];
        let hosts = [host, ""];
        for host in if host.is_empty() { &hosts[1..] } else { &hosts[..] } {
            tags.push(self.url(host, path, query));
            let mut prefix = String::with_capacity(path.len());
            tags.push(self.tag(b'/', host, &prefix));
            for segment in segments(path).take(Self::MAX_DEPTH) {
                if !prefix.is_empty() {
                    prefix.push('/');
                }
                prefix.push_str(segment);
                tags.push(self.tag(b'/', host, &prefix));
            }
        }
        tags
    }
}

fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|segment| !segment.is_empty())
}

/// In lower case and without a default port, ended so that it cannot run into what follows.
fn write_host(hash: &mut DefaultHasher, host: &str) {
    let host = host.strip_suffix(":80").or_else(|| host.strip_suffix(":443")).unwrap_or(host);
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        hash.write(host.to_ascii_lowercase().as_bytes());
    } else {
        hash.write(host.as_bytes());
    }
    hash.write_u8(b'/');
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
            tags.everything(),
            tags.url("example.com", "/a/b/c", "x=1&y=2"),
            tags.url("", "/a/b/c", "y=2&x=1"),
            tags.prefix("example.com", "/a/b"),
            tags.prefix("", "/a/b/"),
            tags.prefix("", "/"),
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
    fn paths_deeper_than_the_limit_are_found_by_their_beginning() {
        let tags = Tags::new();
        let path = "/a".repeat(30);
        assert!(tags.implicit("h", &path, "").len() <= 2 * (Tags::MAX_DEPTH + 2) + 1);
        assert!(tags.implicit("h", &path, "").contains(&tags.prefix("h", &path)));
    }
}
