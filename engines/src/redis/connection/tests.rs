//! Tests of connections, against real servers.

use std::error::Error as _;

use super::super::server::{Server, open, spare_port};
use super::*;

fn told(error: &Error) -> String {
    format!("{error:?} {}", error.what_to_do().unwrap_or_default())
}

#[test]
fn commands_and_databases() {
    let server = Server::start(&[]);
    let mut third = open(&format!("{}/3", server.url())).unwrap();
    assert_eq!(third.command(&[b"SET", b"k", b"v"]).unwrap(), Reply::Status("OK".to_owned()));
    assert_eq!(third.command(&[b"GET", b"k"]).unwrap(), Reply::Bulk(b"v".to_vec()));
    assert_eq!(server.connect().command(&[b"GET", b"k"]).unwrap(), Reply::Null);
    assert!(third.command(&[b"CLIENT", b"GETNAME"]).unwrap().text().unwrap().starts_with("metaferry:"));
    let error = third.command(&[b"LPUSH", b"k", b"v"]).unwrap_err();
    let cause = error.source().unwrap().downcast_ref::<ServerError>().unwrap();
    assert_eq!(cause.code, "WRONGTYPE");
    assert_eq!(third.prefix(), "");
    assert!(third.holds_whole_slot().unwrap());
    let outside = open(&format!("{}/99", server.url())).unwrap_err();
    assert_eq!(outside.kind(), ErrorKind::Config);
    assert!(told(&outside).contains("database 99"), "{outside:?}");
}

#[test]
fn info_is_asked_for() {
    let server = Server::start(&[]);
    let mut connection = server.connect();
    let info = connection.info("").unwrap();
    assert!(info.get("redis_version").is_some());
    assert!(info.number("used_memory").unwrap() > 0);
    assert_eq!(info.get("role"), Some("master"));
    assert_eq!(connection.info("persistence").unwrap().number("rdb_bgsave_in_progress"), Some(0));
}

#[test]
fn a_pipeline_larger_than_every_buffer_keeps_its_order() {
    let server = Server::start(&[]);
    let mut connection = server.connect();
    let value = vec![b'x'; 3000];
    let mut encoded = Vec::new();
    for number in 0..2000_u32 {
        encoded.clear();
        resp::begin(&mut encoded, 3);
        resp::argument(&mut encoded, b"SET");
        resp::argument_of(&mut encoded, &[b"key", number.to_string().as_bytes()]);
        resp::argument_of(&mut encoded, &[&value, number.to_string().as_bytes()]);
        connection.send(&encoded).unwrap();
    }
    connection.flush().unwrap();
    for _ in 0..2000 {
        connection.reader().status().unwrap();
    }
    encoded.clear();
    resp::begin(&mut encoded, 2001);
    resp::argument(&mut encoded, b"MGET");
    (0..2000).for_each(|number| resp::argument(&mut encoded, format!("key{number}").as_bytes()));
    connection.send(&encoded).unwrap();
    connection.flush().unwrap();
    assert_eq!(connection.reader().array().unwrap(), 2000);
    for number in 0..2000 {
        let found = connection.reader().bulk().unwrap().unwrap();
        assert_eq!(found.len(), 3000 + number.to_string().len());
        assert!(found.ends_with(number.to_string().as_bytes()));
    }
    let large = vec![b'y'; 3 << 20];
    connection.command(&[b"SET", b"large", &large]).unwrap();
    connection.send(b"*2\r\n$3\r\nGET\r\n$5\r\nlarge\r\n").unwrap();
    connection.flush().unwrap();
    assert!(connection.reader().bulk().unwrap() == Some(&large[..]));
    assert_eq!(connection.command(&[b"DBSIZE"]).unwrap().integer(), Some(2001));
}

#[test]
fn a_password_is_needed_and_never_shown() {
    let server = Server::start(&["--requirepass", "s3cret"]);
    let at = |userinfo: &str| open(&format!("redis://{userinfo}127.0.0.1:{}", server.port));
    at(":s3cret@").unwrap();
    at("default:s3cret@").unwrap();
    let missing = at("").unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::Config);
    assert!(told(&missing).contains("NOAUTH") && told(&missing).contains("META_PASSWORD"), "{}", told(&missing));
    let wrong = at(":wr0ng@").unwrap_err();
    assert_eq!(wrong.kind(), ErrorKind::Config);
    assert!(told(&wrong).contains("WRONGPASS") && told(&wrong).contains("****"), "{}", told(&wrong));
    assert!(!told(&wrong).contains("wr0ng"));
    let address = Address::parse(&server.url(), &|name| (name == "META_PASSWORD").then(|| "s3cret".to_owned()));
    let connection = Connection::open(&address.unwrap(), &Stop::new()).unwrap();
    assert!(!format!("{connection:?}").contains("s3cret"));
}

#[test]
fn a_server_that_renamed_auth_does_not_make_us_show_the_password() {
    let server = Server::start(&["--rename-command", "AUTH", "HTUA"]);
    let error = open(&format!("redis://:s3cret@127.0.0.1:{}", server.port)).unwrap_err();
    assert!(!told(&error).contains("s3cret"), "{}", told(&error));
}

#[test]
fn a_server_without_password_takes_any() {
    let server = Server::start(&[]);
    open(&format!("redis://:any@127.0.0.1:{}", server.port)).unwrap();
}

#[test]
fn users_with_few_permissions() {
    let server = Server::start(&["--user", "few", "on", ">pw", "~*", "+get"]);
    let mut few = open(&format!("redis://few:pw@127.0.0.1:{}", server.port)).unwrap();
    assert_eq!(few.command(&[b"GET", b"k"]).unwrap(), Reply::Null);
    let error = few.command(&[b"SET", b"k", b"v"]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(told(&error).contains("SET") && told(&error).contains("NOPERM"), "{}", told(&error));
}

#[test]
fn a_full_server_says_so() {
    let server = Server::start(&["--maxclients", "1"]);
    let _first = server.connect();
    for userinfo in ["", ":pw@"] {
        let error = open(&format!("redis://{userinfo}127.0.0.1:{}", server.port)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Engine);
        assert!(told(&error).contains("max number of clients"), "{}", told(&error));
    }
}

#[test]
fn unix_sockets() {
    let server = Server::start(&["--requirepass", "pw"]);
    let url = format!("unix://:pw@{}?db=2", server.socket().display());
    let mut connection = open(&url).unwrap();
    connection.command(&[b"SET", b"k", b"v"]).unwrap();
    assert!(connection.info("keyspace").unwrap().get("db2").is_some());
    let error = open("unix:///nowhere/s.sock").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Engine);
}

#[test]
fn nobody_there_and_a_silent_server() {
    let error = open(&format!("redis://:pw@127.0.0.1:{}", spare_port())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Engine);
    assert!(told(&error).contains("cannot connect") && !told(&error).contains("pw@"), "{}", told(&error));
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}?read-timeout=200ms", silent.local_addr().unwrap());
    let error = open(&url).unwrap_err();
    assert!(told(&error).contains("no answer in time"), "{}", told(&error));
}

#[test]
fn a_loading_server_is_waited_for() {
    let (listener, port) = scripted();
    let answers = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut buffer = [0; 4096];
        for answer in ["+OK", "-ERR unknown command", "-LOADING wait", "-LOADING wait", "+PONG"] {
            assert!(socket.read(&mut buffer).unwrap() > 0);
            socket.write_all(format!("{answer}\r\n").as_bytes()).unwrap();
        }
    });
    open(&format!("redis://127.0.0.1:{port}")).unwrap();
    answers.join().unwrap();
}

fn scripted() -> (std::net::TcpListener, u16) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

#[test]
fn a_server_that_dies_is_told() {
    let mut server = Server::start(&[]);
    let mut connection = server.connect();
    server.kill();
    let error = connection.command(&[b"PING"]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Engine);
}

#[test]
fn workers_can_own_connections() {
    fn sent_between_threads<T: Send>() {}
    sent_between_threads::<Connection>();
    sent_between_threads::<super::super::SyncStream>();
}
