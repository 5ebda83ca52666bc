//! What comes of a check.

use super::grants::SourceVersion;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

/// Whether somebody may do something. There is no third answer: whoever cannot decide is [`Unavailable`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use = "a decision that nobody looks at protects nothing"]
pub enum Decision {
    /// Yes.
    Allow,
    /// No.
    Deny(DenyReason),
}

impl Decision {
    /// Whether it is [`Decision::Allow`].
    pub fn is_allow(self) -> bool {
        self == Self::Allow
    }
}

/// Why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DenyReason {
    /// The complete set of permissions does not have it.
    NotGranted,
    /// It is denied explicitly.
    Denied,
    /// It is granted, but the credential is limited to other things.
    InsufficientScope,
    /// The request is about another tenant than the caller's.
    TenantMismatch,
    /// The credential has ended since the caller was identified. A layer answers 401.
    CredentialEnded,
}

impl DenyReason {
    /// The word in logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotGranted => "not_granted",
            Self::Denied => "denied",
            Self::InsufficientScope => "insufficient_scope",
            Self::TenantMismatch => "tenant_mismatch",
            Self::CredentialEnded => "credential_ended",
        }
    }
}

/// There is no decision. Answered with 503, never with 403, and never stored.
#[derive(Clone, Debug)]
pub struct Unavailable {
    reason: UnavailableReason,
    source: Option<Arc<dyn StdError + Send + Sync>>,
    /// What the source has, where that is not what was asked for.
    version: Option<SourceVersion>,
}

/// Why there is no decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UnavailableReason {
    /// The source of permissions, or the authorizer, failed.
    Source,
    /// It did not answer in time.
    Timeout,
    /// It panicked.
    Panic,
    /// It had no place for one more call in time.
    Shed,
    /// The set of permissions is partial, does not have the permission, and there is no authorizer.
    Undecided,
    /// The source answers with an older version than was asked for.
    Behind,
    /// The source answers with permissions that have ended.
    Ended,
    /// The route does not have the parameter that the requirement names.
    Parameter,
    /// There is no runtime to ask the source in.
    Runtime,
}

impl UnavailableReason {
    /// The word in logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Timeout => "timeout",
            Self::Panic => "panic",
            Self::Shed => "shed",
            Self::Undecided => "undecided",
            Self::Behind => "behind",
            Self::Ended => "ended",
            Self::Parameter => "parameter",
            Self::Runtime => "runtime",
        }
    }
}

impl Unavailable {
    pub(super) fn source(error: impl StdError + Send + Sync + 'static) -> Self {
        Self { source: Some(Arc::new(error)), ..UnavailableReason::Source.into() }
    }

    /// The source answers with this version.
    pub(super) fn behind(version: Option<SourceVersion>) -> Self {
        Self { version, ..UnavailableReason::Behind.into() }
    }

    /// Whether it tells who demands this version something: not if what the source has is enough for them.
    pub(super) fn is_for(&self, demanded: Option<SourceVersion>) -> bool {
        self.reason != UnavailableReason::Behind || demanded > self.version
    }

    /// Why.
    pub fn reason(&self) -> UnavailableReason {
        self.reason
    }
}

impl From<UnavailableReason> for Unavailable {
    fn from(reason: UnavailableReason) -> Self {
        Self { reason, source: None, version: None }
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.reason {
            UnavailableReason::Source => "the source of permissions failed",
            UnavailableReason::Timeout => "the source of permissions did not answer in time",
            UnavailableReason::Panic => "the source of permissions panicked",
            UnavailableReason::Shed => "too many calls of the source of permissions are under way",
            UnavailableReason::Undecided => "what is known does not decide, and there is no authorizer",
            UnavailableReason::Behind => "the source of permissions is behind the version that is asked for",
            UnavailableReason::Ended => "the source of permissions answered with what has ended",
            UnavailableReason::Parameter => "the route has no parameter of the name that the requirement asks for",
            UnavailableReason::Runtime => "there is no tokio runtime to ask the source of permissions in",
        })
    }
}

impl StdError for Unavailable {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|source| &**source as _)
    }
}
