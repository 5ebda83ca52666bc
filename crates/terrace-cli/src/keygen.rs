//! `terrace keygen`: a key for `AUTHZ_CACHE_KEYS` or `CACHE_KEYS`.

use crate::failure::Failure;
use crate::text::Format;
use base64ct::{Base64, Encoding};
use serde_json::json;
use std::io::Write;

/// Make a key for `AUTHZ_CACHE_KEYS` or `CACHE_KEYS`, as `id:key`.
///
/// To change a key without losing what is cached: give all processes `old,new`, then `new,old`, and `new` alone once what
/// the old one has sealed is over (`AUTHZ_CACHE_TTL`).
#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    /// What tells the key from others, 1 to 16 of `A-Z a-z 0-9 _ . -`; made up if it is not given.
    #[arg(long, value_parser = parse_id)]
    id: Option<String>,

    /// What to print on standard output: the line for the variable, or an object with `id` and that as `key`.
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t = Format::Table)]
    output: Format,
}

fn parse_id(id: &str) -> Result<String, &'static str> {
    let is_id = |c: u8| c.is_ascii_alphanumeric() || b"_.-".contains(&c);
    let accepted = (1..=16).contains(&id.len()) && id.bytes().all(is_id);
    if accepted { Ok(id.to_owned()) } else { Err("an id is 1 to 16 of `A-Z a-z 0-9 _ . -`") }
}

pub(crate) fn main(options: &Options) -> Result<(), Failure> {
    let mut bytes = [0; 36];
    let unable = |error: &dyn std::fmt::Display| Failure::runtime(format!("cannot make a key: {error}"));
    getrandom::fill(&mut bytes).map_err(|error| unable(&error))?;
    let (key, id) = bytes.split_at(32);
    let made_up = || id.iter().fold("k".to_owned(), |id, byte| id + &format!("{byte:02x}"));
    let id = options.id.clone().unwrap_or_else(made_up);
    let line = format!("{id}:{}", Base64::encode_string(key));
    match options.output {
        // Nobody knows a key that nobody has read, which is a failure here.
        Format::Table => writeln!(std::io::stdout(), "{line}").map_err(|error| unable(&error)),
        Format::Json => {
            writeln!(std::io::stdout(), "{:#}", json!({ "id": id, "key": line })).map_err(|error| unable(&error))
        }
    }
}
