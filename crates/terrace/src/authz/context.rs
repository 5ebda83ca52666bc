//! What an authorizer may decide by, beside who wants to do what.

use std::fmt;
use std::sync::Arc;

/// Attributes of a request that an [`Authorizer`](super::Authorizer) may decide by: the caller's address, the kind of
/// device, the hour of the day. Names and their values, each name once, in the order of the names.
///
/// The application says what they are, never the client: middleware of its own puts a `Context` into the extensions of the
/// request, around the layer that requires something, or the requirement has one
/// ([`Requirement::context`](super::Requirement::context)). A [`PermissionSource`](super::PermissionSource) does not see
/// them. `Debug` shows neither names nor values.
///
/// Where decisions are cached, each different context is a question of its own: an hour answers many requests alike, the
/// time in milliseconds none.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Context(Arc<[Pair]>);

type Pair = (Box<str>, Box<str>);

impl Context {
    /// More pairs than these are not accepted.
    pub const MAX_PAIRS: usize = 32;
    /// More bytes than these, of names and values together, are not accepted.
    pub const MAX_BYTES: usize = 4096;

    /// Of names and their values, in any order.
    ///
    /// # Errors
    ///
    /// If there are more of them than are accepted, a name is empty, or one occurs twice. What comes after the first that
    /// is too much is not looked at.
    pub fn new<N: Into<Box<str>>, V: Into<Box<str>>>(
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Self, InvalidContext> {
        let (mut all, mut bytes) = (Vec::new(), 0);
        for (name, value) in pairs {
            let (name, value): Pair = (name.into(), value.into());
            bytes += name.len() + value.len();
            if name.is_empty() {
                return Err(InvalidContext::Unnamed);
            }
            if all.len() == Self::MAX_PAIRS {
                return Err(InvalidContext::TooMany);
            }
            if bytes > Self::MAX_BYTES {
                return Err(InvalidContext::TooLong);
            }
            all.push((name, value));
        }
        all.sort_unstable();
        let repeats = all.windows(2).any(|pairs| pairs[0].0 == pairs[1].0);
        if repeats { Err(InvalidContext::Repeated) } else { Ok(Self(all.into())) }
    }

    /// The value of a name, if it has one.
    pub fn get(&self, name: &str) -> Option<&str> {
        let place = self.0.binary_search_by(|(own, _)| (**own).cmp(name)).ok()?;
        Some(&self.0[place].1)
    }

    /// All names with their values, in the order of the names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// Whether there is nothing in it, which is the default.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// With what another one has too. Where both have a name, this one's value counts.
    pub(super) fn and(&self, other: &Self) -> Self {
        if other.is_empty() {
            return self.clone();
        }
        let more = other.0.iter().filter(|(name, _)| self.get(name).is_none());
        let mut all: Vec<Pair> = self.0.iter().chain(more).cloned().collect();
        all.sort_unstable();
        Self(all.into())
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Context(*** {})", self.0.len())
    }
}

/// Why some names and values are no [`Context`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidContext {
    /// There are more than [`Context::MAX_PAIRS`].
    TooMany,
    /// They have more than [`Context::MAX_BYTES`].
    TooLong,
    /// A name is empty.
    Unnamed,
    /// A name occurs twice.
    Repeated,
}

impl fmt::Display for InvalidContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany => write!(f, "a context accepts at most {} pairs", Context::MAX_PAIRS),
            Self::TooLong => write!(f, "a context accepts at most {} bytes of names and values", Context::MAX_BYTES),
            Self::Unnamed => f.write_str("a context accepts no empty name"),
            Self::Repeated => f.write_str("a context accepts each name once"),
        }
    }
}

impl std::error::Error for InvalidContext {}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> Context {
        Context::new(pairs.iter().copied()).unwrap()
    }

    #[test]
    fn the_order_makes_no_difference_and_what_is_in_it_is_found_and_not_shown() {
        let (one, other) =
            (of(&[("hour", "9"), ("address", "10.0.0.1")]), of(&[("address", "10.0.0.1"), ("hour", "9")]));
        assert_eq!(one, other);
        assert_eq!(one.iter().collect::<Vec<_>>(), [("address", "10.0.0.1"), ("hour", "9")]);
        assert_eq!((one.get("hour"), one.get("hou"), one.get("")), (Some("9"), None, None));
        assert_eq!(format!("{one:?}"), "Context(*** 2)");
        assert!(Context::default().is_empty() && !one.is_empty());
    }

    #[test]
    fn what_is_too_much_or_ambiguous_is_refused_and_not_read_to_its_end() {
        let refused = |pairs: &[(&str, &str)]| Context::new(pairs.iter().copied()).unwrap_err();
        assert_eq!(refused(&[("", "x")]), InvalidContext::Unnamed);
        assert_eq!(refused(&[("a", "1"), ("b", "2"), ("a", "1")]), InvalidContext::Repeated);
        let endless = (0_u64..).map(|at| (at.to_string(), ""));
        assert_eq!(Context::new(endless).unwrap_err(), InvalidContext::TooMany);
        let longest = "x".repeat(Context::MAX_BYTES - 1);
        assert_eq!(refused(&[("a", &format!("{longest}x"))]), InvalidContext::TooLong);
        assert_eq!(of(&[("a", &longest)]).get("a").map(str::len), Some(4095));
        let error = InvalidContext::TooMany.to_string();
        assert_eq!(error, "a context accepts at most 32 pairs");
    }

    #[test]
    fn of_two_the_first_one_counts_where_both_have_a_name() {
        let (own, more) = (of(&[("b", "own"), ("c", "1")]), of(&[("a", "2"), ("b", "other")]));
        assert_eq!(own.and(&more), of(&[("a", "2"), ("b", "own"), ("c", "1")]));
        assert_eq!(own.and(&Context::default()), own);
        assert_eq!(Context::default().and(&more), more);
    }
}
