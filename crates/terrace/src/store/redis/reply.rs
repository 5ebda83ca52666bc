//! What replies mean. No I/O.

use crate::store::remote::{Epoch, Mark, Marker, Polled, Positions, Receipt, TagName, Token};
use bytes::Bytes;
use redis::{RedisError, Value};
use std::time::Duration;

/// The members of the control record that are no marker.
pub(super) const SEQUENCE: &[u8] = b"\0s";
pub(super) const FLOOR: &[u8] = b"\0f";
/// How many of them there always are: these two, and the epoch.
const OTHERS: u64 = 3;
const CHANGE: &[u8] = b"\0c";
const EPOCH: &[u8] = b"\0e";

/// Where holds begin: later than every position, and exact as a double.
pub(super) const HOLDS: f64 = 4_503_599_627_370_496.0;

/// A reply that is no error, or what it means; an error that ends the connection is told.
pub(super) type Reading<T> = Result<T, Misread>;

/// Why a reply cannot be read.
#[derive(Debug)]
pub(super) enum Misread {
    /// The server answered with an error.
    Error(RedisError),
    /// The reply has not the shape it must have.
    Shape,
}

impl From<RedisError> for Misread {
    fn from(error: RedisError) -> Self {
        Self::Error(error)
    }
}

/// The reply to a command that was sent alone.
pub(super) fn only(mut replies: Vec<Value>) -> Reading<Value> {
    replies.pop().ok_or(Misread::Shape)
}

/// How a tag is called in the control record.
pub(super) fn member(marker: Marker) -> Vec<u8> {
    let mut member = Vec::with_capacity(18);
    member.extend_from_slice(if marker.soft { b"s:" } else { b"h:" });
    match marker.tag {
        TagName::EVERYTHING => member.push(b'*'),
        TagName(name) => member.extend_from_slice(&name),
    }
    member
}

fn marker(member: &[u8]) -> Option<Marker> {
    let (soft, name) = match member {
        [b'h', b':', name @ ..] => (false, name),
        [b's', b':', name @ ..] => (true, name),
        _ => return None,
    };
    let tag = if name == b"*" { TagName::EVERYTHING } else { TagName(name.try_into().ok()?) };
    Some(Marker { tag, soft })
}

/// A score, which is text in the older protocol; `None` for what is not there.
fn score(value: &Value) -> Reading<Option<f64>> {
    match value {
        Value::Nil => Ok(None),
        Value::Double(score) => Ok(Some(*score)),
        Value::BulkString(text) => {
            let text = std::str::from_utf8(text).map_err(|_| Misread::Shape)?;
            text.parse().map(Some).map_err(|_| Misread::Shape)
        }
        _ => Err(Misread::Shape),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is checked to be a whole number below 2^52"
)]
fn position(score: f64) -> Reading<u64> {
    if (0.0..HOLDS).contains(&score) && score.fract() == 0.0 { Ok(score as u64) } else { Err(Misread::Shape) }
}

/// The score of the floor.
pub(super) fn floor(value: &Value) -> Reading<u64> {
    score(value)?.map_or(Ok(0), position)
}

fn mark(value: &Value) -> Reading<Mark> {
    match score(value)? {
        None => Ok(Mark::Unmarked),
        Some(f64::INFINITY) => Ok(Mark::Held),
        Some(score) => position(score).map(Mark::At),
    }
}

fn array(value: Value) -> Reading<Vec<Value>> {
    match value.extract_error()? {
        Value::Array(values) => Ok(values),
        _ => Err(Misread::Shape),
    }
}

/// The scores of an epoch, the sequence and the floor, and then of the hard and soft marker of each tag.
pub(super) fn positions(reply: Value) -> Reading<Option<Positions>> {
    let scores = array(reply)?;
    let [epoch, sequence, floor, marks @ ..] = scores.as_slice() else { return Err(Misread::Shape) };
    let (Some(_), Some(sequence), Some(floor)) = (score(epoch)?, score(sequence)?, score(floor)?) else {
        return Ok(None);
    };
    let marks = marks.as_chunks::<2>().0.iter().map(|[hard, soft]| Ok((mark(hard)?, mark(soft)?)));
    let marks = marks.collect::<Reading<_>>()?;
    Ok(Some(Positions { position: position(sequence)?, floor: position(floor)?, marks }))
}

/// The replies to GETRANGE for each of some entries, and to GET of what tells the latest changes.
pub(super) fn looked(
    mut replies: Vec<Value>,
    epoch: &Epoch,
    since: u64,
) -> Reading<(Vec<Option<Bytes>>, Option<Polled>)> {
    let told = replies.pop().ok_or(Misread::Shape)?;
    let entries = replies.into_iter().map(entry).collect::<Reading<_>>()?;
    Ok((entries, latest(told, epoch, since)?))
}

/// What `latest.lua` wrote, as far as it is about `epoch` and what happened after `since`; `None` where there is nothing
/// of that kind.
pub(super) fn latest(told: Value, epoch: &Epoch, since: u64) -> Reading<Option<Polled>> {
    match told.extract_error() {
        Ok(Value::BulkString(told)) => Ok(latest_in(&told, epoch, since)),
        Ok(Value::Nil) => Ok(None),
        Ok(_) => Err(Misread::Shape),
        Err(error) if error.code() == Some("WRONGTYPE") => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn latest_in(told: &[u8], epoch: &Epoch, since: u64) -> Option<Polled> {
    let (position, rest) = number::<16>(told)?;
    let (floor, rest) = number::<16>(rest)?;
    let (details, rest) = rest.split_at_checked(3 * 16)?;
    let (count, rest) = number::<2>(rest)?;
    let (changes, name) = rest.split_at_checked(usize::try_from(count).ok()? * CHANGE_BYTES)?;
    if name != epoch.as_bytes() {
        return Some(Polled::OtherEpoch);
    }
    if position < since {
        return Some(Polled::WentBack);
    }
    if position == since {
        return Some(Polled::Changes { marks: Vec::new(), position, floor });
    }
    // Of no interest where nothing has happened.
    let (complete_after, details) = number::<16>(details)?;
    let (_members, details) = number::<16>(details)?;
    let (holds, _) = number::<16>(details)?;
    if since < complete_after {
        return Some(Polled::TooMany { position });
    }
    let changes = changes.as_chunks::<CHANGE_BYTES>().0.iter().map(|change| changed(change));
    let changes = changes.collect::<Option<Vec<_>>>()?;
    // What is no longer held was marked when it was let go.
    let counts = |(at, (_, mark)): &(u64, (Marker, Mark))| *at > since && (holds > 0 || *mark != Mark::Held);
    let marks = changes.into_iter().filter(counts).map(|(_, mark)| mark).collect();
    Some(Polled::Changes { marks, position, floor })
}

/// Where the number of members is in it.
const MEMBERS: usize = 48;

/// How long each change is that `latest.lua` tells: its position, its kind, and its marker.
const CHANGE_BYTES: usize = 16 + 1 + 18;

fn changed(change: &[u8]) -> Option<(u64, (Marker, Mark))> {
    let (at, rest) = number::<16>(change)?;
    let (kind, member) = rest.split_first()?;
    let member = if member[2..].starts_with(b"*   ") { &member[..3] } else { member };
    let mark = match kind {
        b'=' => Mark::At(at),
        b'+' => Mark::Held,
        _ => return None,
    };
    Some((at, (marker(member)?, mark)))
}

fn number<const DIGITS: usize>(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (digits, rest) = bytes.split_first_chunk::<DIGITS>()?;
    // Sixteen of what is no digit are far from an overflow.
    let add = |(number, most): (u64, u8), digit: &u8| {
        let digit = digit.wrapping_sub(b'0');
        (number * 10 + u64::from(digit), most.max(digit))
    };
    let (number, most) = digits.iter().fold((0, 0), add);
    (most < 10).then_some((number, rest))
}

/// The reply to GETRANGE.
pub(super) fn entry(reply: Value) -> Reading<Option<Bytes>> {
    match reply.extract_error() {
        // No entry is empty.
        Ok(Value::BulkString(bytes)) => Ok(Some(bytes.into()).filter(|bytes: &Bytes| !bytes.is_empty())),
        Ok(_) => Err(Misread::Shape),
        // Whatever somebody else has put there is not an entry.
        Err(error) if error.code() == Some("WRONGTYPE") => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The reply to PTTL, which is negative for what does not expire, or just has.
pub(super) fn life(reply: Value) -> Reading<Option<Duration>> {
    let Value::Int(life) = reply.extract_error()? else { return Err(Misread::Shape) };
    Ok(u64::try_from(life).ok().map(Duration::from_millis))
}

/// The epoch and the position that a script answers.
pub(super) fn receipt(reply: Value) -> Reading<Receipt> {
    let values = array(reply)?;
    let [Value::BulkString(epoch), sequence] = values.as_slice() else { return Err(Misread::Shape) };
    let position = position(score(sequence)?.ok_or(Misread::Shape)?)?;
    Ok(Receipt { epoch: Epoch::new(epoch), position })
}

/// The same, and a number.
pub(super) fn stepped(reply: Value) -> Reading<(Receipt, u64)> {
    let mut values = array(reply)?;
    let Some(Value::Int(number)) = values.pop() else { return Err(Misread::Shape) };
    Ok((receipt(Value::Array(values))?, u64::try_from(number).unwrap_or(0)))
}

/// The name of the epoch, then the sequence, then the name again: if that is the same, the sequence is of it.
pub(super) fn current(replies: Vec<Value>) -> Reading<Option<Receipt>> {
    let [before, sequence, after] = <[Value; 3]>::try_from(replies).map_err(|_| Misread::Shape)?;
    let (before, after) = (array(before)?, array(after)?);
    match (before.as_slice(), score(&sequence.extract_error()?)?) {
        ([Value::BulkString(name)], Some(sequence)) if before == after && name.starts_with(EPOCH) => {
            Ok(Some(Receipt { epoch: Epoch::new(name), position: position(sequence)? }))
        }
        _ => Ok(None),
    }
}

/// What a poll found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) polled: Polled,
    /// Somebody's change is open, or was left open.
    pub(super) has_changes: bool,
}

/// The members after `since` with their scores, at most `limit`, the scores of the epoch, the sequence and the floor, and
/// the number of members, and the time; also answers how many of the members are markers, and the time in milliseconds.
pub(super) fn seen(reply: Value, epoch: &Epoch, since: u64, limit: usize) -> Reading<(Seen, u64, u64)> {
    let mut reply = array(reply)?;
    let (seconds, micros): (u64, u64) =
        reply.pop().and_then(|time| redis::from_redis_value(time).ok()).ok_or(Misread::Shape)?;
    let time = seconds.saturating_mul(1000).saturating_add(micros / 1000);
    if let [Value::BulkString(told)] = reply.as_slice() {
        let polled = latest_in(told, epoch, since).ok_or(Misread::Shape)?;
        let (members, _) = told.get(MEMBERS..).and_then(number::<16>).ok_or(Misread::Shape)?;
        return Ok((Seen { polled, has_changes: false }, members.saturating_sub(OTHERS), time));
    }
    let [range, scores, members] = <[Value; 3]>::try_from(reply).map_err(|_| Misread::Shape)?;
    let Value::Int(members) = members else { return Err(Misread::Shape) };
    let markers = u64::try_from(members).unwrap_or(0).saturating_sub(OTHERS);
    Ok((seen_since(range, scores, since, limit)?, markers, time))
}

fn seen_since(range: Value, scores: Value, since: u64, limit: usize) -> Reading<Seen> {
    let found = |polled, has_changes| Ok(Seen { polled, has_changes });
    let Some(now) = positions(scores)? else { return found(Polled::OtherEpoch, false) };
    if now.position < since {
        return found(Polled::WentBack, false);
    }
    let range = array(range)?;
    let too_many = Polled::TooMany { position: now.position };
    // A member with its score is two values.
    if range.len() >= limit * 2 {
        return found(too_many, true);
    }
    match changes(&range, since)? {
        Some(Range { marks, position, has_changes }) => {
            found(Polled::Changes { marks, position, floor: now.floor }, has_changes)
        }
        None => found(too_many, true),
    }
}

struct Range {
    marks: Vec<(Marker, Mark)>,
    position: u64,
    has_changes: bool,
}

/// `None` if there is a marker that cannot be read: what it invalidates is not known, so everything is.
fn changes(range: &[Value], since: u64) -> Reading<Option<Range>> {
    let mut found = Range { marks: Vec::with_capacity(range.len() / 2), position: since, has_changes: false };
    for [member, score] in range.as_chunks::<2>().0 {
        let Value::BulkString(member) = member else { return Err(Misread::Shape) };
        match mark(score) {
            _ if member.starts_with(CHANGE) => found.has_changes = true,
            Ok(Mark::At(position)) if member == SEQUENCE => found.position = position,
            // The floor can pass what was read before; its score is read with the others.
            Ok(_) if member == FLOOR => {}
            Ok(mark) => match marker(member) {
                Some(marker) => {
                    // Perhaps nobody's.
                    found.has_changes |= mark == Mark::Held;
                    found.marks.push((marker, mark));
                }
                None => return Ok(None),
            },
            // A position that none can be.
            Err(_) => return Ok(None),
        }
    }
    Ok(Some(found))
}

/// The replies to SET NX and GET of a lease: whether it is the one of `token`.
pub(super) fn has_lease(replies: Vec<Value>, token: &Token) -> Reading<bool> {
    let [set, get] = <[Value; 2]>::try_from(replies).map_err(|_| Misread::Shape)?;
    set.extract_error()?;
    match get.extract_error()? {
        Value::BulkString(holder) => Ok(holder == token.as_str().as_bytes()),
        // It has ended already.
        Value::Nil => Ok(false),
        _ => Err(Misread::Shape),
    }
}

/// What a script answers that says yes or no.
pub(super) fn flag(reply: Value) -> Reading<bool> {
    match reply.extract_error()? {
        Value::Int(flag @ (0 | 1)) => Ok(flag == 1),
        _ => Err(Misread::Shape),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_of_members_is_too_few() {
        for (members, markers) in [(i64::MIN, 0), (-1, 0), (3, 0), (5, 2)] {
            let (range, scores) = (Value::Array(vec![]), Value::Array(vec![Value::Nil; 3]));
            let time = ["1700000000", "1999"].map(|text| Value::BulkString(text.into())).to_vec();
            let poll = Value::Array(vec![range, scores, Value::Int(members), Value::Array(time)]);
            let (seen, counted, time) = seen(poll, &Epoch::new(b"e"), 0, 10).unwrap();
            assert_eq!(time, 1_700_000_000_001);
            assert_eq!((seen, counted), (Seen { polled: Polled::OtherEpoch, has_changes: false }, markers));
        }
    }
}
