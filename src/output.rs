//! What a command says at its end: an error as one line with its causes, a copy's summary, a verification's verdict.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::fmt::Display;
use std::io::Write;
use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use metaferry_codecs::repository::hex;
use metaferry_codecs::system::{Class, Kind, System};
use metaferry_codecs::tally::{Cell, DIGEST_VERSION};
use metaferry_pipeline::copy::Report;
use metaferry_pipeline::verify::{Differing, Judgement, Verdict};
use metaferry_pipeline::{About, Error, Findings};
use serde_json::{Value, json};

/// Writes a line to standard output. A reader who has gone away wants no more of it; how the command ended, the exit code
/// says.
pub(crate) fn print(text: impl Display) {
    drop(writeln!(std::io::stdout(), "{text}"));
}

/// The same for standard error.
pub(crate) fn tell(text: impl Display) {
    drop(writeln!(std::io::stderr(), "{text}"));
}

/// What caused an error, the nearest first.
pub(crate) fn causes_of(error: &Error) -> Vec<String> {
    let mut causes = Vec::new();
    let mut cause = error.source();
    while let Some(inner) = cause {
        causes.push(inner.to_string());
        cause = inner.source();
    }
    causes
}

/// Prints an error: what, then its causes, then what to do.
pub(crate) fn error(error: &Error, as_json: bool) {
    let causes = causes_of(error);
    if as_json {
        let line = json!({ "version": 1, "event": "error", "kind": format!("{:?}", error.kind()),
            "error": error.to_string(), "causes": causes, "hint": error.what_to_do() });
        return tell(line);
    }
    let causes: String = causes.iter().map(|cause| format!(": {cause}")).collect();
    tell(format_args!("error: {error}{causes}"));
    if let Some(hint) = error.what_to_do() {
        tell(format_args!("hint: {hint}"));
    }
}

/// Where a summary goes: to standard error where a file went to standard output.
pub(crate) struct Printer {
    pub(crate) json: bool,
    pub(crate) quiet: bool,
    pub(crate) to_stderr: bool,
}

impl Printer {
    pub(crate) fn line(&self, text: impl Display) {
        if self.to_stderr { tell(text) } else { print(text) }
    }

    /// The summary of a copy.
    pub(crate) fn copied<S: System>(&self, verb: &str, report: &Report<S>, took: Duration) {
        let total = report.tally.total();
        if self.json {
            return self.line(json!({
                "version": 1, "event": "done", "verb": verb, "source": about(&report.about), "rows": by_kind(&report.rows),
                "seconds": took.as_secs_f64(), "proven": report.proven, "findings": findings(&report.findings, report.mended),
                "spilled_bytes": report.spilled_bytes, "tally": cell(&total), "digest_version": DIGEST_VERSION,
            }));
        }
        if !self.quiet {
            let mut table = table(["kind", "rows", "digest"]);
            for (&kind, rows) in &report.rows {
                let digest = report.tally.of(kind).digest;
                table.add_row([kind.info().name.to_owned(), rows.to_string(), format!("{digest:032x}")]);
            }
            self.line(&table);
            let rows: u64 = report.rows.values().sum();
            let rate = rows as f64 / took.as_secs_f64().max(0.001);
            let proven = if report.proven { ", read back and equal" } else { "" };
            let seconds = took.as_secs_f64();
            self.line(format!(
                "{verb}: {rows} rows in {seconds:.2} s, {rate:.0} rows/s, snapshot {}{proven}",
                report.about.guarantee
            ));
            report.about.notes.iter().for_each(|note| self.line(format!("note: {note}")));
            self.line(format!("tally: {:032x}", total.digest));
        }
        self.findings(&report.findings, report.mended);
    }

    /// What was found; printed even when quiet.
    pub(crate) fn findings(&self, findings: &Findings, mended: bool) {
        for (sort, found) in &findings.census {
            let state = if mended && found.mendable { "mended" } else { "found" };
            tell(format_args!("{state}: {} of {sort}", found.count));
            found.told.iter().for_each(|text| tell(format_args!("  {text}")));
        }
        if findings.damaged.count > 0 {
            tell(format_args!("skipped: {} damaged rows", findings.damaged.count));
            findings.damaged.told.iter().for_each(|text| tell(format_args!("  {text}")));
        }
        if self.quiet {
            return;
        }
        for (what, count) in &findings.left_behind {
            self.line(format!("not carried: {count} of {what}"));
        }
        if findings.stripped > 0 {
            self.line(format!("taken out: {} secrets; --keep-secrets leaves them in", findings.stripped));
        }
    }

    /// The verdict of a verification.
    pub(crate) fn verdict<S: System>(&self, verdict: &Verdict<S>, moved_on: &[(String, u64)], took: Duration) {
        let classes = |class| verdict.differences.iter().filter(|difference| difference.2 == class).count();
        let (primary, derived) = (classes(Class::Primary), classes(Class::Derived));
        if self.json {
            let rows: Vec<Value> = verdict
                .rows
                .iter()
                .map(|row| json!({ "kind": row.kind, "class": format!("{:?}", row.judgement).to_lowercase(), "left": row.left, "right": row.right }))
                .collect();
            return self.line(json!({
                "version": 1, "event": "verdict", "equal": verdict.differences.is_empty() || !moved_on.is_empty(),
                "moved_on": moved_on.iter().cloned().collect::<BTreeMap<_, _>>(), "seconds": took.as_secs_f64(),
                "left": about(&verdict.left), "right": about(&verdict.right),
                "left_tally": cell(&verdict.left_tally.total()), "right_tally": cell(&verdict.right_tally.total()),
                "primary_buckets": primary, "derived_buckets": derived, "rows_differing": verdict.differing.total(),
                "primary_rows": verdict.differing.primary, "derived_rows": verdict.differing.derived,
                "mended_rows": verdict.differing.mended, "rows": rows,
            }));
        }
        if !moved_on.is_empty() {
            let moved: Vec<_> = moved_on.iter().map(|(name, by)| format!("{name} is {by} ahead")).collect();
            return self
                .line(format!("equal but for the next numbers, as a restore leaves them: {}", moved.join(", ")));
        }
        for row in &verdict.rows {
            let class = match row.judgement {
                Judgement::Primary => "",
                Judgement::Derived => " (can be worked out)",
                Judgement::Mended => " (mended)",
            };
            self.line(format!("differs: {}{class}", row.kind));
            self.line(format!("  - {}", row.left.as_deref().unwrap_or("absent")));
            self.line(format!("  + {}", row.right.as_deref().unwrap_or("absent")));
        }
        let rows = verdict.left_tally.total().rows;
        let seconds = took.as_secs_f64();
        if verdict.differences.is_empty() {
            if !self.quiet {
                let digest = verdict.left_tally.total().digest;
                self.line(format!("equal: {rows} rows in {seconds:.2} s, tally {digest:032x}"));
            }
        } else {
            let what = match verdict.differing.total() {
                0 => format!("{primary} buckets differ in what the volume is, {derived} in what can be worked out"),
                _ => how_many(&verdict.differing, verdict.rows.len()),
            };
            self.line(format!("not equal: {what}"));
        }
    }
}

/// How many rows differ, how many of them were not shown, and what that means.
fn how_many(differing: &Differing, shown: usize) -> String {
    let (Differing { primary, derived, mended }, all) = (*differing, differing.total());
    let more = all.saturating_sub(shown as u64);
    let more = if more > 0 { format!(", {more} of them not shown") } else { String::new() };
    if mended == all {
        return format!("{all} rows differ{more}, all of them mended by the load");
    }
    let sorts =
        [(primary, "in what the volume is"), (derived, "in what can be worked out"), (mended, "mended by the load")];
    let sorts = sorts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
    format!("{all} rows differ{more}: {}", sorts.collect::<Vec<_>>().join(", "))
}

/// A name or a path, with what no terminal should see escaped.
pub(crate) fn escaped(name: &[u8]) -> String {
    let mut text = String::new();
    for chunk in name.utf8_chunks() {
        for each in chunk.valid().chars() {
            if each.is_control() { text.extend(each.escape_default()) } else { text.push(each) }
        }
        chunk.invalid().iter().for_each(|byte| text += &format!("\\x{byte:02x}"));
    }
    text
}

/// A name or a path as JSON: a string, or its hexadecimal digits where it is not UTF-8.
pub(crate) fn value(name: &[u8]) -> Value {
    match std::str::from_utf8(name) {
        Ok(text) => json!(text),
        Err(_) => json!({ "hex": hex(name) }),
    }
}

/// A plain table whose numbers stand to the right.
pub(crate) fn table<const N: usize>(head: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(head);
    if let Some(column) = table.column_mut(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

pub(crate) fn about(about: &About) -> Value {
    json!({ "origin": about.origin, "guarantee": about.guarantee.to_string(), "notes": about.notes, "live_sessions": about.live_sessions })
}

pub(crate) fn by_kind<K: Kind>(rows: &BTreeMap<K, u64>) -> Value {
    rows.iter().map(|(kind, rows)| (kind.info().name.to_owned(), Value::from(*rows))).collect()
}

pub(crate) fn cell(cell: &Cell) -> Value {
    json!({ "rows": cell.rows, "bytes": cell.bytes, "digest": format!("{:032x}", cell.digest), "derived": format!("{:032x}", cell.derived) })
}

/// What was found, as an object.
pub(crate) fn findings(findings: &Findings, mended: bool) -> Value {
    let census: Vec<Value> = findings
        .census
        .iter()
        .map(|(sort, found)| json!({ "sort": sort, "count": found.count, "mended": mended && found.mendable, "told": found.told }))
        .collect();
    json!({ "census": census, "damaged": findings.damaged.count, "damaged_told": findings.damaged.told,
        "left_behind": findings.left_behind, "secrets_taken_out": findings.stripped })
}
