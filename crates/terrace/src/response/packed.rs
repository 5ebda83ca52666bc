//! A stored response in one piece of memory.

use super::encoded::{read_name, write_name};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue};

/// Header fields, trailer fields and content, one after the other in one allocation.
///
/// An entry costs little more than its bytes, does not keep alive the buffers that its parts arrived in, and a hit
/// takes slices of it instead of copies.
#[derive(Clone, Debug)]
pub(super) struct Packed {
    bytes: Bytes,
    /// Names that are in no table, in the order of their use. Boxed twice, for most entries have none.
    names: Option<Box<Box<[HeaderName]>>>,
    fields: u16,
    trailers: u16,
    content: u32,
}

/// Header fields, packed as long as the content is not there.
#[derive(Debug, Default)]
pub(super) struct Head {
    bytes: Vec<u8>,
    names: Vec<HeaderName>,
    fields: u16,
    has_validators: bool,
}

impl Head {
    /// `None` if a field is beyond 64 KiB.
    pub(super) fn of<'a>(fields: impl Iterator<Item = (&'a HeaderName, &'a HeaderValue)>) -> Option<Self> {
        let mut head = Self { bytes: Vec::with_capacity(ROOM), ..Self::default() };
        for (name, value) in fields {
            head.push(name, value)?;
        }
        Some(head)
    }

    fn push(&mut self, name: &HeaderName, value: &HeaderValue) -> Option<()> {
        let number = number(name);
        let [high, low] = u16::try_from(value.len()).ok()?.to_be_bytes();
        self.bytes.extend_from_slice(&[number, high, low]);
        self.bytes.extend_from_slice(value.as_bytes());
        if number == UNKNOWN {
            self.names.push(name.clone());
        }
        self.has_validators |= *name == header::ETAG || *name == header::LAST_MODIFIED;
        self.fields = self.fields.checked_add(1)?;
        Some(())
    }

    /// Unpacks it. `None` as [`Packed::new`].
    pub(super) fn headers(self) -> Option<HeaderMap> {
        Some(Packed::new(self, None, &[])?.headers(0))
    }

    /// Whether the origin can be asked if the response still holds.
    pub(super) fn has_validators(&self) -> bool {
        self.has_validators
    }
}

/// The room that is taken for a head at first: few are larger.
const ROOM: usize = 512;

impl Packed {
    /// Packs the parts of a response whose content comes in pieces. `None` if a field is beyond 64 KiB, or all of them
    /// beyond 4 GiB.
    pub(super) fn new(head: Head, trailers: Option<&HeaderMap>, content: &[Bytes]) -> Option<Self> {
        let Head { bytes: head, mut names, fields, .. } = head;
        let trailers = trailers.map_or_else(|| Some(Head::default()), |trailers| Head::of(trailers.iter()))?;
        names.extend(trailers.names);
        let start = head.len() + trailers.bytes.len();
        let mut bytes = BytesMut::with_capacity(start + content.iter().map(Bytes::len).sum::<usize>());
        for piece in [head.as_slice(), &trailers.bytes].into_iter().chain(content.iter().map(|piece| &**piece)) {
            bytes.put_slice(piece);
        }
        Some(Self {
            bytes: bytes.freeze(),
            names: (!names.is_empty()).then(|| Box::new(names.into())),
            fields,
            trailers: trailers.fields,
            content: u32::try_from(start).ok()?,
        })
    }

    /// Writes it for other processes.
    pub(super) fn write(&self, to: &mut Vec<u8>) {
        to.extend(self.fields.to_be_bytes());
        to.extend(self.trailers.to_be_bytes());
        to.extend(self.content.to_be_bytes());
        // There are no more names than fields.
        to.extend(u16::try_from(self.names().len()).unwrap_or(u16::MAX).to_be_bytes());
        self.names().iter().for_each(|name| write_name(name, to));
        to.extend_from_slice(&self.bytes);
    }

    /// Reads what [`write`](Self::write) wrote; the content stays where it is. `None` if it is not that.
    pub(super) fn read(mut from: Bytes) -> Option<Self> {
        let (fields, trailers) = (from.try_get_u16().ok()?, from.try_get_u16().ok()?);
        if u32::from(fields) + u32::from(trailers) > MAX_READ {
            return None;
        }
        let (content, count) = (from.try_get_u32().ok()?, from.try_get_u16().ok()?);
        let names: Vec<HeaderName> = (0..count).map(|_| read_name(&mut from)).collect::<Option<_>>()?;
        let names = (!names.is_empty()).then(|| Box::new(names.into()));
        let packed = Self { bytes: from, names, fields, trailers, content };
        packed.is_sound().then_some(packed)
    }

    /// Whether the fields can be read, and end where the content begins.
    fn is_sound(&self) -> bool {
        let (mut rest, mut unknown) = (self.bytes.as_ref(), 0);
        for _ in 0..u32::from(self.fields) + u32::from(self.trailers) {
            let Some(([number, high, low], after)) = rest.split_first_chunk() else {
                return false;
            };
            let len = u16::from_be_bytes([*high, *low]);
            let Some((value, after)) = after.split_at_checked(len.into()) else {
                return false;
            };
            if (*number != UNKNOWN && usize::from(*number) >= KNOWN.len()) || !is_field_value(value) {
                return false;
            }
            unknown += usize::from(*number == UNKNOWN);
            rest = after;
        }
        unknown == self.names().len() && self.bytes.len() - rest.len() == self.content as usize
    }

    /// What it holds, in bytes.
    pub(super) fn len(&self) -> usize {
        self.bytes.len() + self.names().len() * 64
    }

    /// The header fields, with room for `more`.
    pub(super) fn headers(&self, more: usize) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(usize::from(self.fields) + more);
        for (name, value) in self.fields().take(self.fields.into()) {
            headers.append(name, value);
        }
        headers
    }

    /// The trailer fields, if there are any.
    pub(super) fn trailers(&self) -> Option<HeaderMap> {
        if self.trailers == 0 {
            return None;
        }
        Some(self.fields().skip(self.fields.into()).collect())
    }

    /// The content: a slice, not a copy.
    pub(super) fn content(&self) -> Bytes {
        self.bytes.slice(self.content as usize..)
    }

    fn names(&self) -> &[HeaderName] {
        self.names.as_deref().map_or(&[], |names| names)
    }

    fn fields(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        let (mut at, mut names) = (0, self.names().iter());
        (0..u32::from(self.fields) + u32::from(self.trailers)).map(move |_| {
            let name = match self.bytes[at] {
                UNKNOWN => names.next().expect("each unknown name was kept").clone(),
                number => KNOWN[usize::from(number)].clone(),
            };
            let start = at + PREFIX;
            at = start + usize::from(u16::from_be_bytes([self.bytes[at + 1], self.bytes[at + 2]]));
            let value = HeaderValue::from_maybe_shared(self.bytes.slice(start..at));
            (name, value.expect("it was a field value when it was packed"))
        })
    }
}

/// Whether a field value may have these bytes. `HeaderValue` would say the same of a copy of them.
fn is_field_value(bytes: &[u8]) -> bool {
    // Not `all`: the compiler looks at many bytes at a time if it may look at all of them.
    !bytes.iter().fold(false, |found, byte| found | (byte.is_ascii_control() && *byte != b'\t'))
}

/// What another process wrote has no more fields, trailers included: a header map that is to hold more than its own limit
/// panics, and each of three bytes costs many in it.
const MAX_READ: u32 = 1024;

/// Before each value: the number of its name, and its length.
const PREFIX: usize = 3;

/// Stands for a name that is not in [`KNOWN`].
const UNKNOWN: u8 = u8::MAX;

/// Field names that responses have often, by number; those that nearly all have come first. Other processes have the
/// same numbers: a new name goes to the end.
static KNOWN: [HeaderName; 40] = [
    header::CONTENT_TYPE,
    header::CONTENT_LENGTH,
    header::CACHE_CONTROL,
    header::DATE,
    header::ETAG,
    header::LAST_MODIFIED,
    header::VARY,
    header::SERVER,
    header::EXPIRES,
    header::CONTENT_ENCODING,
    header::ACCESS_CONTROL_ALLOW_ORIGIN,
    header::LINK,
    header::CONTENT_LANGUAGE,
    header::STRICT_TRANSPORT_SECURITY,
    header::X_CONTENT_TYPE_OPTIONS,
    header::SET_COOKIE,
    header::VIA,
    header::AGE,
    header::CACHE_STATUS,
    header::ACCEPT_RANGES,
    header::CONTENT_SECURITY_POLICY,
    header::X_FRAME_OPTIONS,
    header::REFERRER_POLICY,
    header::ALT_SVC,
    header::CDN_CACHE_CONTROL,
    header::CONTENT_DISPOSITION,
    header::CONTENT_LOCATION,
    header::CONTENT_RANGE,
    header::LOCATION,
    header::RETRY_AFTER,
    header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
    header::ACCESS_CONTROL_ALLOW_HEADERS,
    header::ACCESS_CONTROL_ALLOW_METHODS,
    header::ACCESS_CONTROL_EXPOSE_HEADERS,
    header::ACCESS_CONTROL_MAX_AGE,
    header::ALLOW,
    header::CONTENT_SECURITY_POLICY_REPORT_ONLY,
    header::WARNING,
    header::WWW_AUTHENTICATE,
    header::X_XSS_PROTECTION,
];

/// Comparing standard names costs next to nothing, so there is no need for an order or a hash.
fn number(name: &HeaderName) -> u8 {
    KNOWN.iter().position(|known| known == name).and_then(|at| u8::try_from(at).ok()).unwrap_or(UNKNOWN)
}

/// Reads bytes of anybody's making as a stored response, for the fuzzer.
///
/// # Panics
///
/// If something is wrong with [`Packed`].
#[cfg(all(fuzzing, feature = "redis"))]
pub fn read(bytes: &[u8]) {
    if let Some(read) = Packed::read(Bytes::copy_from_slice(bytes)) {
        let _ = (read.headers(8), read.trailers(), read.content());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_value_is_what_http_takes_for_one() {
        for byte in 0..=255 {
            assert_eq!(is_field_value(&[b'a', byte]), HeaderValue::from_bytes(&[b'a', byte]).is_ok(), "{byte}");
        }
        assert!(is_field_value(b""));
    }

    #[test]
    fn what_is_packed_comes_out_the_same() {
        let mut headers = HeaderMap::new();
        headers.append("content-type", "text/plain".parse().unwrap());
        headers.append("set-cookie", "a=b".parse().unwrap());
        headers.append("x-one", HeaderValue::from_bytes(b"\xfc\xff opaque").unwrap());
        headers.append("set-cookie", "c=d".parse().unwrap());
        headers.append("x-two", "".parse().unwrap());
        let mut trailers = HeaderMap::new();
        trailers.append("grpc-status", "0".parse().unwrap());
        let content = [Bytes::from_static(b"ab"), Bytes::new(), Bytes::from_static(b"c")];
        let packed = Packed::new(Head::of(headers.iter()).unwrap(), Some(&trailers), &content).unwrap();
        assert_eq!(packed.headers(2), headers);
        assert_eq!(packed.trailers(), Some(trailers));
        assert_eq!(packed.content(), "abc");
    }

    #[test]
    fn what_another_process_wrote_is_read_whole_or_not_at_all() {
        let mut headers = HeaderMap::new();
        headers.append("content-type", "text/plain".parse().unwrap());
        headers.append("x-one", HeaderValue::from_static("1"));
        let packed = Packed::new(Head::of(headers.iter()).unwrap(), None, &[Bytes::from_static(b"content")]).unwrap();
        let mut bytes = Vec::new();
        packed.write(&mut bytes);
        let read = Packed::read(bytes.clone().into()).unwrap();
        assert_eq!((read.headers(0), read.content()), (headers, packed.content()));
        for end in 0..bytes.len() - packed.content().len() {
            assert!(Packed::read(Bytes::copy_from_slice(&bytes[..end])).is_none(), "{end} bytes");
        }
        for bit in 0..8 * (bytes.len() - packed.content().len()) {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            if let Some(read) = Packed::read(bytes.into()) {
                // Another letter of a name or a value, which the envelope's checksum tells: it must not panic.
                let _ = (read.headers(0), read.trailers(), read.content());
            }
        }
    }

    #[test]
    fn no_more_fields_are_read_than_a_response_has() {
        let empty = |fields: u16, trailers: u16| {
            let count = usize::from(fields) + usize::from(trailers);
            let head = Head { bytes: vec![0; PREFIX * count], fields, ..Head::default() };
            let mut bytes = Vec::new();
            Packed { fields, trailers, ..Packed::new(head, None, &[]).unwrap() }.write(&mut bytes);
            Packed::read(bytes.into())
        };
        for (fields, trailers) in [(1000, 24), (24, 1000)] {
            let read = empty(fields, trailers).unwrap();
            assert_eq!(read.headers(8).len(), usize::from(fields));
            assert_eq!(read.trailers().unwrap().len(), usize::from(trailers));
        }
        for (fields, trailers) in [(1000, 25), (30_000, 0), (0, 30_000), (u16::MAX, u16::MAX)] {
            assert!(empty(fields, trailers).is_none(), "{fields} fields, {trailers} trailers");
        }
    }

    #[test]
    fn no_name_is_known_twice() {
        for (at, name) in KNOWN.iter().enumerate() {
            assert_eq!(usize::from(number(name)), at, "{name}");
        }
    }
}
