//! Backups in S3: moto's server, which is started on a spare port. Without `METAFERRY_MOTO` they are reported as ignored.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::kit::{Folder, expect};

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
    Moto::expect(0, &["restore", "--verify", &repository, &folder.sqlite("copy.db")]);
    expect(0, &["verify", &source, &folder.sqlite("copy.db")]);
    Moto::expect(0, &["prune", "--keep-last", "1", "--grace", "0s", &repository]);
    Moto::expect(0, &["verify", &source, &repository]);
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
}
