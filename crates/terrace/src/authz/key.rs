//! What facts are stored under.

use super::principal::{Principal, Tenant, Who};
use super::source::Query;
use crate::store::{KeyBuf, hex, remote};
use sha2::{Digest, Sha256};

/// What distinguishes the encodings of different versions.
const SCHEMA: u8 = 1;

/// What is stored.
#[derive(Clone, Copy)]
#[repr(u8)]
pub(super) enum Kind {
    /// The permissions of a subject.
    Permissions = 1,
    /// What an authorizer has decided.
    Decision = 2,
}

/// Makes keys: those of one engine begin alike.
#[derive(Debug)]
pub(super) struct Keys {
    permissions: Box<[u8]>,
    /// `None` if decisions are not cached.
    decisions: Option<Box<[u8]>>,
}

/// What comes before the length of each field, in their order.
const NAMESPACE: u8 = b'n';
const SOURCE: u8 = b's';
const POLICY: u8 = b'p';
const TENANT: u8 = b't';
const SUBJECT: u8 = b'u';
const SCOPE: u8 = b'c';
const ACTION: u8 = b'a';
const RESOURCE: u8 = b'r';
const ATTRIBUTE: u8 = b'k';
const VALUE: u8 = b'v';

impl Keys {
    /// Of permissions that come from `source`, and of the decisions of `authorizer` if they are cached.
    pub(super) fn new(namespace: &str, (source, authorizer): (&str, Option<&str>), policy: &str) -> Self {
        let prefix = |kind, source| {
            let mut prefix = KeyBuf::new();
            field(&mut prefix, NAMESPACE, namespace);
            prefix.push(&[SCHEMA, kind as u8]);
            field(&mut prefix, SOURCE, source);
            field(&mut prefix, POLICY, policy);
            (*prefix).into()
        };
        let decisions = authorizer.map(|authorizer| prefix(Kind::Decision, authorizer));
        Self { permissions: prefix(Kind::Permissions, source), decisions }
    }

    /// The key of what somebody may do. No two are encoded alike: each field has its length before it.
    pub(super) fn permissions(&self, who: &Who) -> KeyBuf {
        // All of it: a field that is added has to be a part of the key.
        let Who { tenant, subject } = who;
        let mut key = KeyBuf::new();
        key.push(&self.permissions);
        field(&mut key, TENANT, tenant.as_str());
        field(&mut key, SUBJECT, subject.as_str());
        key
    }

    /// The key of what an authorizer decides, if that is cached. No resource and an empty one are encoded differently.
    pub(super) fn decision(&self, query: &Query<'_>) -> Option<KeyBuf> {
        // All of it, as above.
        let Query { who: Who { tenant, subject }, action, resource, context } = query;
        let mut key = KeyBuf::new();
        key.push(self.decisions.as_deref()?);
        field(&mut key, TENANT, tenant.as_str());
        field(&mut key, SUBJECT, subject.as_str());
        field(&mut key, ACTION, action);
        if let Some(resource) = resource {
            field(&mut key, RESOURCE, resource);
        }
        for (name, value) in context.iter() {
            field(&mut key, ATTRIBUTE, name);
            field(&mut key, VALUE, value);
        }
        Some(key)
    }
}

/// What names begin with where processes share what is stored: each kind has names of its own.
pub(super) fn family(key: &[u8]) -> &'static str {
    let decides = kind(key) == Some(Kind::Decision as u8);
    if decides { remote::DECISIONS } else { remote::FACTS }
}

/// What of a key comes after its namespace and the schema.
fn kind(key: &[u8]) -> Option<u8> {
    let (len, rest) = key.get(1..)?.split_first_chunk()?;
    let len = usize::try_from(u32::from_be_bytes(*len)).ok()?;
    rest.get(len..)?.get(1).copied()
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
    use super::super::context::Context;
    use super::super::principal::Subject;
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    type Fields = [String; 5];

    /// A question, and who answers it.
    #[derive(Clone, Debug, PartialEq)]
    struct Asked {
        fields: Fields,
        action: String,
        resource: Option<String>,
        context: BTreeMap<String, String>,
    }

    fn named(tenant: &str, subject: &str) -> Who {
        Who { tenant: Tenant::new(tenant).unwrap(), subject: Subject::new(subject).unwrap() }
    }

    fn encoded([namespace, source, policy, tenant, subject]: &Fields) -> Vec<u8> {
        Keys::new(namespace, (source, None), policy).permissions(&named(tenant, subject)).to_vec()
    }

    fn decided(Asked { fields, action, resource, context }: &Asked) -> Vec<u8> {
        let [namespace, source, policy, tenant, subject] = fields;
        let (who, context) = (named(tenant, subject), Context::new(context.clone()).unwrap());
        let query = Query { who: &who, action, resource: resource.as_deref(), context: &context };
        Keys::new(namespace, ("db", Some(source)), policy).decision(&query).unwrap().to_vec()
    }

    /// Few characters, and those that separate fields elsewhere: many texts are alike but for where they end.
    fn fields() -> impl Strategy<Value = Fields> {
        let (free, name) = ("[ab:$/%\\\\\0ns]{0,4}", "[ab:$/%\\\\\0tu]{1,4}");
        (free, free, free, name, name).prop_map(|(a, b, c, d, e)| [a, b, c, d, e])
    }

    fn asked() -> impl Strategy<Value = Asked> {
        let (free, name) = ("[ab:\0rkv]{0,3}", "[abkv\0]{1,2}");
        let context = prop::collection::btree_map(name, free, 0..3);
        (fields(), free, prop::option::of(free), context).prop_map(|(fields, action, resource, context)| Asked {
            fields,
            action,
            resource,
            context,
        })
    }

    /// The same question but for one part of it, of which there are ten.
    fn altered(one: &Asked, at: usize, add: &str) -> Asked {
        let mut other = one.clone();
        match at {
            0..5 => other.fields[at].push_str(add),
            5 => other.action.push_str(add),
            6 => other.resource = if one.resource.is_some() { None } else { Some(String::new()) },
            7 => other.resource.get_or_insert_default().push_str(add),
            8 => other.context.entry("a".to_owned()).or_default().push_str(add),
            _ => drop(other.context.insert(format!("new{add}"), String::new())),
        }
        other
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

        #[test]
        fn no_two_different_questions_have_one_key(one in asked(), other in asked()) {
            prop_assert_eq!(one == other, decided(&one) == decided(&other));
        }

        #[test]
        fn every_part_of_a_question_changes_its_key(one in asked(), at in 0_usize..10, add in "[abkvr:\0]") {
            prop_assert_ne!(decided(&one), decided(&altered(&one, at, &add)));
        }

        #[test]
        fn what_moves_from_one_part_to_another_has_another_key(
            one in asked(), name in "[ab]", value in "[abrkv]{0,2}",
        ) {
            // From the action to the resource, from that to the context, and within the context.
            let resource = |resource: &str| Asked { resource: Some(resource.to_owned()), ..one.clone() };
            let context = |pairs: &[(&str, &str)]| {
                let context = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
                Asked { context, resource: None, ..one.clone() }
            };
            let joined = Asked { action: format!("{}{value}", one.action), ..resource("") };
            let all = [
                joined,
                resource(&format!("{value}!")),
                context(&[(&format!("{value}!"), "")]),
                context(&[(&name, &format!("{value}!"))]),
                context(&[(&format!("{name}{value}!"), "")]),
                context(&[(&name, ""), (&format!("{value}!"), "")]),
            ];
            for (at, one) in all.iter().enumerate() {
                for other in &all[at + 1..] {
                    prop_assert!(one == other || decided(one) != decided(other), "{:?} {:?}", one, other);
                }
            }
        }

        /// Whatever the question: neither in memory nor under the names that others see.
        #[test]
        fn permissions_and_decisions_are_never_taken_for_one_another(one in fields(), other in asked()) {
            let alike = Asked { fields: one.clone(), ..other.clone() };
            for decision in [decided(&other), decided(&alike)] {
                prop_assert_ne!(encoded(&one), decision.clone());
                prop_assert_eq!((family(&encoded(&one)), family(&decision)), ("auth:perms", "auth:check"));
            }
        }

        #[test]
        fn bytes_that_are_no_key_have_a_family_too(bytes in prop::collection::vec(any::<u8>(), 0..20)) {
            prop_assert!(["auth:perms", "auth:check"].contains(&family(&bytes)));
        }
    }

    #[test]
    fn keys_are_those_of_yesterday() {
        let fields = ["shop", "db", "1", "acme", "u:1"].map(str::to_owned);
        let expected = b"n\0\0\0\x04shop\x01\x01s\0\0\0\x02dbp\0\0\0\x011t\0\0\0\x04acmeu\0\0\0\x03u:1";
        assert_eq!(encoded(&fields), expected);
        let context = [("hour", "9"), ("address", "")].map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let asked = Asked { fields, action: "read".to_owned(), resource: Some("7".to_owned()), context };
        let front = b"n\0\0\0\x04shop\x01\x02s\0\0\0\x02dbp\0\0\0\x011t\0\0\0\x04acmeu\0\0\0\x03u:1a\0\0\0\x04read";
        let rest = b"r\0\0\0\x017k\0\0\0\x07addressv\0\0\0\0k\0\0\0\x04hourv\0\0\0\x019";
        assert_eq!(decided(&asked), [&front[..], rest].concat());
        let nothing = Asked { resource: None, context: BTreeMap::new(), ..asked };
        assert_eq!(decided(&nothing), front);
    }

    #[test]
    fn what_is_not_cached_has_no_key() {
        let (who, context) = (named("acme", "alice"), Context::default());
        let query = Query { who: &who, action: "read", resource: None, context: &context };
        assert!(Keys::new("shop", ("db", None), "").decision(&query).is_none());
    }
}
