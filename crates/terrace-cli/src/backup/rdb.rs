//! Whether a file is a whole snapshot: its head, its end, and its checksum.

use crc::{CRC_64_REDIS, Crc, Table};
use std::io::{self, Read};

const HEAD: usize = 9;
/// What the last opcode is, and after it the checksum.
const LAST: u8 = 0xff;
const CHECKSUM: usize = 8;
/// Since this version there is a checksum.
const FIRST_VERSION: u32 = 5;
const CRC: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_REDIS);

/// What a snapshot says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rdb {
    pub(super) version: u32,
    pub(super) bytes: u64,
    /// The server may be told to make none.
    pub(super) has_checksum: bool,
}

/// Reads it to its end.
///
/// # Errors
///
/// What is wrong with it.
pub(super) fn verify(mut file: impl Read) -> Result<Rdb, String> {
    let unread = |error: io::Error| format!("cannot be read: {error}");
    let (mut digest, mut bytes, mut version) = (CRC.digest(), 0, None);
    // What may be the end is kept back.
    let (mut held, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
    loop {
        let count = file.read(&mut buffer).map_err(unread)?;
        if count == 0 {
            break;
        }
        bytes += count as u64;
        held.extend_from_slice(&buffer[..count]);
        if version.is_none() && held.len() >= HEAD {
            version = Some(head(&held[..HEAD])?);
        }
        let sure = held.len().saturating_sub(HEAD + CHECKSUM + 1);
        digest.update(&held[..sure]);
        held.drain(..sure);
    }
    let end = held.len().checked_sub(CHECKSUM).filter(|end| *end > HEAD && held[end - 1] == LAST);
    let (Some(version), Some(end)) = (version, end) else {
        return Err(format!("is not whole: its {bytes} bytes have no end"));
    };
    digest.update(&held[..end]);
    let said = u64::from_le_bytes(held[end..].try_into().unwrap_or_default());
    if said != 0 && said != digest.finalize() {
        return Err("is damaged: its checksum is another one".to_owned());
    }
    Ok(Rdb { version, bytes, has_checksum: said != 0 })
}

/// `REDIS` and four digits.
fn head(head: &[u8]) -> Result<u32, String> {
    let digits = head.strip_prefix(b"REDIS").and_then(|digits| std::str::from_utf8(digits).ok());
    let version = digits.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    let version = version.and_then(|digits| digits.parse().ok());
    let version: u32 = version.ok_or_else(|| format!("is no snapshot: it begins with {}", head.escape_ascii()))?;
    if version < FIRST_VERSION {
        return Err(format!("is of version {version}; expected {FIRST_VERSION} or later"));
    }
    Ok(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A snapshot of nothing but `filling` bytes between head and end.
    fn snapshot(filling: usize, checksum: Option<u64>) -> Vec<u8> {
        let mut bytes = b"REDIS0010".to_vec();
        bytes.extend((0..filling).map(|at| at.to_le_bytes()[0]));
        bytes.push(LAST);
        let right = CRC.checksum(&bytes);
        bytes.extend(checksum.unwrap_or(right).to_le_bytes());
        bytes
    }

    #[test]
    fn the_checksum_is_the_one_of_redis() {
        assert_eq!(CRC.checksum(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
    }

    #[test]
    fn a_whole_snapshot_is_told_from_a_cut_a_damaged_and_another_file() {
        for filling in [0, 1, 100, 65_526, 65_527, 65_536, 200_000] {
            let whole = snapshot(filling, None);
            let expected = Rdb { version: 10, bytes: whole.len() as u64, has_checksum: true };
            assert_eq!(verify(&*whole), Ok(expected), "{filling}");
            for cut in [1, 8, 9] {
                let cut = whole.len() - cut;
                assert!(verify(&whole[..cut]).is_err(), "{filling} cut at {cut}");
            }
            let mut damaged = whole.clone();
            damaged[9 + filling / 2] ^= 1;
            assert!(verify(&*damaged).is_err(), "{filling}");
        }
        assert!(!verify(&*snapshot(10, Some(0))).unwrap().has_checksum);
        assert!(verify(&*snapshot(10, Some(1))).unwrap_err().contains("checksum"));
        for (bytes, why) in [
            (&b""[..], "not whole"),
            (b"REDIS0010", "not whole"),
            (b"GIF89a...", "begins with GIF89a..."),
            (b"REDIS0004\xff", "version 4"),
        ] {
            let error = verify(bytes).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
