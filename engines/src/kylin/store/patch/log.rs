//! Writing the change log as Kylin's restore does: unit by unit, in its order. In MySQL rows are numbered here.

use metaferry_codecs::kylin::address::Dialect;
use metaferry_pipeline::{Error, Result};

use super::super::session::Session;
use super::super::tables::Placed;
use super::apply::miscounted;
use super::parts::Parts;
use super::reach::Reach;
use super::statements::{Sql, Stamp, folder};
use super::targets::Targets;

/// What the log is written by.
pub(super) struct Log<'l> {
    pub(super) sql: &'l Sql<'l>,
    pub(super) targets: &'l Targets,
    /// `<ip>:0000`.
    pub(super) instance: &'l str,
}

impl Log<'_> {
    /// Writes a row for each that was changed.
    pub(super) fn write(&self, session: &mut Session, parts: &Parts, reach: &Reach) -> Result<()> {
        let Some(log) = &self.targets.log else { return Ok(()) };
        let units = parts.units(self.targets.layout, reach.project.is_some());
        let rows: u64 = units.iter().flatten().map(|step| step.rows).sum();
        if rows == 0 {
            return Ok(());
        }
        let mut ids = match self.sql.dialect {
            Dialect::Postgres => {
                // The rows of a folder lie in the order of its index, and need not be sorted.
                session.change("SET LOCAL enable_sort = off")?;
                None
            }
            Dialect::Mysql => Some(reserve(session, log, rows)?),
        };
        let instance = session.literal(self.instance.as_bytes());
        for unit in units {
            let id = unit_id()?;
            for step in unit {
                let Some((_, target)) = self.targets.of(&step.part) else { continue };
                let literal = |text: &[u8]| session.literal(text);
                let folder = folder(self.targets.layout, &step.part, &literal);
                let stamp = Stamp { unit: &id, instance: &instance, folder, ids };
                let written = session.change(&self.sql.log(log, target, &step, &stamp))?;
                if written != step.rows {
                    return Err(miscounted(&log.name, written, step.rows));
                }
                ids = ids.map(|(first, apart)| (first + step.rows.cast_signed() * apart, apart));
            }
        }
        Ok(())
    }
}

/// Takes numbers for so many rows: the first, and how far they are apart. MySQL, left to itself, leaves numbers out where it
/// copies many rows, and a server of Kylin's waits minutes for each. Nobody else gets one of them meanwhile.
fn reserve(session: &mut Session, log: &Placed, rows: u64) -> Result<(i64, i64)> {
    let name = &log.name;
    let number = |session: &mut Session, sql: &str| -> Result<Option<i64>> {
        let cell = session.ask(sql)?.into_iter().next().and_then(|cells| cells.into_iter().next().flatten());
        let wrong = || Error::corrupt(format!("{}: no number: {sql}", session.shown()));
        cell.map(|cell| std::str::from_utf8(&cell).ok().and_then(|text| text.parse().ok()).ok_or_else(wrong))
            .transpose()
    };
    // Whoever adds rows behind the last one waits from here on.
    let last =
        number(session, &format!("SELECT id FROM {name} ORDER BY id DESC LIMIT 1 FOR UPDATE"))?.unwrap_or_default();
    let table = session.literal(name.trim_matches('`').replace("``", "`").as_bytes());
    let next = format!(
        "SELECT auto_increment FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = {table}"
    );
    let next = number(session, &next)?.unwrap_or_default().max(last + 1);
    let apart = number(session, "SELECT @@auto_increment_increment")?.unwrap_or(1).max(1);
    let offset = number(session, "SELECT @@auto_increment_offset")?.unwrap_or(1);
    let first = next + (offset - next).rem_euclid(apart);
    // A row with the last number moves the count past all of them at once.
    let end = first + (rows.cast_signed() - 1) * apart;
    for sql in [format!("INSERT INTO {name} (id) VALUES ({end})"), format!("DELETE FROM {name} WHERE id = {end}")] {
        let changed = session.change(&sql)?;
        if changed != 1 {
            return Err(miscounted(name, changed, 1));
        }
    }
    Ok((first, apart))
}

/// A new random id in the form of a UUID.
fn unit_id() -> Result<String> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(|cause| Error::engine("random bytes", cause.to_string()))?;
    let random = u128::from_be_bytes(bytes);
    let version = random & !(0xf << 76) | 0x4 << 76;
    let id = version & !(0x3 << 62) | 0x2 << 62;
    let digits = format!("{id:032x}");
    let parts = [(0, 8), (8, 12), (12, 16), (16, 20), (20, 32)];
    let parts: Vec<_> = parts.iter().map(|(from, to)| digits.get(*from..*to).unwrap_or_default()).collect();
    Ok(parts.join("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_units_are_uuids_and_each_another_one() {
        let [one, other] = [unit_id().unwrap(), unit_id().unwrap()];
        assert_ne!(one, other);
        assert_eq!((one.len(), one.matches('-').count()), (36, 4), "{one}");
        assert_eq!((&one[14..15], "89ab".contains(&one[19..20])), ("4", true), "{one}");
    }
}
