//! What a subject may do in a tenant.

use super::pattern::{covers, denies, is_pattern, order};
use std::borrow::Cow;
use std::time::SystemTime;

/// One permission that somebody has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Segments with colons between them, such as `invoice:read`. A segment `*` stands for any one segment.
    pub permission: Cow<'static, str>,
    /// Where it comes from, such as a role or a group: for audits.
    pub via: Option<Box<str>>,
    /// When it ends; `None` if it does not.
    pub not_after: Option<SystemTime>,
}

impl Grant {
    /// A permission that does not end.
    pub fn new(permission: impl Into<Cow<'static, str>>) -> Self {
        Self { permission: permission.into(), via: None, not_after: None }
    }

    /// Where it comes from.
    #[must_use]
    pub fn via(mut self, via: impl Into<Box<str>>) -> Self {
        self.via = Some(via.into());
        self
    }

    /// When it ends.
    #[must_use]
    pub fn not_after(mut self, end: SystemTime) -> Self {
        self.not_after = Some(end);
        self
    }

    pub(super) fn is_live(&self, now: &impl Fn() -> SystemTime) -> bool {
        self.not_after.is_none_or(|end| now() < end)
    }
}

impl From<&'static str> for Grant {
    fn from(permission: &'static str) -> Self {
        Self::new(permission)
    }
}

impl From<String> for Grant {
    fn from(permission: String) -> Self {
        Self::new(permission)
    }
}

/// The version of the facts in their source, such as a sequence number or a transaction id. It only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceVersion(pub u64);

/// The permissions of one subject in one tenant, as a source has them.
///
/// What is denied explicitly is denied, whatever else is granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grants {
    pub(super) is_complete: bool,
    /// Without `*`, in order.
    pub(super) exact: Vec<Grant>,
    pub(super) patterns: Vec<Grant>,
    pub(super) denied: Vec<Cow<'static, str>>,
    pub(super) version: Option<SourceVersion>,
    pub(super) not_after: Option<SystemTime>,
}

/// What a set says about one permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing<'a> {
    Granted(&'a Grant),
    /// Explicitly.
    Denied,
    Absent,
}

impl Grants {
    /// More entries than these (grants and denies), and the set is used once and not kept.
    pub const MAX_ENTRIES: usize = 4096;
    /// More bytes than these, encoded, and the set is used once and not kept.
    pub const MAX_BYTES: usize = 48 << 10;

    /// All that the subject may do: what is not here is denied.
    pub fn complete(grants: impl IntoIterator<Item = impl Into<Grant>>) -> Self {
        Self::new(true, grants)
    }

    /// A part of what the subject may do: what is not here is undecided, and asked of the
    /// [`Authorizer`](super::Authorizer).
    pub fn partial(grants: impl IntoIterator<Item = impl Into<Grant>>) -> Self {
        Self::new(false, grants)
    }

    /// A part of which nothing is known.
    pub(super) fn nothing() -> Self {
        Self::partial(Vec::<Grant>::new())
    }

    fn new(is_complete: bool, grants: impl IntoIterator<Item = impl Into<Grant>>) -> Self {
        let all = grants.into_iter().map(Into::into);
        let (patterns, mut exact): (Vec<Grant>, Vec<Grant>) = all.partition(|grant| is_pattern(&grant.permission));
        exact.sort_by(|one, other| one.permission.cmp(&other.permission));
        Self { is_complete, exact, patterns, denied: Vec::new(), version: None, not_after: None }
    }

    /// Denies a permission, in which a segment `*` stands for any one segment too. Of a resource that contains colons, such as
    /// `urn:7`, `*` stands for the whole and also for a part: `invoice:read:urn:7`, `invoice:read:urn:*` and
    /// `invoice:read:*` all deny it.
    #[must_use]
    pub fn deny(mut self, permission: impl Into<Cow<'static, str>>) -> Self {
        self.denied.push(permission.into());
        self
    }

    /// The version of the source that the set is of.
    #[must_use]
    pub fn version(mut self, version: SourceVersion) -> Self {
        self.version = Some(version);
        self
    }

    /// When the whole set ends; none of it is used after that.
    #[must_use]
    pub fn not_after(mut self, end: SystemTime) -> Self {
        self.not_after = Some(end);
        self
    }

    /// Whether what is not here is denied.
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// What is granted, in no particular order.
    pub fn granted(&self) -> impl Iterator<Item = &Grant> {
        self.exact.iter().chain(&self.patterns)
    }

    /// What is denied explicitly.
    pub fn denied(&self) -> impl Iterator<Item = &str> {
        self.denied.iter().map(|permission| &**permission)
    }

    /// The version of the source that the set is of, if it said so.
    pub fn source_version(&self) -> Option<SourceVersion> {
        self.version
    }

    /// What the set says about a permission, or about that permission for one resource.
    pub(super) fn standing(&self, asked: (&str, Option<&str>), now: &impl Fn() -> SystemTime) -> Standing<'_> {
        if self.denied.iter().any(|denied| denies(denied, asked)) {
            return Standing::Denied;
        }
        let first = self.exact.partition_point(|grant| order(&grant.permission, asked).is_lt());
        let exact = self.exact[first..].iter().take_while(|grant| covers(&grant.permission, asked));
        let patterns = self.patterns.iter().filter(|grant| covers(&grant.permission, asked));
        let found = exact.chain(patterns).find(|grant| grant.is_live(now));
        found.map_or(Standing::Absent, Standing::Granted)
    }

    /// Whether another set grants and denies the same permissions, in whatever order and version, wherever they come from
    /// and whenever they end.
    pub(super) fn permits_as(&self, other: &Self) -> bool {
        let names = |set: &Self| {
            let mut granted: Vec<_> = set.granted().map(|grant| grant.permission.clone()).collect();
            let mut denied = set.denied.clone();
            granted.sort_unstable();
            denied.sort_unstable();
            granted.dedup();
            denied.dedup();
            (set.is_complete, granted, denied)
        };
        names(self) == names(other)
    }

    /// When the first of what is live now ends.
    pub(super) fn first_end(&self, now: SystemTime) -> Option<SystemTime> {
        let ends = self.granted().filter_map(|grant| grant.not_after).filter(|end| *end > now);
        ends.chain(self.not_after).min()
    }

    /// Whether the set is small enough to be kept.
    pub(super) fn is_kept(&self) -> bool {
        let entries = self.exact.len() + self.patterns.len() + self.denied.len();
        entries <= Self::MAX_ENTRIES && super::codec::encoded_len(self) <= Self::MAX_BYTES
    }

    /// The memory outside of the set itself.
    pub(super) fn bytes(&self) -> usize {
        let grant = |grant: &Grant| {
            let owned = matches!(grant.permission, Cow::Owned(_));
            let permission = if owned { grant.permission.len() } else { 0 };
            size_of::<Grant>() + permission + grant.via.as_deref().map_or(0, str::len)
        };
        let denied = self.denied.iter().map(|permission| size_of::<Cow<'static, str>>() + permission.len());
        self.granted().map(grant).sum::<usize>() + denied.sum::<usize>()
    }
}
