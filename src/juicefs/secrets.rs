//! Secrets on their way into an engine: which ones a dump came without, and the one that the user puts in their place.

use std::sync::{Arc, Mutex, PoisonError};

use metaferry_codecs::juicefs::{Batch, JuiceFs, Kind, setting};
use metaferry_codecs::system::Finding;
use metaferry_pipeline::preflight::{Outlook, Room};
use metaferry_pipeline::{About, Emit, Partition, Result, Scope, Snapshot, Source, Stop};
use zeroize::Zeroizing;

const SECRET_KEY: &str = "SecretKey";

/// The secrets that a setting came without, once it came by.
#[derive(Debug, Clone, Default)]
pub(crate) struct Missing(Arc<Mutex<Vec<&'static str>>>);

impl Missing {
    pub(crate) fn names(&self) -> Vec<&'static str> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A source whose setting is looked at, and gets a secret key.
pub(crate) struct Watched {
    source: Box<dyn Source<JuiceFs>>,
    key: Option<Zeroizing<Vec<u8>>>,
    missing: Missing,
}

impl Watched {
    pub(crate) fn new(source: Box<dyn Source<JuiceFs>>, key: Option<Zeroizing<Vec<u8>>>) -> (Self, Missing) {
        let missing = Missing::default();
        (Self { source, key, missing: missing.clone() }, missing)
    }
}

impl Source<JuiceFs> for Watched {
    fn snapshot(self: Box<Self>, readers: usize, stop: &Stop) -> Result<Box<dyn Snapshot<JuiceFs>>> {
        let Self { source, key, missing } = *self;
        Ok(Box::new(WatchedSnapshot { snapshot: source.snapshot(readers, stop)?, key, missing }))
    }

    fn outlook(&self, rooms: &[Room<Kind>], stop: &Stop) -> Result<Outlook<Kind>> {
        self.source.outlook(rooms, stop)
    }
}

struct WatchedSnapshot {
    snapshot: Box<dyn Snapshot<JuiceFs>>,
    key: Option<Zeroizing<Vec<u8>>>,
    missing: Missing,
}

impl Snapshot<JuiceFs> for WatchedSnapshot {
    fn about(&self) -> About {
        self.snapshot.about()
    }

    fn plan(&self, scope: &Scope<JuiceFs>) -> Result<Vec<Partition<JuiceFs>>> {
        self.snapshot.plan(scope)
    }

    fn scan(&self, partition: &Partition<JuiceFs>, out: &mut dyn Emit<JuiceFs>) -> Result<()> {
        self.snapshot.scan(partition, &mut Watching { watched: self, out })
    }

    fn finish(&self) -> Result<()> {
        self.snapshot.finish()
    }
}

struct Watching<'a> {
    watched: &'a WatchedSnapshot,
    out: &'a mut dyn Emit<JuiceFs>,
}

impl Emit<JuiceFs> for Watching<'_> {
    fn emit(&mut self, mut batch: Batch) -> Result<()> {
        if let Batch::Setting(rows) = &mut batch {
            for row in rows {
                if let Some(key) = &self.watched.key {
                    setting::put_secret(&mut row.document.0, SECRET_KEY, key)?;
                }
                let removed = setting::read(&row.document.0).map(|read| read.removed).unwrap_or_default();
                *self.watched.missing.0.lock().unwrap_or_else(PoisonError::into_inner) = removed;
            }
        }
        self.out.emit(batch)
    }

    fn damaged(&mut self, place: String, why: metaferry_codecs::Error) -> Result<()> {
        self.out.damaged(place, why)
    }

    fn left_behind(&mut self, what: &'static str, count: u64) {
        self.out.left_behind(what, count);
    }

    fn found(&mut self, finding: Finding) {
        self.out.found(finding);
    }
}

/// What the user has to do about secrets that are missing in `url`, a line each.
pub(crate) fn advice(missing: &[&str], url: &str) -> Vec<String> {
    let flag = |name: &str| match name {
        SECRET_KEY => Some("--secret-key"),
        "SessionToken" => Some("--session-token"),
        _ => None,
    };
    let mut lines = Vec::new();
    let flags: Vec<_> = missing.iter().copied().filter_map(flag).map(|flag| format!("{flag} …")).collect();
    if !flags.is_empty() {
        lines.push(format!(
            "{} {} not in the dump; before the volume can be used: juicefs config '{url}' {}",
            missing.iter().copied().filter(|name| flag(name).is_some()).collect::<Vec<_>>().join(" and "),
            if flags.len() > 1 { "are" } else { "is" },
            flags.join(" ")
        ));
    }
    if missing.contains(&"EncryptKey") {
        lines.push(
            "EncryptKey, which decrypts the data, is not in the dump and no command puts it back: load a dump made with \
             --keep-secrets"
                .to_owned(),
        );
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_names_the_command() {
        let url = "redis://localhost/1";
        assert_eq!(advice(&[], url), Vec::<String>::new());
        let [line] = advice(&["SecretKey"], url).try_into().unwrap();
        assert_eq!(
            line,
            "SecretKey is not in the dump; before the volume can be used: juicefs config 'redis://localhost/1' --secret-key …"
        );
        let lines = advice(&["SecretKey", "SessionToken", "EncryptKey"], url);
        assert!(lines[0].starts_with("SecretKey and SessionToken are not") && lines[0].ends_with("--session-token …"));
        assert!(lines[1].contains("--keep-secrets"));
    }
}
