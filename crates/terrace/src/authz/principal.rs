//! Who asks.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

/// The name of [`Tenant::single`].
pub(super) const SINGLE_TENANT: &str = "single";

/// A name that is not empty and at most this long.
const MAX_BYTES: usize = 256;

/// Why a text names no tenant or subject: it is empty, or longer than 256 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidName {
    what: &'static str,
    bytes: usize,
}

impl fmt::Display for InvalidName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, bytes } = self;
        write!(f, "a {what} has {bytes} bytes, but accepts 1 to {MAX_BYTES}")
    }
}

impl std::error::Error for InvalidName {}

macro_rules! name {
    ($(#[$about:meta])* $type:ident, $what:literal) => {
        $(#[$about])*
        ///
        /// 1 to 256 bytes, compared byte by byte: nothing is trimmed, folded or normalised. `Debug` does not show it.
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(Arc<str>);

        impl $type {
            /// Takes a name as it is.
            ///
            /// # Errors
            ///
            /// If it is empty or longer than 256 bytes.
            pub fn new(name: impl AsRef<str>) -> Result<Self, InvalidName> {
                let name = name.as_ref();
                let bytes = name.len();
                if (1..=MAX_BYTES).contains(&bytes) {
                    Ok(Self(name.into()))
                } else {
                    Err(InvalidName { what: $what, bytes })
                }
            }

            /// The name.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($type), "(***)"))
            }
        }

        impl TryFrom<&str> for $type {
            type Error = InvalidName;

            fn try_from(name: &str) -> Result<Self, InvalidName> {
                Self::new(name)
            }
        }

        /// For parameters of paths, `Path<(Tenant, Subject)>`, and bodies in JSON. What is no name is an error.
        #[cfg(feature = "axum")]
        impl<'de> serde_core::Deserialize<'de> for $type {
            fn deserialize<D: serde_core::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                struct Name;

                impl serde_core::de::Visitor<'_> for Name {
                    type Value = $type;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        write!(f, concat!("the name of a ", $what, ", 1 to {} bytes"), MAX_BYTES)
                    }

                    fn visit_str<E: serde_core::de::Error>(self, name: &str) -> Result<$type, E> {
                        $type::new(name).map_err(E::custom)
                    }
                }

                from.deserialize_str(Name)
            }
        }
    };
}

name! {
    /// The tenant (organisation, account, workspace) in which somebody asks.
    Tenant, "tenant"
}

name! {
    /// The user, service or device that asks, unique within its tenant.
    Subject, "subject"
}

impl Tenant {
    /// The only tenant of an application that has no tenants. To be chosen, never fallen back to: a caller whose tenant is
    /// not known is [`IdentityError::Missing`].
    pub fn single() -> Self {
        Self(SINGLE_TENANT.into())
    }
}

/// Exactly what facts are cached by: a source that needs more would answer one caller with another's facts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Who {
    /// The tenant in which somebody asks.
    pub tenant: Tenant,
    /// Who that is.
    pub subject: Subject,
}

/// A caller who has proven who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// Tenant and subject.
    pub who: Who,
    /// When the credential ends (`exp` of a token): from then on it is [`IdentityError::Expired`], whatever is cached.
    /// `None` for one that does not end.
    pub valid_until: Option<SystemTime>,
    /// What the credential is limited to, as permissions without `*`: the caller may do what is granted *and* is listed
    /// here. Empty for a credential that limits nothing; a token that may do nothing at all is no credential.
    pub scopes: Arc<[Box<str>]>,
}

impl Principal {
    /// Somebody whose credential neither ends nor limits anything, such as a session of the application's own.
    pub fn new(who: Who) -> Self {
        Self { who, valid_until: None, scopes: Arc::default() }
    }
}

/// What is known of a caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// No credential, and none is needed to be served what everybody may see. A layer that requires a permission answers
    /// 401; nothing is ever stored about it.
    Anonymous,
    /// A caller who has proven who they are.
    Known(Principal),
}

/// Why it is not known who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IdentityError {
    /// There is no credential, or it names no tenant: 401.
    Missing,
    /// It is malformed, forged or not ours: 401.
    Invalid,
    /// It has ended: 401.
    Expired,
    /// Whoever can tell cannot be reached: 503.
    Unavailable,
}

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "no credential that names tenant and subject",
            Self::Invalid => "the credential is not valid",
            Self::Expired => "the credential has ended",
            Self::Unavailable => "who could tell whose the credential is cannot be reached",
        })
    }
}

impl std::error::Error for IdentityError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_neither_empty_nor_long_and_are_not_shown() {
        assert_eq!(Tenant::new("").unwrap_err().to_string(), "a tenant has 0 bytes, but accepts 1 to 256");
        assert!(Subject::new("x".repeat(257)).is_err());
        let subject = Subject::new("x".repeat(256)).unwrap();
        assert_eq!(subject.as_str().len(), 256);
        let who = Who { tenant: Tenant::new("acme-corp").unwrap(), subject: Subject::new("alice").unwrap() };
        let shown = format!("{:?}", Principal::new(who));
        assert!(!shown.contains("acme") && !shown.contains("alice"), "{shown}");
    }

    #[test]
    fn names_are_compared_as_they_are() {
        let subjects = ["alice", "Alice", " alice", "alice ", "alic\u{e9}", "alice\u{301}"]
            .map(|name| Subject::new(name).unwrap());
        for (at, one) in subjects.iter().enumerate() {
            assert!(subjects[at + 1..].iter().all(|other| one != other));
        }
    }
}
