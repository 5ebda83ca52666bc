//! How permissions are compared: segment by segment, with colons between them.

use std::cmp::Ordering;

/// Whether a segment of it is `*`.
pub(super) fn is_pattern(permission: &str) -> bool {
    permission.split(':').any(|segment| segment == "*")
}

/// Whether what is granted is, or stands for, the permission that is asked for. Of that, which may be for one resource, every
/// character is taken literally, and the resource is one segment whatever it contains.
pub(super) fn covers(granted: &str, (asked, resource): (&str, Option<&str>)) -> bool {
    !asked.is_empty() && stands_for(granted, asked.split(':').chain(resource))
}

/// Whether what is denied is, or stands for, the permission that is asked for. A resource that contains colons is one segment
/// and also several: whichever of the two a text may mean, it denies.
pub(super) fn denies(denied: &str, (asked, resource): (&str, Option<&str>)) -> bool {
    let several = |resource: &str| stands_for(denied, asked.split(':').chain(resource.split(':')));
    covers(denied, (asked, resource)) || (!asked.is_empty() && resource.is_some_and(several))
}

fn stands_for<'a>(pattern: &str, mut asked: impl Iterator<Item = &'a str>) -> bool {
    let mut pattern = pattern.split(':');
    loop {
        match (pattern.next(), asked.next()) {
            (None, None) => return true,
            (Some("*"), Some(segment)) if !segment.is_empty() => {}
            (Some(one), Some(other)) if one == other => {}
            _ => return false,
        }
    }
}

/// How a permission without `*` is ordered towards what is asked for.
pub(super) fn order(permission: &str, (asked, resource): (&str, Option<&str>)) -> Ordering {
    let resource = resource.into_iter().flat_map(|resource| b":".iter().chain(resource.as_bytes()));
    permission.as_bytes().iter().cmp(asked.as_bytes().iter().chain(resource))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_one_whole_segment_and_only_where_it_is_granted() {
        for (granted, asked, expected) in [
            ("invoice:read", "invoice:read", true),
            ("invoice:*", "invoice:read", true),
            ("*:read", "invoice:read", true),
            ("*:*", "invoice:read", true),
            ("*", "invoice", true),
            ("*", "invoice:read", false),
            ("invoice:*", "invoice", false),
            ("invoice:*", "invoice:", false),
            ("invoice:*", "invoice:read:7", false),
            ("invoice:re*", "invoice:read", false),
            ("invoice:read", "invoice:*", false),
            ("invoice:*", "invoice:*", true),
            ("invoice:read", "Invoice:read", false),
            ("", "", false),
            ("*", "", false),
        ] {
            assert_eq!(covers(granted, (asked, None)), expected, "{granted} {asked}");
        }
    }

    #[test]
    fn a_resource_is_one_segment_whatever_it_contains() {
        for (granted, resource, expected) in [
            ("invoice:read:7", "7", true),
            ("invoice:read:*", "7", true),
            ("invoice:read", "7", false),
            ("invoice:read:7:8", "7:8", false),
            ("invoice:read:*:8", "7:8", false),
            ("invoice:read:*", "7:8", true),
            ("invoice:read:7", "*", false),
            ("invoice:read:*", "", false),
        ] {
            assert_eq!(covers(granted, ("invoice:read", Some(resource))), expected, "{granted} {resource}");
        }
    }

    #[test]
    fn a_deny_counts_whether_the_colons_of_a_resource_part_it_or_not() {
        for (denied, resource, expected) in [
            ("invoice:read:urn:7", "urn:7", true),
            ("invoice:read:*", "urn:7", true),
            ("invoice:read:urn:*", "urn:7", true),
            ("invoice:*:*:7", "urn:7", true),
            ("*:*:*:*", "urn:7", true),
            ("invoice:read", "urn:7", false),
            ("invoice:read:urn", "urn:7", false),
            ("invoice:read:urn:8", "urn:7", false),
            ("invoice:read:urn:7:8", "urn:7", false),
            ("invoice:read:*:*:*", "urn:7", false),
            ("invoice:read::", ":", true),
        ] {
            assert_eq!(denies(denied, ("invoice:read", Some(resource))), expected, "{denied} {resource}");
        }
        assert!(!denies("", ("", None)) && !denies(":7", ("", Some("7"))));
    }
}
