//! The document is what is written: its table of kinds is the declaration, a stranger's reader reads what we write, and
//! the frozen files of every version are read for ever.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use metaferry_codecs::juicefs::Kind;
use metaferry_codecs::system::{Class, Kind as _};

use super::kit::*;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The table of kinds, but for its last column, which says what the values are.
fn declared() -> Vec<String> {
    let mut rows = Vec::new();
    for kind in Kind::all().iter().map(|kind| kind.info()) {
        let class = match kind.class {
            Class::Primary => "primary",
            Class::Derived => "derived",
            Class::Volatile => "volatile",
        };
        for field in kind.fields {
            let (kind, number) = (kind.name, kind.number);
            rows.push(format!("| {kind} | {number} | {class} | {} | {} | {} |", field.name, field.number, field.role));
        }
    }
    rows
}

#[test]
fn the_table_of_the_document_is_the_declaration() {
    let document = std::fs::read_to_string(root().join("docs/archive-format.md")).unwrap();
    let after =
        document.split("| kind | no. | class | field | no. | role | value |\n").nth(1).expect("the table's head");
    let table: Vec<&str> = after.lines().skip(1).take_while(|line| line.starts_with('|')).collect();
    let stripped: Vec<&str> =
        table.iter().map(|line| &line[..=line.trim_end_matches(" |").rfind('|').unwrap()]).collect();
    assert_eq!(stripped, declared(), "the table should be:\n{}", declared().join("\n"));
    let described = |line: &&str| line.trim_end_matches(" |").rsplit('|').next().unwrap().trim().len() > 3;
    assert!(table.iter().all(described), "every field says what its values are");
}

fn stranger(path: &Path) -> Output {
    for (command, package) in [("zstd", "zstd"), ("python3", "python3")] {
        let found = Command::new(command).arg("--version").output();
        assert!(
            found.is_ok_and(|found| found.status.success()),
            "install the package {package}: this test runs {command}"
        );
    }
    Command::new("python3").arg(root().join("tests/read_archive.py")).arg(path).output().unwrap()
}

#[test]
fn a_stranger_reads_what_we_write_and_sees_what_was_altered() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jsonl.zst");
    write_file(&path, &wide(30_000)).unwrap();
    let output = stranger(&path);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(said.trim(), r#"{"chunk": 30000, "edge": 30000, "node": 30000, "setting": 1}"#, "{output:?}");
    let whole = std::fs::read(&path).unwrap();
    for place in [30, whole.len() / 2, whole.len() - 1000, whole.len() - 100] {
        let mut bytes = whole.clone();
        bytes[place] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert!(!stranger(&path).status.success(), "byte {place}");
    }
}

#[test]
fn standard_tools_read_what_we_write() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jsonl.zst");
    write_file(&path, &volume()).unwrap();
    let output = Command::new("zstd").arg("-dc").arg(&path).output().expect("install the package zstd");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()));
    assert!(text.starts_with("{\"metaferry\":{\"format\":1,") && text.ends_with("{\"end\":{\"of\":\"manifest\"}}\n"));
}

fn frozen() -> Vec<PathBuf> {
    let list =
        |path: &Path| -> Vec<PathBuf> { std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect() };
    let versions = list(&root().join("tests/data/archive"));
    versions
        .iter()
        .flat_map(|version| list(version))
        .filter(|path| path.extension().is_some_and(|end| end == "zst"))
        .collect()
}

#[test]
fn frozen_archives_of_every_version_are_read() {
    let frozen = frozen();
    assert!(!frozen.is_empty());
    for path in frozen {
        let expected = std::fs::read_to_string(path.with_extension("lines")).unwrap();
        assert_eq!(lines(&read_file(&path).unwrap()).join("\n") + "\n", expected, "{}", path.display());
        assert_eq!(lines(&read_pipe(&std::fs::read(&path).unwrap()).unwrap()).join("\n") + "\n", expected);
    }
}

/// For a new version of the format: makes its frozen file. One that exists is refused, as any archive is.
#[test]
#[ignore = "makes a frozen file, once for each version of the format"]
fn freeze() {
    let path = root().join("tests/data/archive/v1/small.jsonl.zst");
    write_file(&path, &volume()).unwrap();
    std::fs::write(path.with_extension("lines"), lines(&read_file(&path).unwrap()).join("\n") + "\n").unwrap();
}
