//! Numbers of bytes.

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Reads what settings of the library accept too: bytes, or a number with a binary or a decimal unit.
///
/// # Errors
///
/// What would have been accepted.
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let factor = match &text[end..] {
        "" => Some(1),
        "KiB" => Some(KIB),
        "MiB" => Some(MIB),
        "GiB" => Some(GIB),
        "KB" => Some(1_000),
        "MB" => Some(1_000_000),
        "GB" => Some(1_000_000_000),
        _ => None,
    };
    let bytes = factor.and_then(|factor: u64| text[..end].parse::<u64>().ok()?.checked_mul(factor));
    bytes.ok_or_else(|| "expected bytes, or a number with KiB, MiB, GiB, KB, MB or GB, such as 512MiB".into())
}

/// For people: rounded down.
pub(crate) fn shown(bytes: u64) -> String {
    if bytes < GIB {
        format!("{} MiB", bytes / MIB)
    } else {
        format!("{}.{} GiB", bytes / GIB, (bytes % GIB * 10) / GIB)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_a_unit_or_are_bytes() {
        assert_eq!((parse("10"), parse("2KiB"), parse("3MiB")), (Ok(10), Ok(2048), Ok(3 << 20)));
        assert_eq!((parse("2GiB"), parse("2GB"), parse("0")), (Ok(2 << 30), Ok(2_000_000_000), Ok(0)));
        for bad in ["", "GiB", "-1", "1TB", "1 MiB", "1.5GiB", "99999999999GiB"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_shown_is_never_more_than_there_is() {
        assert_eq!((shown((256 << 20) - 1), shown(3 << 29)), ("255 MiB".into(), "1.5 GiB".into()));
    }
}
