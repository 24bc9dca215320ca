//! Volumes that the client makes here, in several ways, and fills through a mount: what metaferry makes of them on the other
//! engine is the same to the client, to the last byte of every file.

use std::os::unix::fs::{chown, symlink};
use std::path::PathBuf;
use std::process::Command;

use super::kit::{Mount, PASSPHRASE, complaints, contents, differences, json, juicefs, juicefs_logs};
use crate::kit::redis::Redis;
use crate::kit::{Folder, expect, expect_error};

/// Sets attributes that the standard library does not know: one with any bytes in it, and access rights of a user.
const ATTRIBUTES: &str = r#"
import os, struct, sys
entries = [(1, 6, 0xffffffff), (2, 4, 1000), (4, 4, 0xffffffff), (16, 4, 0xffffffff), (32, 0, 0xffffffff)]
rights = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
os.setxattr(sys.argv[1], "user.any", bytes(range(256)))
if sys.argv[2] == "rights":
    os.setxattr(sys.argv[1], "system.posix_acl_access", rights)
"#;
/// Prints them.
const PRINT: &str =
    "import os, sys; print([(n, os.getxattr(sys.argv[1], n)) for n in sorted(os.listxattr(sys.argv[1]))])";

fn python(script: &str, args: &[&str]) -> String {
    let output = Command::new("python3").args(["-c", script]).args(args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Everything that a mount can make, in a folder `all`.
fn fill(mount: &Mount, has_rights: bool) {
    let path = |name: &str| mount.path("all").join(name);
    std::fs::create_dir_all(path("deep/er")).unwrap();
    std::fs::write(path("large"), (0..9_000_000_u32).map(|at| (at % 251) as u8).collect::<Vec<_>>()).unwrap();
    std::fs::write(path("empty"), "").unwrap();
    std::fs::write(path("deep/er/größe \"数\"\n"), "small").unwrap();
    std::fs::hard_link(path("large"), path("deep/linked")).unwrap();
    std::fs::hard_link(path("empty"), path("linked")).unwrap();
    std::fs::remove_file(path("empty")).unwrap();
    symlink("../large", path("deep/symlink")).unwrap();
    std::fs::write(path("sparse"), "head").unwrap();
    std::fs::OpenOptions::new().write(true).open(path("sparse")).unwrap().set_len(70 << 20).unwrap();
    std::fs::write(path("removed"), "to the trash").unwrap();
    std::fs::remove_file(path("removed")).unwrap();
    chown(path("large"), Some(1000), Some(100)).unwrap();
    assert!(Command::new("mkfifo").arg(path("fifo")).status().unwrap().success());
    python(ATTRIBUTES, &[&mount.name("all/large"), if has_rights { "rights" } else { "" }]);
}

/// How the client is told to make a volume, and how to fill it.
fn made(folder: &Folder, url: &str, options: &[&str]) {
    juicefs(&[&["format", url, "made", "--bucket", &folder.path("bucket/")][..], options].concat());
    juicefs(&["config", url, "--user-group-quota", "--yes"]);
    let mount = Mount::new(folder, url);
    fill(&mount, options.contains(&"--enable-acl"));
    for whose in [["--path", "/all"], ["--uid", "1000"], ["--gid", "100"]] {
        juicefs(&[&["quota", "set", url, "--capacity", "5", "--inodes", "1000"][..], &whose].concat());
    }
    mount.end();
}

/// What is to be seen through a mount.
fn seen(folder: &Folder, url: &str) -> (Vec<(PathBuf, Vec<u8>)>, String) {
    let mount = Mount::new(folder, url);
    let seen = (contents(&mount.path("all")), python(PRINT, &[&mount.name("all/large")]));
    mount.end();
    seen
}

fn made_and_carried(source: &str, target: &str, options: &[&str]) {
    let folder = Folder::new();
    let key = folder.path("key.pem");
    let options: Vec<_> = options.iter().map(|option| if *option == "KEY" { key.as_str() } else { option }).collect();
    let generate = ["genrsa", "-aes256", "-passout", &format!("pass:{PASSPHRASE}"), "-out", &key, "2048"];
    assert!(Command::new("openssl").args(generate).output().unwrap().status.success());
    made(&folder, source, &options);
    let (original, archive) = (json(source), folder.path("archive"));
    expect(0, &["dump", source, &archive, "--keep-secrets"]);
    expect(0, &["load", &archive, target]);
    expect(0, &["verify", source, target]);
    assert_eq!(differences(&original, &json(target)), [""; 0], "{options:?}");
    let told = juicefs(&["quota", "list", source]);
    assert!(told.contains("/all") && told.contains("uid:1000") && told.contains("gid:100"), "{told}");
    assert_eq!(juicefs(&["quota", "list", target]), told);
    juicefs(&["fsck", target]);
    assert_eq!(complaints(target), [""; 0]);
    let blocks = juicefs_logs(&["gc", target]);
    assert!(blocks.contains(" 0 leaked") && !blocks.contains("scanned 0 objects"), "{blocks}");
    assert!(seen(&folder, source) == seen(&folder, target), "{options:?}");
}

/// One way after the other on both engines.
fn on_both(options: &[&str]) {
    let (folder, redis) = (Folder::new(), Redis::start());
    made_and_carried(&folder.sqlite("made.db"), &redis.url(), options);
    made_and_carried(&redis.database(1), &folder.sqlite("copy.db"), options);
}

#[test]
#[cfg_attr(not(oracle), ignore = "wants a JuiceFS client in METAFERRY_JUICEFS")]
fn a_volume_as_the_client_makes_it_by_itself() {
    on_both(&[]);
}

#[test]
#[cfg_attr(not(oracle), ignore = "wants a JuiceFS client in METAFERRY_JUICEFS")]
fn a_volume_with_access_lists_limits_and_no_trash() {
    let limits = ["--capacity", "10", "--inodes", "5000"];
    on_both(&[&["--enable-acl", "--trash-days", "0", "--compress", "lz4"][..], &limits].concat());
}

#[test]
#[cfg_attr(not(oracle), ignore = "wants a JuiceFS client in METAFERRY_JUICEFS")]
fn a_volume_that_is_encrypted_and_whose_blocks_are_small() {
    let encryption = ["--encrypt-rsa-key", "KEY", "--encrypt-algo", "chacha20-rsa"];
    let blocks = ["--block-size", "256", "--hash-prefix", "--compress", "zstd", "--trash-days", "30"];
    on_both(&[&encryption[..], &blocks].concat());
}

/// The client writes wrong statistics of a folder that it clones, which its own check finds too.
#[test]
#[cfg_attr(not(oracle), ignore = "wants a JuiceFS client in METAFERRY_JUICEFS")]
fn what_the_client_gets_wrong_in_a_clone_is_told_and_mended() {
    let (folder, redis) = (Folder::new(), Redis::start());
    let source = folder.sqlite("made.db");
    juicefs(&["format", &source, "made", "--bucket", &folder.path("bucket/")]);
    let mount = Mount::new(&folder, &source);
    std::fs::create_dir(mount.path("one")).unwrap();
    std::fs::write(mount.path("one/file"), "text").unwrap();
    juicefs(&["clone", &mount.name("one"), &mount.name("two")]);
    let (one, two) = (contents(&mount.path("one")), contents(&mount.path("two")));
    assert_eq!(one, two);
    mount.end();
    let found = expect_error(3, &["dump", &source, &folder.path("archive")]);
    assert!(found.contains("directory statistics") && !found.contains("link count"), "{found}");
    assert!(complaints(&source).iter().any(|line| line.contains("/two")));
    expect(0, &["migrate", "--mend", &source, &redis.url()]);
    assert_eq!(complaints(&redis.url()), [""; 0]);
}
