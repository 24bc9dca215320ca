//! The files in `deploy/`: a tool that knows each finds nothing wrong with it, and what they ask of metaferry, it understands.

use std::process::Command;

use crate::kit::{Folder, metaferry};

fn deploy(name: &str) -> String {
    format!("{}/deploy/{name}", env!("CARGO_MANIFEST_DIR"))
}

#[track_caller]
fn finds_nothing(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| unreachable!("{command:?}: {error}"));
    let told = [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat();
    assert!(output.status.success(), "{command:?}\n{told}");
}

#[test]
fn systemd_takes_the_unit() {
    let folder = Folder::new();
    let unit = std::fs::read_to_string(deploy("metaferry-agent@.service")).unwrap();
    // The program has to be there.
    let unit = unit.replace("/usr/bin/metaferry", env!("CARGO_BIN_EXE_metaferry"));
    std::fs::write(folder.path("metaferry-agent@.service"), unit).unwrap();
    let mut command = Command::new("systemd-analyze");
    let output = command.args(["verify", "--man=no", &folder.path("metaferry-agent@volume.service")]).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && !told.contains("metaferry"), "{told}");
}

/// A linter in the folder of `METAFERRY_LINTERS`.
fn linter(name: &str) -> Command {
    let folder = std::env::var("METAFERRY_LINTERS").expect("METAFERRY_LINTERS must be a folder with linters");
    Command::new(format!("{folder}/{name}"))
}

#[test]
#[cfg_attr(not(linters), ignore = "needs METAFERRY_LINTERS")]
fn kubernetes_takes_the_manifest() {
    finds_nothing(linter("kubernetes-validate").args(["--strict", &deploy("kubernetes.yaml")]));
}

#[test]
#[cfg_attr(not(linters), ignore = "needs METAFERRY_LINTERS")]
fn the_container_file_is_a_sound_one() {
    finds_nothing(linter("hadolint").arg(deploy("Containerfile")));
}

#[test]
fn what_they_ask_is_understood() {
    let help = String::from_utf8(metaferry(&["agent", "--help"]).stdout).unwrap();
    for name in ["metaferry-agent@.service", "metaferry-agent.env", "kubernetes.yaml"] {
        let text = std::fs::read_to_string(deploy(name)).unwrap();
        let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
        let words =
            lines.flat_map(|line| line.split([' ', '=', '\n'])).filter(|word| word.starts_with("--") && *word != "---");
        let mut count = 0;
        for option in words {
            assert!(help.contains(option), "{name}: {option}");
            count += 1;
        }
        assert!(count > 0, "{name} asks nothing");
    }
}

#[test]
fn they_hold_no_secret() {
    for entry in std::fs::read_dir(deploy("")).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        for name in ["META_PASSWORD=", "METAFERRY_PASSPHRASE=", "AWS_SECRET_ACCESS_KEY=", "AWS_ACCESS_KEY_ID="] {
            assert!(text.split(name).skip(1).all(|rest| rest.starts_with('…')), "{name}");
        }
    }
}
