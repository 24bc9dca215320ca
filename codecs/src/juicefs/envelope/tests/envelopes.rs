//! Envelopes: sealed here and opened there, and the other way round; cut, altered, and for somebody else.

use aws_lc_rs::aead::{AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use proptest::prelude::*;

use super::super::aead::Aead;
use super::super::{Algorithm, Opener, PrivateKey, Sealer, is_at};
use super::{Folder, key, openssl};
use crate::{Error, Result};

const BOTH: [Algorithm; 2] = [Algorithm::Aes256Gcm, Algorithm::ChaCha20Poly1305];

/// Seals a content whose pieces are of these lengths, in turn.
fn sealed(content: &[u8], algorithm: Algorithm, pieces: &[usize]) -> Vec<u8> {
    let mut envelope = Vec::new();
    let mut sealer = Sealer::begin(&key(), algorithm, &mut envelope).unwrap();
    in_pieces(content, pieces, |piece| sealer.seal(piece, &mut envelope).unwrap());
    sealer.finish(&mut envelope).unwrap();
    envelope
}

fn opened(envelope: &[u8], key: &PrivateKey, algorithm: Algorithm, pieces: &[usize]) -> Result<Vec<u8>> {
    let (mut opener, header) = Opener::begin(envelope, key, algorithm)?;
    let mut text = Vec::new();
    in_pieces(&envelope[header..], pieces, |piece| opener.open(piece, &mut text).unwrap());
    opener.finish(&mut text).map(|()| text)
}

fn in_pieces(mut rest: &[u8], pieces: &[usize], mut take: impl FnMut(&[u8])) {
    for length in pieces.iter().cycle() {
        let (piece, more) = rest.split_at((*length).min(rest.len()));
        take(piece);
        rest = more;
        if rest.is_empty() {
            break;
        }
    }
}

/// The whole content at once, by another implementation.
fn at_once(algorithm: Algorithm, key: &[u8; 32], nonce: [u8; 12], content: &[u8]) -> Vec<u8> {
    let algorithm = match algorithm {
        Algorithm::Aes256Gcm => &AES_256_GCM,
        Algorithm::ChaCha20Poly1305 => &CHACHA20_POLY1305,
    };
    let key = LessSafeKey::new(UnboundKey::new(algorithm, key).unwrap());
    let mut sealed = content.to_vec();
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut sealed).unwrap();
    sealed
}

proptest! {
    #[test]
    fn ciphers_are_those_of_another_library(
        data_key: [u8; 32], nonce: [u8; 12], content in prop::collection::vec(any::<u8>(), 0..40_000),
    ) {
        for algorithm in BOTH {
            let expected = at_once(algorithm, &data_key, nonce, &content);
            let mut aead = Aead::new(algorithm, &data_key, &nonce);
            let mut ours = content.clone();
            aead.seal(&mut ours).unwrap();
            ours.extend(aead.finish());
            prop_assert!(ours == expected, "{algorithm:?}");
        }
    }

    #[test]
    fn what_is_sealed_in_any_pieces_opens_in_any(
        content in prop::collection::vec(any::<u8>(), 0..5000),
        algorithm in prop::sample::select(&BOTH),
        pieces in prop::collection::vec(1usize..900, 1..9),
        other in prop::collection::vec(1usize..900, 1..9),
    ) {
        let envelope = sealed(&content, algorithm, &pieces);
        prop_assert!(is_at(&envelope));
        prop_assert_eq!(opened(&envelope, &key(), algorithm, &other).unwrap(), content);
    }
}

#[test]
fn an_envelope_made_by_others_is_opened() {
    let folder = Folder::new();
    let (data_key, nonce, content) = ([7; 32], *b"twelve bytes", b"a dump".repeat(999));
    folder.write("data-key", &data_key);
    openssl(
        folder.0.path(),
        "pkeyutl -encrypt -pubin -inkey public -in data-key -out wrapped -pkeyopt rsa_padding_mode:oaep \
         -pkeyopt rsa_oaep_md:sha256 -pkeyopt rsa_mgf1_md:sha256 -pkeyopt rsa_oaep_label:6b657973",
    );
    for algorithm in BOTH {
        let body = at_once(algorithm, &data_key, nonce, &content);
        let envelope = [&[1, 0, 12][..], &folder.read("wrapped"), &nonce, &body].concat();
        assert_eq!(opened(&envelope, &key(), algorithm, &[1000]).unwrap(), content);
    }
}

#[test]
fn an_envelope_cut_anywhere_is_refused() {
    for algorithm in BOTH {
        let envelope = sealed(b"gzip or whatever it is that a volume's objects are", algorithm, &[50]);
        let key = key();
        for length in 0..envelope.len() {
            opened(&envelope[..length], &key, algorithm, &[33]).unwrap_err();
        }
        assert_eq!(
            opened(&[&envelope[..], b"\0"].concat(), &key, algorithm, &[33]),
            Err(Error::Checksum(super::super::WHAT))
        );
    }
}

#[test]
fn every_flipped_bit_is_found() {
    let key = key();
    for algorithm in BOTH {
        let envelope = sealed(b"a few bytes, more than one block", algorithm, &[50]);
        for bit in 0..envelope.len() * 8 {
            let mut altered = envelope.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            opened(&altered, &key, algorithm, &[33]).unwrap_err();
        }
    }
}

#[test]
fn another_key_and_another_algorithm_are_told() {
    let folder = Folder::new();
    let [another, larger] = [2048, 3072].map(|bits| {
        openssl(folder.0.path(), &format!("genrsa -out other {bits}"));
        PrivateKey::read(&folder.read("other"), None).unwrap()
    });
    let envelope = sealed(b"content", Algorithm::Aes256Gcm, &[7]);
    let why = |key: &PrivateKey| opened(&envelope, key, Algorithm::Aes256Gcm, &[7]).unwrap_err().to_string();
    assert!(why(&another).contains("this key does not open it"));
    assert!(why(&larger).contains("for a key of 2048 bits, not of 3072"));
    let wrong = opened(&envelope, &key(), Algorithm::ChaCha20Poly1305, &[7]);
    assert_eq!(wrong, Err(Error::Checksum(super::super::WHAT)));
}

#[test]
fn algorithms_are_known_by_juicefs_names() {
    for algorithm in BOTH {
        assert_eq!(Algorithm::named(algorithm.name()), Ok(algorithm));
    }
    assert_eq!(Algorithm::named(""), Ok(Algorithm::Aes256Gcm));
    for name in ["sm4gcm", "rot13"] {
        assert!(Algorithm::named(name).unwrap_err().to_string().contains(name));
    }
}

#[test]
fn nothing_else_looks_like_an_envelope() {
    let others: [&[u8]; 9] = [
        b"",
        b"\x01\x00",
        b"{\"Setting\":",
        b"\x1f\x8b\x08",
        b"\x28\xb5\x2f\xfd",
        b"\x00\x00\x00\x01",
        b"SQLite format 3",
        b"REDIS0011",
        b"\x00\x20\x0c",
    ];
    assert!(others.iter().all(|bytes| !is_at(bytes)));
}
