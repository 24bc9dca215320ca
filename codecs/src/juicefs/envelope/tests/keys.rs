//! Every form of a private key, and everything that is none.

use super::super::{Algorithm, KeyError, Opener, PrivateKey, Sealer};
use super::{Folder, KEY};

const PASSPHRASE: Option<&[u8]> = Some(b"open sesame");

#[track_caller]
fn refused(pem: &[u8], passphrase: Option<&[u8]>) -> KeyError {
    PrivateKey::read(pem, passphrase).unwrap_err()
}

#[test]
fn unprotected_keys_are_read_with_and_without_a_passphrase() {
    let folder = Folder::new();
    let pkcs8 = folder.make("pkcs8", "pkcs8 -topk8 -nocrypt -in key");
    assert!(pkcs8.starts_with(b"-----BEGIN PRIVATE KEY"));
    assert!(KEY[0].starts_with(b"-----BEGIN RSA PRIVATE KEY"));
    for pem in [KEY[0].clone(), pkcs8] {
        for passphrase in [None, Some(&b""[..]), PASSPHRASE] {
            PrivateKey::read(&pem, passphrase).unwrap();
        }
    }
}

#[test]
fn protected_keys_are_read_with_their_passphrase_only() {
    let folder = Folder::new();
    let old = ["aes128", "aes192", "aes256", "des3"];
    let old = old.map(|cipher| (cipher, format!("rsa -traditional -in key -{cipher} -passout file:passphrase")));
    let new = [
        ("default", ""),
        ("v2-128", " -v2 aes-128-cbc"),
        ("v2-sha1", " -v2 aes-256-cbc -v2prf hmacWithSHA1"),
        ("v2-sha512", " -v2 aes-256-cbc -v2prf hmacWithSHA512"),
        ("v2-des3", " -v2 des3"),
        ("scrypt", " -scrypt -scrypt_N 1024"),
    ];
    let new = new.map(|(name, how)| (name, format!("pkcs8 -topk8 -in key -passout file:passphrase{how}")));
    for (name, arguments) in old.into_iter().chain(new) {
        let pem = folder.make(name, &arguments);
        assert!(String::from_utf8_lossy(&pem).contains("ENCRYPTED"), "{name}");
        let key = PrivateKey::read(&pem, PASSPHRASE).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut envelope = Vec::new();
        let sealer = Sealer::begin(&super::key(), Algorithm::default(), &mut envelope).unwrap();
        sealer.finish(&mut envelope).unwrap();
        Opener::begin(&envelope, &key, Algorithm::default()).unwrap();
        assert_eq!(refused(&pem, None), KeyError::NeedsPassphrase, "{name}");
        assert_eq!(refused(&pem, Some(b"")), KeyError::NeedsPassphrase, "{name}");
        for wrong in ["closed", "open sesame ", "OPEN SESAME"] {
            assert_eq!(refused(&pem, Some(wrong.as_bytes())), KeyError::WrongPassphrase, "{name}");
        }
    }
}

#[test]
fn a_wrong_passphrase_that_passes_the_padding_is_still_wrong() {
    let folder = Folder::new();
    let pem = folder.make("often", "rsa -traditional -in key -aes128 -passout file:passphrase");
    for number in 0..600 {
        assert_eq!(refused(&pem, Some(number.to_string().as_bytes())), KeyError::WrongPassphrase, "{number}");
    }
}

#[test]
fn what_is_no_private_rsa_key_is_named() {
    let folder = Folder::new();
    let public = refused(&KEY[1], None);
    assert_eq!(public, KeyError::NotPrivate("public key".to_owned()));
    let certificate = folder.make("certificate", "req -new -x509 -key key -subj /CN=x -days 2");
    assert_eq!(refused(&certificate, None), KeyError::NotPrivate("certificate".to_owned()));
    let curve = folder.make("curve", "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256");
    assert!(matches!(refused(&curve, None), KeyError::NotRsa(what) if what.contains("EC")));
    let curve = folder.make("old-curve", "ec -in curve");
    assert!(matches!(refused(&curve, None), KeyError::NotRsa(what) if what.contains("EC PRIVATE KEY")));
    let edwards = folder.make("edwards", "genpkey -algorithm ED25519");
    assert!(matches!(refused(&edwards, None), KeyError::NotRsa(what) if what.contains("Ed25519")));
    for text in [&b""[..], b"secret", b"\x30\x82\x04\xa4\x02\x01", b"-----BEGIN"] {
        assert_eq!(refused(text, None), KeyError::NotPem);
    }
}

#[test]
fn a_key_behind_a_certificate_and_comments_is_found() {
    let folder = Folder::new();
    let certificate = folder.make("beside", "req -new -x509 -key key -subj /CN=x -days 2");
    let text = [b"our key:\r\n", certificate.as_slice(), b"\n", &KEY[0], b"end"].concat();
    PrivateKey::read(&text, None).unwrap();
}

#[test]
fn damaged_keys_are_errors_and_show_nothing() {
    let folder = Folder::new();
    let protected = folder.make("damaged", "rsa -traditional -in key -aes256 -passout file:passphrase");
    for pem in [KEY[0].clone(), protected] {
        let text = String::from_utf8(pem).unwrap();
        for length in (0..text.len()).step_by(97) {
            let error = refused(&text.as_bytes()[..length], PASSPHRASE).to_string();
            assert!(!error.contains("sesame"), "{error}");
        }
        for place in (40..text.len() - 40).step_by(101) {
            let mut bytes = text.clone().into_bytes();
            bytes[place] = b'!';
            drop(PrivateKey::read(&bytes, PASSPHRASE));
        }
    }
    assert!(matches!(
        refused(b"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: RC2-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----", PASSPHRASE),
        KeyError::Unsupported(what) if what.contains("RC2-CBC")
    ));
    let shown = format!("{:?}", super::key());
    assert_eq!(shown, "PrivateKey { bits: 2048, .. }");
}
