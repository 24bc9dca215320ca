//! Answers `GET /metrics` and `GET /healthz`, one after the other, each within bounds of length and time: what is asked by
//! strangers costs next to nothing. It knows no backup.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use metaferry_pipeline::{Error, Result};

use super::health::Health;

/// The longest request that is read, in bytes.
const MOST_BYTES: usize = 8 << 10;
/// How long one may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Begins to answer, in a thread that ends with the program; returns where.
pub(super) fn listen(address: SocketAddr, health: Health) -> Result<SocketAddr> {
    let failed = |cause| Error::config(format!("--listen {address}")).because(cause);
    let listener = TcpListener::bind(address).map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    let serve = move || {
        for stream in listener.incoming() {
            match stream {
                // Whoever goes away before the answer wants none.
                Ok(stream) => drop(answer(stream, &health)),
                // Too many files are open, for example: it does not get better at once.
                Err(_) => std::thread::sleep(PATIENCE),
            }
        }
    };
    std::thread::Builder::new()
        .name("listen".to_owned())
        .spawn(serve)
        .map_err(|cause| Error::engine("a thread", cause))?;
    Ok(bound)
}

fn answer(mut stream: TcpStream, health: &Health) -> std::io::Result<()> {
    stream.set_write_timeout(Some(PATIENCE))?;
    let request = read(&mut stream)?;
    let (status, text) = reply(&request, health);
    let length = text.len();
    let head =
        format!("HTTP/1.0 {status}\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {length}\r\n\r\n");
    let is_head = request.starts_with(b"HEAD ");
    stream.write_all(head.as_bytes())?;
    if is_head { Ok(()) } else { stream.write_all(text.as_bytes()) }
}

/// The head of a request, or as much of it as came in time and fits.
fn read(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let (begun, mut request, mut part) = (Instant::now(), Vec::new(), [0; 1024]);
    while request.len() < MOST_BYTES && !request.windows(4).any(|end| end == b"\r\n\r\n") {
        let left = PATIENCE.saturating_sub(begun.elapsed()).max(Duration::from_millis(1));
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut part) {
            Ok(count) if count > 0 && begun.elapsed() < PATIENCE => {
                request.extend_from_slice(part.get(..count).unwrap_or_default());
            }
            Ok(_) | Err(_) => break,
        }
    }
    Ok(request)
}

fn reply(request: &[u8], health: &Health) -> (&'static str, String) {
    let line = request.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let path = path.split(|byte| *byte == b'?').next().unwrap_or_default();
    let now = Timestamp::now();
    match (method, path) {
        (b"GET" | b"HEAD", b"/metrics") => ("200 OK", health.state().metrics(now)),
        (b"GET" | b"HEAD", b"/healthz") if health.state().is_healthy(now) => ("200 OK", "ok\n".to_owned()),
        (b"GET" | b"HEAD", b"/healthz") => {
            ("503 Service Unavailable", "the newest backup is older than two periods\n".to_owned())
        }
        (b"GET" | b"HEAD", _) => ("404 Not Found", "/metrics and /healthz are here\n".to_owned()),
        _ => ("400 Bad Request", "only GET is understood\n".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(request: &[u8]) -> String {
        let address = listen("127.0.0.1:0".parse().unwrap(), Health::new(3600)).unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn what_is_asked_is_answered_and_nothing_else() {
        assert!(ask(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").starts_with("HTTP/1.0 200 OK\r\n"));
        assert!(ask(b"GET /metrics?a=b HTTP/1.0\r\n\r\n").contains("\nmetaferry_period_seconds 3600\n"));
        assert!(ask(b"HEAD /metrics HTTP/1.0\r\n\r\n").ends_with("\r\n\r\n"));
        assert!(ask(b"GET / HTTP/1.0\r\n\r\n").starts_with("HTTP/1.0 404"));
        for odd in [&b"POST /metrics HTTP/1.0\r\n\r\n"[..], b"", b"\0\xff", b"GET", b"\r\n\r\n"] {
            assert!(ask(odd).starts_with("HTTP/1.0 40"), "{odd:?}");
        }
    }
}
