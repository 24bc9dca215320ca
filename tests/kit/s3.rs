//! A server of S3 that the tests start, moto's, and ways to it that make it an odd one.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

/// A server of S3 with one bucket.
pub(crate) struct Moto {
    server: Child,
    pub(crate) port: u16,
}

impl Moto {
    pub(crate) fn start() -> Self {
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
        self.put_at("/backups", "")
    }

    /// Puts an object.
    pub(crate) fn put(&self, name: &str, text: &str) {
        self.put_at(&format!("/backups/{name}"), text).unwrap();
    }

    fn put_at(&self, path: &str, text: &str) -> Option<()> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        let length = text.len();
        // Somebody has to have signed it; it is not looked at how.
        let signed = "Authorization: AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request";
        let head = format!("PUT {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{signed}\r\nContent-Length: {length}");
        stream.write_all(format!("{head}\r\nConnection: close\r\n\r\n{text}").as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer.starts_with("HTTP/1.1 200").then_some(())
    }

    pub(crate) fn url(&self) -> String {
        format!("repo+s3://backups/some/volume?endpoint=http://127.0.0.1:{}&region=us-east-1", self.port)
    }

    pub(crate) fn metaferry(args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_metaferry"));
        command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test").args(args).output().unwrap()
    }

    #[track_caller]
    pub(crate) fn expect(code: i32, args: &[&str]) -> String {
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

/// What is odd about a store.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Oddity {
    /// It answers one call in twenty with an error, or not at all.
    Fails,
    /// It refuses conditional puts.
    Refuses,
    /// It takes them, and looks at no condition.
    Ignores,
    /// Whoever asks has a token that is too old.
    Expired,
    /// It hangs up in the middle of every long answer, one in two.
    Torn,
}

/// A way to a server of S3 that makes it an odd one.
pub(crate) struct Odd {
    pub(crate) port: u16,
}

impl Odd {
    pub(crate) fn before(server: u16, oddity: Oddity) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for (number, client) in (1_u64..).zip(listener.incoming()) {
                let client = client.unwrap();
                // Whoever goes away in the middle is killed by the test.
                std::thread::spawn(move || drop(carry(client, server, (number, oddity))));
            }
        });
        Self { port }
    }
}

/// Carries one call and its answer.
fn carry(mut client: TcpStream, server: u16, (number, oddity): (u64, Oddity)) -> std::io::Result<()> {
    let (mut request, mut part) = (Vec::new(), [0; 64 << 10]);
    let head = loop {
        if let Some(end) = request.windows(4).position(|end| end == b"\r\n\r\n") {
            break end + 4;
        }
        match client.read(&mut part)? {
            0 => return Ok(()),
            count => request.extend_from_slice(&part[..count]),
        }
    };
    let text = String::from_utf8_lossy(&request[..head]).to_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok()).unwrap_or(0);
    while request.len() < head + length {
        match client.read(&mut part)? {
            0 => return Ok(()),
            count => request.extend_from_slice(&part[..count]),
        }
    }
    let fails = oddity == Oddity::Fails && number.is_multiple_of(20);
    if oddity == Oddity::Refuses && (text.contains("\r\nif-match: ") || text.contains("\r\nif-none-match: ")) {
        let body = "<Error><Code>NotImplemented</Code><Message>A header is not implemented</Message></Error>";
        let length = body.len();
        let head = format!("HTTP/1.1 501 Not Implemented\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
        return client.write_all(format!("{head}{body}").as_bytes());
    }
    if oddity == Oddity::Expired {
        let body = "<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>";
        let head = format!("HTTP/1.1 400 Bad Request\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        return client.write_all(format!("{head}{body}").as_bytes());
    }
    if fails && number.is_multiple_of(40) {
        return client.write_all(b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    }
    let mut upstream = TcpStream::connect(("127.0.0.1", server))?;
    let line = request.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    upstream.write_all(&request[..line])?;
    upstream.write_all(b"Connection: close\r\n")?;
    let mut rest = request[line..].to_vec();
    if oddity == Oddity::Ignores {
        for name in [&b"if-match: "[..], b"if-none-match: "] {
            let at = rest[..head - line].windows(name.len()).position(|window| window.eq_ignore_ascii_case(name));
            // As long as it was, and of no meaning.
            at.into_iter().for_each(|at| rest[at..at + 2].copy_from_slice(b"x-"));
        }
    }
    upstream.write_all(&rest)?;
    let mut answer = Vec::new();
    upstream.read_to_end(&mut answer)?;
    if oddity == Oddity::Torn && number.is_multiple_of(2) && answer.len() > 2000 {
        answer.truncate(answer.len() / 2);
    }
    // What was done, and nobody hears of it.
    if fails { Ok(()) } else { client.write_all(&answer) }
}
