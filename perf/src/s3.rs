//! A server of S3 on this machine, moto's, which `METAFERRY_MOTO` names, and the table of runs that back up into it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::cases::{Goal, Group, ours};
use crate::lab::{Lab, url};
use crate::process::Ran;

const PATIENCE: Duration = Duration::from_secs(60);
/// The keys that are sent; the server takes any.
const KEYS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")];

/// Every group, in the order of the report.
pub(crate) static S3: &[Group] = &[
    Group {
        name: "sqlite-to-s3",
        stores: &[],
        cases: &[ours(Goal::Seconds(6.0), |lab, _| backup(lab, &Server::start(lab)?))],
    },
    Group {
        name: "sqlite-to-s3-again",
        stores: &[],
        cases: &[ours(Goal::Seconds(5.0), |lab, _| {
            let server = Server::start(lab)?;
            backup(lab, &server)?;
            backup(lab, &server)
        })],
    },
    Group {
        name: "s3-to-sqlite",
        stores: &[],
        cases: &[ours(Goal::Seconds(10.0), |lab, folder| {
            let server = Server::start(lab)?;
            backup(lab, &server)?;
            restore(lab, &server, folder)
        })],
    },
];

/// A server that listens on this machine alone, with one bucket; it keeps all in its memory.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start(lab: &Lab) -> Result<Self> {
        let program = lab.tools.moto.as_ref().context("METAFERRY_MOTO names no server")?;
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let mut command = Command::new(program);
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let server = Self { child, port };
        let begun = Instant::now();
        while server.make_bucket().is_err() {
            ensure!(begun.elapsed() < PATIENCE, "moto does not answer");
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(server)
    }

    fn make_bucket(&self) -> Result<()> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        // Somebody has to have signed it; it is not looked at how.
        let signed = "Authorization: AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request";
        let end = "Content-Length: 0\r\nConnection: close\r\n\r\n";
        stream.write_all(format!("PUT /backups HTTP/1.1\r\nHost: 127.0.0.1\r\n{signed}\r\n{end}").as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        ensure!(answer.starts_with("HTTP/1.1 200"), "no bucket: {answer}");
        Ok(())
    }

    fn url(&self) -> String {
        format!("repo+s3://backups/volume?endpoint=http://127.0.0.1:{}&region=us-east-1", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A server that is gone already is what is wanted.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn backup(lab: &Lab, server: &Server) -> Result<Ran> {
    let line = lab.metaferry().envs(&KEYS).arg("backup").arg(url(&lab.sqlite())).arg(server.url());
    let (ran, summary) = lab.summary(line, &lab.folder)?;
    lab.check(&summary, "tally")?;
    Ok(ran)
}

fn restore(lab: &Lab, server: &Server, folder: &Path) -> Result<Ran> {
    let line = lab.metaferry().envs(&KEYS).arg("restore").arg("--margin").arg("0").arg(server.url());
    let (ran, summary) = lab.summary(line.arg(url(&folder.join("new.db"))), folder)?;
    lab.check(&summary, "tally")?;
    Ok(ran)
}
