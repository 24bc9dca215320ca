//! Tests of the protocol: truncation, hostile bytes, encoding.

use super::*;

fn reader(bytes: &[u8]) -> Reader<&[u8]> {
    Reader::new(bytes, "test")
}

/// Gives one byte at a time.
struct Slowly<'a>(&'a [u8]);

impl Read for Slowly<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = buffer.len().min(1);
        self.0.read(&mut buffer[..count])
    }
}

const EVERYTHING: &[u8] =
    b"*8\r\n+OK\r\n-NOPERM no\r\n:-42\r\n$5\r\na\r\nbc\r\n$0\r\n\r\n$-1\r\n_\r\n*2\r\n*-1\r\n*0\r\n";

fn everything() -> Reply {
    Reply::Array(vec![
        Reply::Status("OK".to_owned()),
        Reply::Error(ServerError { code: "NOPERM".to_owned(), text: "no".to_owned() }),
        Reply::Integer(-42),
        Reply::Bulk(b"a\r\nbc".to_vec()),
        Reply::Bulk(Vec::new()),
        Reply::Null,
        Reply::Null,
        Reply::Array(vec![Reply::Null, Reply::Array(Vec::new())]),
    ])
}

#[test]
fn any_reply_is_read_however_it_arrives() {
    assert_eq!(reader(EVERYTHING).reply().unwrap(), everything());
    assert_eq!(Reader::new(Slowly(EVERYTHING), "test").reply().unwrap(), everything());
}

#[test]
fn any_truncation_is_an_error() {
    for length in 0..EVERYTHING.len() {
        let error = reader(&EVERYTHING[..length]).reply().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Engine);
        assert!(error.to_string().starts_with("test: "));
    }
}

#[test]
fn typed_reads() {
    let mut typed = reader(EVERYTHING);
    assert_eq!(typed.array().unwrap(), 8);
    typed.status().unwrap();
    let refusal = typed.integer().unwrap_err();
    assert_eq!(refusal.kind(), ErrorKind::Config);
    assert!(format!("{refusal:?}").contains("NOPERM no"));
    assert_eq!(typed.integer().unwrap(), -42);
    assert_eq!(typed.bulk().unwrap(), Some(&b"a\r\nbc"[..]));
    let mut out = b"old".to_vec();
    assert!(typed.bulk_into(&mut out).unwrap());
    assert_eq!(out, b"");
    assert!(!typed.bulk_into(&mut out).unwrap());
    assert_eq!(typed.bulk().unwrap(), None);
    assert_eq!(typed.array().unwrap(), 2);
    assert_eq!(typed.array().unwrap(), 0);
    assert_eq!(typed.array().unwrap(), 0);
    assert!(typed.array().is_err());
}

#[test]
fn values_of_every_size_around_the_buffer() {
    let sizes = [0, 1, BUFFER_BYTES - 3, BUFFER_BYTES - 2, BUFFER_BYTES - 1, BUFFER_BYTES, 3 * BUFFER_BYTES + 7, 5];
    let mut bytes = Vec::new();
    sizes.iter().for_each(|&size| argument(&mut bytes, &vec![b'x'; size]));
    let (mut borrowed, mut copied, mut out) = (reader(&bytes), reader(&bytes), Vec::new());
    for size in sizes {
        assert_eq!(borrowed.bulk().unwrap().unwrap().len(), size);
        assert!(copied.bulk_into(&mut out).unwrap());
        assert_eq!(out.len(), size);
    }
}

#[test]
fn hostile_bytes_are_errors_and_cost_nothing() {
    let hostile: &[&[u8]] = &[
        b"$9223372036854775807\r\nabc",
        b"*9223372036854775807\r\n:1\r\n",
        b"$99999999999999999999999\r\n",
        b"$-2\r\n",
        b"$+3\r\nabc\r\n",
        b"$3\r\nabcde",
        b"$\r\n",
        b"*\r\n",
        b":\r\n",
        b":12a\r\n",
        b"?what\r\n",
        b"\r\n",
        b"\n",
        b"HTTP/1.1 400 Bad Request\r\n",
    ];
    for bytes in hostile {
        assert!(reader(bytes).reply().is_err(), "{}", bytes.escape_ascii());
        assert!(reader(bytes).bulk().is_err(), "{}", bytes.escape_ascii());
        assert!(reader(bytes).bulk_into(&mut Vec::new()).is_err());
        assert!(reader(bytes).integer().is_err());
        assert!(reader(bytes).status().is_err());
    }
    assert!(reader(&b"*1\r\n".repeat(100_000)).reply().is_err());
    assert!(reader(&vec![b'+'; 1 << 20]).reply().is_err());
}

#[test]
fn commands_are_encoded() {
    let mut out = Vec::new();
    begin(&mut out, 4);
    argument(&mut out, b"SET");
    argument_of(&mut out, &[b"{1}", b"i", b"42"]);
    number(&mut out, -7_i64);
    argument(&mut out, b"");
    assert_eq!(out, b"*4\r\n$3\r\nSET\r\n$6\r\n{1}i42\r\n$2\r\n-7\r\n$0\r\n\r\n");
    let mut whole = Vec::new();
    command(&mut whole, &[b"SET", b"{1}i42", b"-7", b""]);
    assert_eq!(whole, out);
}

#[test]
fn server_errors_say_what_to_do() {
    for (line, kind, advice) in [
        ("NOAUTH Authentication required.", ErrorKind::Config, "META_PASSWORD"),
        ("WRONGPASS invalid", ErrorKind::Config, "password"),
        ("NOPERM no permissions", ErrorKind::Config, "ACL"),
        ("MOVED 13907 127.0.0.1:7001", ErrorKind::Engine, "slots"),
        ("OOM command not allowed", ErrorKind::Engine, "maxmemory"),
        ("MISCONF Redis is configured to save", ErrorKind::Engine, "disk"),
        ("READONLY You can't write", ErrorKind::Config, "replica"),
        ("LOADING Redis is loading", ErrorKind::Engine, "later"),
    ] {
        let error = Error::from(ServerError::parse(line.as_bytes()));
        assert_eq!(error.kind(), kind);
        assert!(error.what_to_do().unwrap().contains(advice), "{line}");
        assert!(format!("{error:?}").contains(line));
    }
    let leaky = ServerError::parse(b"ERR unknown command 'AUTH', with args beginning with: 's3cret' ");
    assert_eq!(leaky.to_string(), "ERR unknown command 'AUTH'");
    assert_eq!(ServerError::parse(b"odd").to_string(), "ERR odd");
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in "[-+:$*_0-9a\\r\\n]{0,60}") {
        let mut any = reader(bytes.as_bytes());
        while any.reply().is_ok() {}
        let mut typed = reader(bytes.as_bytes());
        while typed.bulk().is_ok() || typed.integer().is_ok() || typed.status().is_ok() || typed.array().is_ok() {}
    }
}
