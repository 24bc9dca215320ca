//! Tests of addresses: forms, refusals, passwords, parameters.

use metaferry_pipeline::ErrorKind;

use super::*;

fn parse(url: &str) -> Result<Address> {
    Address::parse(url, &|_| None)
}

fn at(host: &str, port: u16) -> Endpoint {
    Endpoint { host: host.to_owned(), port }
}

#[test]
fn every_form_of_host() {
    let server = |host, port| Target::Server(at(host, port));
    let sentinel =
        |sentinels: &[Endpoint]| Target::Sentinel { master: "mymaster".to_owned(), sentinels: sentinels.to_vec() };
    let table = [
        ("localhost", server("localhost", 6379), 0),
        ("redis://", server("localhost", 6379), 0),
        ("redis://h:7000/3", server("h", 7000), 3),
        ("redis://:7000", server("localhost", 7000), 0),
        ("redis://h:/", server("h", 6379), 0),
        ("redis://h//5/", server("h", 6379), 5),
        ("redis://[::1]:7000/1", server("::1", 7000), 1),
        ("redis://[::1]", server("::1", 6379), 0),
        ("redis://h/1?db=2", server("h", 6379), 2),
        ("rediss://u:p@h:1/2?pool_size=3&unknown=x&client-cache=true#fragment", server("h", 1), 2),
        ("unix:///run/redis.sock?db=4", Target::Unix(PathBuf::from("/run/redis.sock")), 4),
        ("unix://u:p@/run/a%20b", Target::Unix(PathBuf::from("/run/a b")), 0),
        ("redis://a:1,b:2/3", Target::Cluster(vec![at("a", 1), at("b", 2)]), 3),
        ("redis://a:1,b", Target::Cluster(vec![at("a", 1), at("b", 6379)]), 0),
        ("redis://a,b,c/1", Target::Cluster(vec![at("a", 6379), at("b", 6379), at("c", 6379)]), 1),
        ("redis://u:p@mymaster,a:1,b:2/3", sentinel(&[at("a", 1), at("b", 2)]), 3),
        ("redis://mymaster,a,b:5000", sentinel(&[at("a", 5000), at("b", 5000)]), 0),
        ("redis://mymaster,a:1,b", sentinel(&[at("a", 1), at("b", 26379)]), 0),
        ("redis://mymaster,a:1,b,c:", sentinel(&[at("a", 1), at("b", 26379), at("c", 26379)]), 0),
        ("redis://mymaster,[::1]:5000", sentinel(&[at("::1", 5000)]), 0),
    ];
    for (url, target, database) in table {
        let address = parse(url).unwrap();
        assert_eq!((address.target(), address.database()), (&target, database), "{url}");
    }
}

#[test]
fn what_cannot_be_read_is_refused_without_its_password() {
    for url in [
        "redis://:s3cret@h:port",
        "redis://:s3cret@h:70000",
        "redis://:s3cret@h/x",
        "redis://:s3cret@h/1/2",
        "redis://:s3cret@h/-1",
        "redis://:s3cret@h?db=x",
        "redis://:s3cret%@h",
        "redis://:s3cret%ff@h",
        "redis://:s3cret/more@h/1",
        "redis://:s3cret?more@h/1",
        "redis://:1/s3cret@h/1",
        "redis://:1/s3cret@h",
        "redis://:1?db=s3cret@h",
        ":a://s3cret@h",
        "://s3cret@h",
        "redis://:s3cret#more@h/1",
        "redis://:s3cret@more@h:x",
        "redis://:s3cret^@h",
        "unix://:s3cret@",
        "mysql://:s3cret@h/db",
        "rediss://:s3cret@h?tls-cert-file=/c.pem",
        ":s3cret@h:port",
    ] {
        let error = parse(url).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{url}");
        assert!(!format!("{error:?} {}", error.what_to_do().unwrap()).contains("s3cret"), "{url}: {error:?}");
    }
}

#[test]
fn users_and_passwords_are_read_and_not_shown() {
    let address = parse("redis://jfs:p%40ss:w+rd@h:1/2").unwrap();
    assert_eq!((address.user.as_str(), address.password.as_str()), ("jfs", "p@ss:w+rd"));
    assert_eq!(address.to_string(), "redis://jfs:****@h:1/2");
    assert_eq!(format!("{address:?}"), address.to_string());
    let address = parse("redis://:a@b@h").unwrap();
    assert_eq!((address.user.as_str(), address.password.as_str()), ("", "a@b"));
    assert_eq!(address.to_string(), "redis://:****@h");
    assert_eq!(parse("redis://jfs@h").unwrap().to_string(), "redis://jfs@h");
}

#[test]
fn passwords_come_from_variables_in_order() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), " from file \n").unwrap();
    let path = file.path().display().to_string();
    let with = |url: &str, variables: &[(&str, &str)]| {
        let look = |name: &str| variables.iter().find(|v| v.0 == name).map(|v| v.1.to_owned());
        Address::parse(url, &look)
    };
    let all =
        [("REDIS_PASSWORD", "r"), ("META_PASSWORD", "m"), ("META_PASSWORD_FILE", &path), ("SENTINEL_PASSWORD", "s")];
    assert_eq!(with("redis://:u@h", &all).unwrap().password, "u");
    assert_eq!(with("redis://h", &all).unwrap().password, "r");
    assert_eq!(with("redis://user@h", &all[1..]).unwrap().password, "m");
    assert_eq!(with("redis://user:@h", &all[2..]).unwrap().password, "from file");
    assert_eq!(with("redis://h", &all[3..]).unwrap().password, "");
    assert_eq!(with("redis://h", &all).unwrap().sentinel_password, "s");
    let missing = with("redis://h", &[("META_PASSWORD_FILE", "/nowhere")]).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::Config);
}

#[test]
fn tls_parameters() {
    assert_eq!(parse("redis://h?insecure-skip-verify=1").unwrap().tls, None);
    assert_eq!(parse("rediss://h?insecure-skip-verify=").unwrap().tls, Some(TlsOptions::default()));
    let url = "rediss://h?insecure-skip-verify=false&tls-cert-file=%2Fc+1&tls-key-file=/k&tls-ca-cert-file=/a&tls-server-name=n";
    let expected = TlsOptions {
        insecure: true,
        client: Some((PathBuf::from("/c 1"), PathBuf::from("/k"))),
        authorities: Some(PathBuf::from("/a")),
        server_name: Some("n".to_owned()),
    };
    assert_eq!(parse(url).unwrap().tls, Some(expected));
}

#[test]
fn timeouts() {
    let read = |query: &str| parse(&format!("redis://h?{query}")).unwrap().timeouts.read;
    assert_eq!(read(""), Some(ANSWER_TIMEOUT));
    assert_eq!(read("read-timeout=5s"), Some(Duration::from_secs(5)));
    assert_eq!(read("read_timeout=1m30.5s"), Some(Duration::from_millis(90_500)));
    assert_eq!(read("read-timeout=7"), Some(Duration::from_secs(7)));
    assert_eq!(read("read-timeout=0"), None);
    assert_eq!(read("read-timeout=-1s"), None);
    for bad in ["5x", "s", ".", "1e400s", "nan"] {
        assert_eq!(read(&format!("read-timeout={bad}")), Some(ANSWER_TIMEOUT), "{bad}");
    }
    let address = parse("redis://h?dial_timeout=300ms&write-timeout=2s").unwrap();
    assert_eq!(address.timeouts.connect, Some(Duration::from_millis(300)));
    assert_eq!(address.timeouts.write, Some(Duration::from_secs(2)));
}
