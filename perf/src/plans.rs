//! How servers plan the queries by which a volume is read: each sort of query once, and how often it was run. Nothing is
//! timed: to tell, the servers log more than they otherwise do.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::Bench;
use crate::cases::{Store, dump};
use crate::lab::{Lab, Tools, Wanted};
use crate::server::Server;
use crate::{mariadb, postgres};

/// The most characters of a line that are printed.
const WIDTH: usize = 320;

/// A statement, and what the server says that it does for it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Planned {
    pub(crate) statement: String,
    pub(crate) plan: Vec<String>,
}

/// Reads the volume from each server and prints the plans.
pub(crate) fn run(bench: &Bench) -> Result<()> {
    let folder = bench.folder()?;
    let wanted = Wanted { stores: vec![Store::Postgres, Store::MariaDb], peers: false };
    let lab = Lab::new(Tools::find()?, folder.path(), bench.volume(), wanted)?;
    let read = |server: &Server| dump(&lab, &server.url("volume").into(), folder.path()).map(drop);
    let server = lab.postgres()?;
    print("PostgreSQL (auto_explain)", &postgres::plans(server, &|| read(server))?);
    std::fs::remove_file(folder.path().join("out.jsonl.zst"))?;
    let server = lab.mariadb()?;
    let columns = "id, select_type, table, type, possible_keys, key, key_len, ref, rows, Extra";
    print(&format!("MariaDB (EXPLAIN: {columns})"), &mariadb::plans(server, &|| read(server))?);
    Ok(())
}

/// Statements that differ in numbers alone are of one sort.
fn print(title: &str, planned: &[Planned]) {
    let mut sorts = BTreeMap::<_, (u64, &Planned)>::new();
    for planned in planned {
        let sort = (without_numbers(&planned.statement), shape(&planned.plan));
        sorts.entry(sort).or_insert((0, planned)).0 += 1;
    }
    println!("\n{title}");
    for (count, Planned { statement, plan }) in sorts.values() {
        println!("\n{count} x {}", short(statement));
        plan.iter().for_each(|line| println!("    {}", short(line)));
    }
}

/// What a plan does, whatever the number of rows.
fn shape(plan: &[String]) -> Vec<String> {
    let steps = plan.iter().map(|line| without_numbers(line.split("  (cost=").next().unwrap_or_default()));
    steps.collect()
}

/// Numbers are all the same, and so are lists of them.
fn without_numbers(text: &str) -> String {
    let mut out = String::new();
    for character in text.chars() {
        match character {
            '0'..='9' if out.ends_with("#,") => drop(out.pop()),
            '0'..='9' if out.ends_with('#') => {}
            '0'..='9' => out.push('#'),
            other => out.push(other),
        }
    }
    out
}

/// The beginning of a line; a list of inodes is long.
fn short(line: &str) -> String {
    let mut short: String = line.chars().take(WIDTH).collect();
    if short.len() < line.len() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sort_of_query_is_told_whatever_its_numbers() {
        assert_eq!(without_numbers("a >= '(512,0)' x1"), "a >= '(#)' x#");
        assert_eq!(without_numbers("a IN (12,3,456)"), "a IN (#)");
        assert_eq!((short("a"), short(&"a".repeat(WIDTH + 1)).chars().count()), ("a".to_owned(), WIDTH + 1));
        let plan = |rows| vec![format!("Tid Range Scan on t  (cost=0.01..9.31 rows={rows} width=4)")];
        assert_eq!(shape(&plan(1)), shape(&plan(20)));
    }
}
