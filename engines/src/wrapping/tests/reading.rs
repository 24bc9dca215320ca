//! Reading: any nesting, any cut, any flipped bit, and much more than memory should hold.

use std::io::{self, Read};

use metaferry_codecs::archive::{Header, MAX_HEADER, Packer};
use metaferry_codecs::juicefs::envelope::{Algorithm, PrivateKey};
use metaferry_pipeline::{Error, ErrorKind, Stop};
use proptest::prelude::*;

use super::{gzip, inside, key, lines, opened, openssl, sealed, zstd};
use crate::wrapping::{EnvelopeKey, Layer, unwrap};

fn wrap(content: &[u8], layers: &[Layer]) -> Vec<u8> {
    layers.iter().rev().fold(content.to_vec(), |inner, layer| match layer {
        Layer::Gzip => gzip(&inner),
        Layer::Zstd => zstd(&inner),
        Layer::Encrypted => sealed(&inner),
    })
}

/// An archive as far as anybody looks.
fn archive() -> Vec<u8> {
    let mut text = Vec::new();
    Header { system: "juicefs".to_owned(), ..Header::default() }.write(&mut text);
    Packer::new().unwrap().pack(&text, MAX_HEADER).unwrap().to_vec()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn every_nesting_is_taken_off(
        layers in prop::collection::vec(prop::sample::select(vec![Layer::Gzip, Layer::Zstd, Layer::Encrypted]), 0..4),
        length in prop_oneof![1usize..100, 1usize..400_000],
    ) {
        let content = lines(length);
        let mut unwrapped = opened(wrap(&content, &layers), Some(&key())).unwrap();
        prop_assert_eq!(unwrapped.layers(), layers);
        prop_assert!(content.starts_with(unwrapped.beginning()) && !unwrapped.beginning().is_empty());
        let mut read = Vec::new();
        unwrapped.read_to_end(&mut read).unwrap();
        prop_assert!(read == content);
    }

    #[test]
    fn whatever_the_bytes_there_is_no_panic(bytes: Vec<u8>, magic in 0..4usize) {
        let magic = [&b""[..], b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"\x01\x00\x0c"][magic];
        drop(inside([magic, &bytes].concat(), Some(&key())));
    }
}

#[test]
fn members_and_frames_follow_each_other() {
    let (one, two) = (lines(100_000), lines(7));
    let both = [one.as_slice(), &two, &one].concat();
    assert!(inside([gzip(&one), gzip(&two), gzip(&one)].concat(), None).unwrap() == both);
    assert!(inside([zstd(&one), zstd(&two), zstd(&one)].concat(), None).unwrap() == both);
}

#[test]
fn an_archive_is_left_as_it_is() {
    let archive = archive();
    for layers in [&[][..], &[Layer::Gzip], &[Layer::Encrypted], &[Layer::Encrypted, Layer::Gzip]] {
        let unwrapped = opened(wrap(&archive, layers), Some(&key())).unwrap();
        assert_eq!((unwrapped.layers(), unwrapped.beginning()), (layers, archive.as_slice()));
    }
    for length in 4..archive.len() {
        assert_eq!(Layer::at(&archive[..length]), None, "whoever reads archives says that it was cut");
    }
    assert_eq!(Layer::at(&zstd(b"{\"metaferry\"")), None);
    assert_eq!(Layer::at(&zstd(b"{\"metaferris\":{}}")), Some(Layer::Zstd));
}

#[test]
fn what_was_cut_anywhere_never_seems_whole() {
    let content = lines(300);
    for layers in [&[Layer::Gzip][..], &[Layer::Zstd], &[Layer::Encrypted], &[Layer::Encrypted, Layer::Gzip]] {
        let whole = wrap(&content, layers);
        for length in 4..whole.len() {
            match inside(whole[..length].to_vec(), Some(&key())) {
                Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt, "{layers:?} {length}: {error}"),
                // Too little is left to tell what it was, or that it is no archive: whoever reads those tells that it was cut.
                Ok(read) => {
                    assert!(read == whole[..length] && (length < 40 || layers == [Layer::Zstd]), "{layers:?} {length}")
                }
            }
        }
    }
}

#[test]
fn a_cut_is_told_with_its_place() {
    let whole = [gzip(&lines(300_000)), gzip(&lines(200_000))].concat();
    let cut = whole.len() - 100;
    let error = inside(whole[..cut].to_vec(), None).unwrap_err();
    assert_eq!(error.to_string(), format!("dump: gzip: it ends in the middle, after byte {cut}"));
    let error = inside([gzip(b"one"), b"tail".to_vec()].concat(), None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}

#[test]
fn every_flipped_bit_of_an_encrypted_dump_is_found() {
    let whole = wrap(&lines(60), &[Layer::Encrypted, Layer::Gzip]);
    let key = key();
    for bit in 0..whole.len() * 8 {
        let mut altered = whole.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        match inside(altered.clone(), Some(&key)) {
            Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt, "bit {bit}: {error}"),
            Ok(read) => assert!(bit < 24 && read == altered, "bit {bit}"),
        }
    }
}

#[test]
fn without_the_right_key_nothing_is_opened() {
    let whole = wrap(&lines(100_000), &[Layer::Encrypted, Layer::Gzip]);
    let error = opened(whole.clone(), None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.what_to_do().unwrap().contains("--encrypt-rsa-key"));
    let folder = tempfile::tempdir().unwrap();
    openssl(folder.path(), "genrsa -out other 2048");
    let other = PrivateKey::read(&std::fs::read(folder.path().join("other")).unwrap(), None).unwrap();
    let other = EnvelopeKey { key: other, algorithm: Algorithm::default() };
    assert!(inside(whole.clone(), Some(&other)).unwrap_err().to_string().contains("does not open it"));
    let wrong = EnvelopeKey { algorithm: Algorithm::ChaCha20Poly1305, ..key() };
    assert_eq!(inside(whole, Some(&wrong)).unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn a_key_does_no_harm_where_nothing_is_encrypted() {
    assert!(inside(gzip(b"{\"Setting\":"), Some(&key())).unwrap() == b"{\"Setting\":");
    assert!(inside(Vec::new(), Some(&key())).unwrap().is_empty());
}

#[test]
fn endless_nesting_is_refused() {
    let layers = [Layer::Gzip; 5];
    assert_eq!(opened(wrap(b"x", &layers), None).unwrap_err().kind(), ErrorKind::Unsupported);
}

#[test]
fn a_failing_disk_is_no_damage() {
    struct Failing(io::Cursor<Vec<u8>>);
    impl Read for Failing {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            match self.0.read(out)? {
                0 => Err(io::Error::from_raw_os_error(5)),
                length => Ok(length),
            }
        }
    }
    let content = wrap(&lines(3 << 20), &[Layer::Encrypted, Layer::Gzip]);
    let length = content.len();
    let failing = Box::new(Failing(io::Cursor::new(content)));
    let mut unwrapped = unwrap("dump", failing, Some(&key()), &Stop::new()).unwrap();
    let error = Error::io("dump", unwrapped.read_to_end(&mut Vec::new()).unwrap_err());
    assert_eq!((error.kind(), error.to_string()), (ErrorKind::Engine, format!("dump: read at byte {length}")));
}

#[test]
fn sixty_four_mebibytes_pass_in_flat_memory() {
    let content = lines(64 << 20);
    let whole = wrap(&content, &[Layer::Encrypted, Layer::Gzip]);
    let mut unwrapped = opened(whole, Some(&key())).unwrap();
    let resident = || {
        let status = std::fs::read_to_string("/proc/self/statm").unwrap();
        status.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
    };
    let (before, mut at, mut piece) = (resident(), 0, vec![0; 1 << 20]);
    loop {
        let length = unwrapped.read(&mut piece).unwrap();
        if length == 0 {
            break;
        }
        assert!(content[at..].starts_with(&piece[..length]), "at {at}");
        at += length;
    }
    assert_eq!(at, content.len());
    assert!(resident() < before + (32 << 20), "{before} {}", resident());
}
