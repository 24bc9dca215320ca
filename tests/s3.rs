//! Backups in S3: moto's server, which is started on a spare port. Without `METAFERRY_MOTO` they are reported as ignored.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use metaferry_codecs::juicefs::setting;
use serde_json::Value;

use crate::kit::volume::{reset, same_tree};
use crate::kit::{Folder, expect, expect_error};

const PATIENCE: Duration = Duration::from_secs(60);

/// A server of S3 with one bucket.
struct Moto {
    server: Child,
    port: u16,
}

impl Moto {
    fn start() -> Self {
        let program = std::env::var_os("METAFERRY_MOTO").expect("METAFERRY_MOTO must be the path of moto_server");
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new(program);
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]).stdout(Stdio::null()).stderr(Stdio::null());
        let moto = Self { server: command.spawn().unwrap(), port };
        let begun = Instant::now();
        while moto.put_bucket().is_none() {
            assert!(begun.elapsed() < PATIENCE, "moto does not answer");
            std::thread::sleep(Duration::from_millis(50));
        }
        moto
    }

    /// Makes the bucket; none where nobody answers.
    fn put_bucket(&self) -> Option<()> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        let request = "PUT /backups HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer.starts_with("HTTP/1.1 200").then_some(())
    }

    fn url(&self) -> String {
        format!("repo+s3://backups/some/volume?endpoint=http://127.0.0.1:{}&region=us-east-1", self.port)
    }

    fn metaferry(args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_metaferry"));
        command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test").args(args).output().unwrap()
    }

    #[track_caller]
    fn expect(code: i32, args: &[&str]) -> String {
        let output = Self::metaferry(args);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "metaferry {args:?}\n{told}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        drop(self.server.kill());
        drop(self.server.wait());
    }
}

#[test]
#[cfg_attr(not(s3), ignore = "needs METAFERRY_MOTO")]
fn backups_in_s3_come_back_equal_and_what_is_there_is_not_sent_again() {
    let (folder, moto) = (Folder::new(), Moto::start());
    let (source, repository) = (folder.sqlite("volume.db"), moto.url());
    expect(0, &["load", "synthetic://?files=200000&seed=7", &source]);
    Moto::expect(0, &["backup", &source, &repository]);
    let again = Moto::expect(0, &["backup", "--json", &source, &repository]);
    assert!(again.contains("\"new_bytes\":0"), "{again}");
    assert_eq!(Moto::expect(0, &["backups", "--json", &repository]).lines().count(), 2);
    Moto::expect(0, &["verify", &repository]);
    Moto::expect(0, &["restore", "--margin", "0", "--verify", &repository, &folder.sqlite("copy.db")]);
    expect(0, &["verify", &source, &folder.sqlite("copy.db")]);
    Moto::expect(0, &["prune", "--keep-last", "1", "--grace", "0s", &repository]);
    Moto::expect(0, &["verify", &source, &repository]);
}

/// A volume whose objects are in the server's bucket.
fn volume(folder: &Folder, moto: &Moto, kind: &str, files: &str) -> String {
    let source = folder.sqlite(&format!("{kind}.db"));
    expect(0, &["load", &format!("synthetic://?files={files}&seed=7"), &source]);
    reset(&folder.path(&format!("{kind}.db")), |fields| {
        fields.insert("Name".to_owned(), kind.into());
        fields.insert("Storage".to_owned(), kind.into());
        fields.insert("Bucket".to_owned(), format!("http://127.0.0.1:{}/backups", moto.port).into());
        fields.insert("AccessKey".to_owned(), "test".into());
        let mut document = serde_json::to_vec(fields).unwrap();
        setting::put_secret(&mut document, "SecretKey", b"test").unwrap();
        *fields = serde_json::from_slice(&document).unwrap();
    });
    source
}

#[test]
#[cfg_attr(not(s3), ignore = "needs METAFERRY_MOTO")]
fn a_volume_has_its_own_backups_in_its_own_bucket() {
    let (folder, moto) = (Folder::new(), Moto::start());
    // One that goes in one piece, and one that goes in parts.
    for (kind, files, parts) in [("minio", "1000", false), ("s3", "400000", true)] {
        let source = volume(&folder, &moto, kind, files);
        let text = expect(0, &["backup", "--into-volume", "--json", &source]);
        let made: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!(made["bytes"].as_u64().unwrap() > 8 << 20, parts, "{made}");
        let text = expect(0, &["backups", "--from-volume", "--json", &source]);
        let listed: Value = serde_json::from_str(text.trim()).unwrap();
        assert_eq!((&listed["name"], &listed["bytes"]), (&made["name"], &made["bytes"]));
        let copy = folder.sqlite(&format!("{kind}-copy.db"));
        let restore = ["restore", "--margin", "0", "--scan-bucket", "--verify", "--from-volume"];
        expect(0, &[&restore[..], &[&source, &copy]].concat());
        // By the bucket alone, with the keys of the environment.
        let bucket = format!("s3://backups/{kind}?endpoint=http://127.0.0.1:{}", moto.port);
        let other = folder.sqlite(&format!("{kind}-other.db"));
        Moto::expect(0, &[&restore[..], &[&format!("{bucket}@latest"), &other]].concat());
        expect(0, &["verify", &copy, &other]);
        if !parts {
            same_tree(&folder, &source, &copy);
        }
        // The keys of a repository's volume were taken out: they are given anew.
        let repository = format!("repo+file://{}", folder.path(kind));
        expect(0, &["backup", &source, &repository]);
        let (secret, third) = (folder.path("secret"), folder.sqlite(&format!("{kind}-third.db")));
        let scan = ["restore", "--scan-bucket", &repository, &third];
        let refused = expect_error(1, &scan);
        assert!(refused.contains("SecretKey was taken out") && refused.contains("--secret-key-file"), "{refused}");
        std::fs::write(&secret, "test").unwrap();
        expect(0, &[&scan[..], &["--secret-key-file", &secret]].concat());
    }
}

#[test]
#[cfg_attr(not(s3), ignore = "needs METAFERRY_MOTO")]
fn a_bucket_that_is_not_there_is_told() {
    let (folder, moto) = (Folder::new(), Moto::start());
    let source = folder.sqlite("volume.db");
    expect(0, &["load", "synthetic://?files=100&seed=7", &source]);
    let nowhere = moto.url().replace("//backups/", "//nowhere/");
    Moto::expect(1, &["backup", &source, &nowhere]);
    Moto::expect(1, &["backups", &nowhere]);
    let volume = volume(&folder, &moto, "s3", "100");
    reset(&folder.path("s3.db"), |fields| {
        fields.insert("Bucket".to_owned(), format!("http://127.0.0.1:{}/nowhere", moto.port).into());
    });
    let refused = expect_error(1, &["backup", "--into-volume", &volume]);
    assert!(refused.contains("NoSuchBucket"), "{refused}");
}
