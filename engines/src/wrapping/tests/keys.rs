//! What the user names as a key.

use metaferry_pipeline::{Error, ErrorKind};

use super::{PEM, openssl};
use crate::wrapping::EnvelopeKey;

#[test]
fn keys_that_cannot_be_used_are_wrong_calls_that_say_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("key"), &*PEM).unwrap();
    std::fs::write(path("passphrase"), "open sesame").unwrap();
    std::fs::write(path("text"), "no key").unwrap();
    openssl(folder.path(), "rsa -in key -pubout -out public");
    openssl(folder.path(), "rsa -in key -aes256 -traditional -passout file:passphrase -out protected");
    let read =
        |name: &str, algorithm: &str, passphrase: Option<&[u8]>| EnvelopeKey::read(&path(name), algorithm, passphrase);
    for (name, passphrase) in [("key", None), ("key", Some(&b"any"[..])), ("protected", Some(b"open sesame"))] {
        read(name, "", passphrase).unwrap();
        read(name, "chacha20-rsa", passphrase).unwrap();
    }
    let cases: [(&str, &str, Option<&[u8]>, &str); 7] = [
        ("absent", "", None, "cannot be read"),
        ("text", "", None, "PEM"),
        ("public", "", None, "public key"),
        ("protected", "", None, "JFS_RSA_PASSPHRASE"),
        ("protected", "", Some(b"wrong-one"), "the passphrase is wrong"),
        ("key", "sm4gcm", None, "sm4gcm"),
        ("key", "rot13", None, "rot13"),
    ];
    for (name, algorithm, passphrase, expected) in cases {
        let error: Error = read(name, algorithm, passphrase).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        let said = format!("{error} {}", error.what_to_do().unwrap_or_default());
        assert!(said.contains(expected), "{said}");
        assert!(!said.contains("wrong-one"), "{said}");
    }
}
