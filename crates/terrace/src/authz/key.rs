//! What facts are stored under.

use super::principal::{Principal, Tenant, Who};
use crate::store::{KeyBuf, hex};
use sha2::{Digest, Sha256};

/// What distinguishes the encodings of different versions.
const SCHEMA: u8 = 1;

/// What is stored.
#[derive(Clone, Copy)]
#[repr(u8)]
pub(super) enum Kind {
    /// The permissions of a subject.
    Permissions = 1,
}

/// Makes keys: those of one engine begin alike.
#[derive(Debug)]
pub(super) struct Keys {
    prefix: Box<[u8]>,
}

/// What comes before the length of each field, in their order.
const NAMESPACE: u8 = b'n';
const SOURCE: u8 = b's';
const POLICY: u8 = b'p';
const TENANT: u8 = b't';
const SUBJECT: u8 = b'u';
const SCOPE: u8 = b'c';

impl Keys {
    pub(super) fn new(namespace: &str, source: &str, policy: &str) -> Self {
        let mut prefix = KeyBuf::new();
        field(&mut prefix, NAMESPACE, namespace);
        prefix.push(&[SCHEMA, Kind::Permissions as u8]);
        field(&mut prefix, SOURCE, source);
        field(&mut prefix, POLICY, policy);
        Self { prefix: (*prefix).into() }
    }

    /// The key of what somebody may do. No two are encoded alike: each field has its length before it.
    pub(super) fn permissions(&self, who: &Who) -> KeyBuf {
        // All of it: a field that is added has to be a part of the key.
        let Who { tenant, subject } = who;
        let mut key = KeyBuf::new();
        key.push(&self.prefix);
        field(&mut key, TENANT, tenant.as_str());
        field(&mut key, SUBJECT, subject.as_str());
        key
    }
}

/// Stands for a tenant, in what it is revoked by.
pub(super) fn of_tenant(tenant: &Tenant) -> KeyBuf {
    let mut fields = KeyBuf::new();
    field(&mut fields, TENANT, tenant.as_str());
    fields
}

/// The same, for a subject in its tenant.
pub(super) fn of_subject(who: &Who) -> KeyBuf {
    let mut fields = of_tenant(&who.tenant);
    field(&mut fields, SUBJECT, who.subject.as_str());
    fields
}

/// Names what only this caller may see, so that nobody can tell who that is: a digest of who they are and what their
/// credential is limited to.
pub(crate) fn partition(principal: &Principal) -> String {
    let Principal { who: Who { tenant, subject }, valid_until: _, scopes } = principal;
    let mut fields = KeyBuf::new();
    field(&mut fields, TENANT, tenant.as_str());
    field(&mut fields, SUBJECT, subject.as_str());
    // In one order, whatever order they were in.
    let mut scopes: Vec<&str> = scopes.iter().map(|scope| &**scope).collect();
    scopes.sort_unstable();
    for scope in scopes {
        field(&mut fields, SCOPE, scope);
    }
    hex(&Sha256::digest(&*fields))
}

fn field(key: &mut KeyBuf, tag: u8, text: &str) {
    // Longer names than that are not made.
    let len = u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes();
    key.push(&[tag]);
    key.push(&len);
    key.push(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::super::principal::Subject;
    use super::*;
    use proptest::prelude::*;

    type Fields = [String; 5];

    fn encoded([namespace, source, policy, tenant, subject]: &Fields) -> Vec<u8> {
        let who = Who { tenant: Tenant::new(tenant).unwrap(), subject: Subject::new(subject).unwrap() };
        Keys::new(namespace, source, policy).permissions(&who).to_vec()
    }

    /// Few characters, and those that separate fields elsewhere: many texts are alike but for where they end.
    fn fields() -> impl Strategy<Value = Fields> {
        let (free, name) = ("[ab:$/%\\\\\0ns]{0,4}", "[ab:$/%\\\\\0tu]{1,4}");
        (free, free, free, name, name).prop_map(|(a, b, c, d, e)| [a, b, c, d, e])
    }

    proptest! {
        #[test]
        fn no_two_different_inputs_have_one_key(one in fields(), other in fields()) {
            prop_assert_eq!(one == other, encoded(&one) == encoded(&other));
        }

        #[test]
        fn what_moves_from_one_field_to_the_next_has_another_key(one in fields(), at in 0_usize..4) {
            let mut other = one.clone();
            prop_assume!(one[at].len() > 1);
            let moved = other[at].pop().unwrap();
            other[at + 1].insert(0, moved);
            prop_assert_ne!(encoded(&one), encoded(&other));
        }

        #[test]
        fn every_input_changes_the_key(one in fields(), at in 0_usize..5, add in "[ab:\0]") {
            let mut other = one.clone();
            other[at].push_str(&add);
            prop_assert_ne!(encoded(&one), encoded(&other));
        }
    }

    #[test]
    fn keys_are_those_of_yesterday() {
        let fields = ["shop", "db", "1", "acme", "u:1"].map(str::to_owned);
        let expected = b"n\0\0\0\x04shop\x01\x01s\0\0\0\x02dbp\0\0\0\x011t\0\0\0\x04acmeu\0\0\0\x03u:1";
        assert_eq!(encoded(&fields), expected);
    }
}
