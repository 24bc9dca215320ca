//! Fetching the values of keys: which command asks for which key, and how its reply becomes rows.

use metaferry_codecs::Error as Damage;
use metaferry_codecs::juicefs::redis_keys::Key;
use metaferry_codecs::rdb::{Element, Kind};
use metaferry_pipeline::spill::Sorter;
use metaferry_pipeline::{Error, Result};

use super::connection::Stream;
use super::joins::Part;
use super::reply::ServerError;
use super::resp::{self, Reader};
use super::rows::Rows;
use super::volume::Volume;

/// Keys in one MGET.
const STRINGS: usize = 500;
/// Fields or members asked for at once.
const FIELDS: &[u8] = b"4000";

/// A key of the volume and its name.
pub(super) type Named = (Key, Vec<u8>);

/// What was asked for, in the order of the replies.
pub(super) enum Fetch {
    Strings(Vec<Named>),
    Items(Named),
    Fields(Named),
    Count(&'static str, Named),
    /// Whether a key that has no string is of another type, or gone.
    Type(Named),
}

/// A hash or sorted set that did not come at once, and where to go on.
pub(super) struct Unfinished {
    named: Named,
    cursor: Vec<u8>,
}

/// Where replies go.
pub(super) struct Taker<'a> {
    pub(super) rows: &'a mut Rows,
    /// What comes in several pages, and may come twice.
    pub(super) pages: &'a mut Sorter,
    pub(super) unfinished: &'a mut Vec<Unfinished>,
    /// Strings that were not there.
    pub(super) missing: &'a mut Vec<Named>,
}

/// Appends the commands that ask for these keys.
pub(super) fn ask(keys: Vec<Named>, volume: &Volume, out: &mut Vec<u8>) -> Vec<Fetch> {
    let mut asked = Vec::new();
    let mut strings = Vec::new();
    for named in keys {
        let key = volume.key(&named.1);
        match (named.0, named.0.kind()) {
            (Key::Left(None, _), _) => {}
            (Key::Left(Some(what), kind), _) => {
                let command: &[u8] = match kind {
                    Kind::Hash => b"HLEN",
                    Kind::List => b"LLEN",
                    Kind::Set => b"SCARD",
                    _ => b"ZCARD",
                };
                resp::command(out, &[command, &key]);
                asked.push(Fetch::Count(what, named));
            }
            (_, Kind::String) => strings.push(named),
            (_, Kind::List) => {
                resp::command(out, &[b"LRANGE", &key, b"0", b"-1"]);
                asked.push(Fetch::Items(named));
            }
            (_, Kind::Set) => {
                resp::command(out, &[b"SMEMBERS", &key]);
                asked.push(Fetch::Items(named));
            }
            _ => {
                page(&named, b"0", volume, out);
                asked.push(Fetch::Fields(named));
            }
        }
    }
    while !strings.is_empty() {
        let rest = strings.split_off(strings.len().min(STRINGS));
        resp::begin(out, 1 + strings.len());
        resp::argument(out, b"MGET");
        strings.iter().for_each(|(_, name)| resp::argument(out, &volume.key(name)));
        asked.push(Fetch::Strings(std::mem::replace(&mut strings, rest)));
    }
    asked
}

/// Appends the commands that ask why strings were missing.
pub(super) fn ask_types(missing: Vec<Named>, volume: &Volume, out: &mut Vec<u8>) -> Vec<Fetch> {
    let ask = |named: Named| {
        resp::command(out, &[b"TYPE", &volume.key(&named.1)]);
        Fetch::Type(named)
    };
    missing.into_iter().map(ask).collect()
}

/// Appends the command that goes on where a hash or sorted set did not come at once.
pub(super) fn ask_on(unfinished: Unfinished, volume: &Volume, out: &mut Vec<u8>) -> Fetch {
    page(&unfinished.named, &unfinished.cursor, volume, out);
    Fetch::Fields(unfinished.named)
}

fn page((key, name): &Named, cursor: &[u8], volume: &Volume, out: &mut Vec<u8>) {
    let command: &[u8] = if key.kind() == Kind::Zset { b"ZSCAN" } else { b"HSCAN" };
    resp::command(out, &[command, &volume.key(name), cursor, b"COUNT", FIELDS]);
}

/// The element of a hash or a sorted set.
pub(super) fn pair<'a>(key: Key, first: &'a [u8], second: &'a [u8]) -> Element<'a> {
    if key.kind() == Kind::Zset {
        let score = std::str::from_utf8(second).ok().and_then(|score| score.parse().ok());
        return Element::Scored(first, score.unwrap_or(f64::NAN));
    }
    Element::Field(first, second)
}

impl Fetch {
    /// Reads the reply; `again` says that it goes on a page that came before.
    pub(super) fn take(self, reader: &mut Reader<Stream>, taker: &mut Taker<'_>, again: bool) -> Result<()> {
        match self {
            Self::Strings(names) => strings(names, reader, taker),
            Self::Items((key, name)) => {
                let Some(count) = unless_damaged(reader.array(), key, &name, taker.rows)? else { return Ok(()) };
                let whole = taker.rows.begin(&name, key.kind(), true).is_some();
                for _ in 0..count {
                    let item = reader.bulk()?.unwrap_or_default();
                    taker.rows.element(key, &name, Element::Item(item));
                }
                if whole && count > 0 {
                    taker.rows.end(key, Part::WHOLE);
                }
                Ok(())
            }
            Self::Fields(named) => fields(named, reader, taker, again),
            Self::Count(what, (key, name)) => {
                let count = unless_damaged(reader.integer(), key, &name, taker.rows)?;
                taker.rows.leave(what, count.and_then(|count| u64::try_from(count).ok()).unwrap_or(0));
                Ok(())
            }
            Self::Type((key, name)) => {
                let reply = reader.reply()?;
                match reply.text() {
                    Some("none" | "string") => taker.rows.leave("keys that came or went while they were read", 1),
                    _ => taker.rows.broken(&name, other_type(key)),
                }
                Ok(())
            }
        }
    }
}

fn strings(names: Vec<Named>, reader: &mut Reader<Stream>, taker: &mut Taker<'_>) -> Result<()> {
    reader.array()?;
    for (key, name) in names {
        match reader.bulk()? {
            Some(value) => taker.rows.element(key, &name, Element::Value(value)),
            None => taker.missing.push((key, name)),
        }
    }
    Ok(())
}

fn fields(named: Named, reader: &mut Reader<Stream>, taker: &mut Taker<'_>, again: bool) -> Result<()> {
    let (key, name) = &named;
    let Some(_) = unless_damaged(reader.array(), *key, name, taker.rows)? else { return Ok(()) };
    let mut cursor = Vec::new();
    reader.bulk_into(&mut cursor)?;
    let at_once = cursor == b"0" && !again;
    let mut sort_key = page_key(name);
    let named_bytes = sort_key.len();
    for _ in 0..reader.array()? / 2 {
        sort_key.truncate(named_bytes);
        let mut field = Vec::new();
        reader.bulk_into(&mut field)?;
        let value = reader.bulk()?.unwrap_or_default();
        if at_once {
            taker.rows.element(*key, name, pair(*key, &field, value));
        } else {
            sort_key.extend_from_slice(&field);
            taker.pages.push(&sort_key, value)?;
        }
    }
    if cursor != b"0" {
        taker.unfinished.push(Unfinished { named, cursor });
    }
    Ok(())
}

/// What a field is sorted by begins with the key it belongs to.
fn page_key(name: &[u8]) -> Vec<u8> {
    let length = u32::try_from(name.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes(), name].concat()
}

/// Takes apart what a field was sorted by: the key's name and the field.
pub(super) fn split_page_key(sort_key: &[u8]) -> (&[u8], &[u8]) {
    let (length, rest) = sort_key.split_first_chunk().unwrap_or((&[0; 4], sort_key));
    rest.split_at_checked(u32::from_be_bytes(*length) as usize).unwrap_or_default()
}

/// `None` where the server says that the key is of another type: that is booked.
fn unless_damaged<T>(read: Result<T>, key: Key, name: &[u8], rows: &mut Rows) -> Result<Option<T>> {
    read.map(Some).or_else(|error| {
        let told = std::error::Error::source(&error).and_then(|cause| cause.downcast_ref::<ServerError>());
        if told.is_none_or(|told| told.code != "WRONGTYPE") {
            return Err(error);
        }
        rows.broken(name, other_type(key));
        Ok::<_, Error>(None)
    })
}

fn other_type(key: Key) -> Damage {
    Damage::malformed("redis value", format!("not a {:?}, as belongs", key.kind()).to_lowercase())
}
