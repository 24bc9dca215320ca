//! The rows of the table of epochs, and the statements that turn maintenance mode on and off in all of them at once
//! (`EpochManager`, `MaintainModeTool`). It runs none.

use super::super::transaction::Answer;

/// The row that says of the whole system whether it is in maintenance mode.
pub(super) const GLOBAL: &[u8] = b"_global";
/// What the owner of a system in maintenance mode has in it: a port that no server has.
const PORT: &[u8] = b":0000";
/// What comes behind the address and the port: the start of a process that never ends.
const NEVER: &str = "|9223372036854775807";
/// Rows of one statement, at most.
const ROWS: usize = 500;

/// Who writes to a project, or to the whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Epoch {
    pub(super) target: Vec<u8>,
    pub(super) id: i64,
    pub(super) owner: Vec<u8>,
    pub(super) reason: Option<Vec<u8>>,
    mvcc: i64,
}

/// The columns of [`Epoch::read`].
pub(super) const COLUMNS: &str = "epoch_target, epoch_id, current_epoch_owner, maintenance_mode_reason, mvcc";

impl Epoch {
    /// Reads a row. What is NULL is what Java makes of it.
    pub(super) fn read(cells: Answer) -> Self {
        let mut cells = cells.into_iter();
        let mut next = || cells.next().flatten();
        let number = |cell: Option<Vec<u8>>| {
            cell.and_then(|cell| std::str::from_utf8(&cell).ok()?.parse().ok()).unwrap_or_default()
        };
        Self {
            target: next().unwrap_or_default(),
            id: number(next()),
            owner: next().unwrap_or_default(),
            reason: next(),
            mvcc: number(next()),
        }
    }

    /// Whether it says that the system is in maintenance mode.
    pub(super) fn is_maintenance(&self) -> bool {
        self.owner.windows(PORT.len()).any(|part| part == PORT)
    }
}

/// Who owns the epochs while maintenance mode is on.
pub(super) fn owner(ip: &str) -> String {
    format!("{ip}{}{NEVER}", String::from_utf8_lossy(PORT))
}

/// What every row is to say.
#[derive(Debug, Clone, Copy)]
pub(super) enum Turn<'a> {
    On {
        owner: &'a str,
        reason: &'a str,
        mode: &'a str,
    },
    /// At this moment, in milliseconds since 1970.
    Off {
        now: i64,
    },
}

/// A statement, and how many rows it has to change.
pub(super) type Statement = (String, u64);

/// What turns the mode in the rows that are there, each only if it is still as it was read, and in those that are missing.
pub(super) fn statements(
    turn: Turn<'_>,
    (there, missing): (&[Epoch], &[Vec<u8>]),
    table: &str,
    literal: &dyn Fn(&[u8]) -> String,
) -> Vec<Statement> {
    let text = |text: &str| literal(text.as_bytes());
    let (id, owner, renewed, mode, reason) = match turn {
        Turn::On { owner, reason, mode } => {
            ("coalesce(epoch_id, 0) + 1", text(owner), i64::MAX, Some(text(mode)), text(reason))
        }
        // MySQL sets one column after the other, and so this one first.
        Turn::Off { now } => (
            "CASE WHEN coalesce(current_epoch_owner, '') = '' THEN epoch_id ELSE coalesce(epoch_id, 0) + 1 END",
            "''".to_owned(),
            now,
            None,
            "NULL".to_owned(),
        ),
    };
    let set_mode = mode.as_ref().map(|mode| format!(", server_mode = {mode}")).unwrap_or_default();
    let set = format!(
        "epoch_id = {id}, current_epoch_owner = {owner}, last_epoch_renew_time = {renewed}{set_mode}, \
         maintenance_mode_reason = {reason}, mvcc = coalesce(mvcc, 0) + 1"
    );
    let updates = there.chunks(ROWS).map(|rows| {
        let is_one =
            |row: &Epoch| format!("(epoch_target = {} AND coalesce(mvcc, 0) = {})", literal(&row.target), row.mvcc);
        let are = rows.iter().map(is_one).collect::<Vec<_>>().join(" OR ");
        (format!("UPDATE {table} SET {set} WHERE {are}"), rows.len() as u64)
    });
    let mode = mode.unwrap_or_else(|| text("all"));
    let inserts = missing.chunks(ROWS).map(|targets| {
        let one = |target: &Vec<u8>| format!("(1, {}, {owner}, {renewed}, {mode}, {reason}, 0)", literal(target));
        let rows = targets.iter().map(one).collect::<Vec<_>>().join(", ");
        let columns = "epoch_id, epoch_target, current_epoch_owner, last_epoch_renew_time, server_mode, \
                       maintenance_mode_reason, mvcc";
        (format!("INSERT INTO {table} ({columns}) VALUES {rows}"), targets.len() as u64)
    });
    updates.chain(inserts).collect()
}

/// Those that have no row: the whole and projects.
pub(super) fn missing(there: &[Epoch], projects: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let wanted = [GLOBAL.to_vec()].into_iter().chain(projects);
    wanted.filter(|target| there.iter().all(|row| row.target != *target)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(target: &str, owner: &str, mvcc: i64) -> Epoch {
        Epoch { target: target.into(), owner: owner.into(), mvcc, ..Epoch::default() }
    }

    #[test]
    fn the_mode_is_on_where_the_owner_has_no_servers_port() {
        assert_eq!(owner("10.0.0.1"), "10.0.0.1:0000|9223372036854775807");
        for (owner, is_on) in [("10.0.0.1:0000|9223372036854775807", true), ("", false), ("10.0.0.5:7070|17", false)] {
            assert_eq!(row("_global", owner, 0).is_maintenance(), is_on, "{owner}");
        }
    }

    #[test]
    fn every_row_is_changed_as_it_was_read_and_the_missing_are_added() {
        let there = [row("_global", "", 33), row("p1", "", 12)];
        let missing = missing(&there, vec![b"p1".to_vec(), b"p2".to_vec()]);
        assert_eq!(missing, [b"p2".to_vec()]);
        let literal = |text: &[u8]| format!("'{}'", String::from_utf8_lossy(text));
        let on = Turn::On { owner: "o", reason: "r", mode: "job" };
        let [(update, two), (insert, one)] = &statements(on, (&there, &missing), "e", &literal)[..] else { panic!() };
        assert_eq!((*two, *one), (2, 1));
        assert!(update.ends_with(
            "WHERE (epoch_target = '_global' AND coalesce(mvcc, 0) = 33) OR (epoch_target = 'p1' AND coalesce(mvcc, 0) = 12)"
        ));
        assert!(update.contains("server_mode = 'job', maintenance_mode_reason = 'r'"), "{update}");
        assert!(insert.ends_with("VALUES (1, 'p2', 'o', 9223372036854775807, 'job', 'r', 0)"), "{insert}");
        let [(update, 2), (insert, 1)] = &statements(Turn::Off { now: 5 }, (&there, &missing), "e", &literal)[..]
        else {
            panic!()
        };
        assert!(
            update.contains("last_epoch_renew_time = 5, maintenance_mode_reason = NULL")
                && !update.contains("server_mode")
        );
        assert!(insert.ends_with("(1, 'p2', '', 5, 'all', NULL, 0)"), "{insert}");
        let many: Vec<_> = (0..1001).map(|number| row(&number.to_string(), "", 0)).collect();
        assert_eq!(statements(on, (&many, &[]), "e", &literal).len(), 3);
    }

    #[test]
    fn rows_with_nothing_in_them_are_read() {
        assert_eq!(Epoch::read(vec![Some(b"p".to_vec()), None, None, None, None]), row("p", "", 0));
        let cells = [&b"_global"[..], b"4", b"10.0.0.5:7070|1", b"why", b"33"].map(|cell| Some(cell.to_vec()));
        let read = Epoch::read(cells.to_vec());
        assert_eq!((read.id, read.mvcc, read.reason.as_deref()), (4, 33, Some(&b"why"[..])));
    }
}
