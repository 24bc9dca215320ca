//! Writing: what comes out is read by everybody, and is whole only when it was finished.

use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use metaferry_pipeline::{Error, ErrorKind, Stop};
use proptest::prelude::*;

use super::{inside, lines};
use crate::wrapping::{Compression, Compressor, Layer};

fn compressed(content: &[u8], compression: Option<Compression>, threads: usize, piece: usize) -> Vec<u8> {
    let mut compressor = Compressor::new(Vec::new(), compression, threads, &Stop::new()).unwrap();
    content.chunks(piece).for_each(|piece| compressor.write_all(piece).unwrap());
    compressor.finish().unwrap()
}

const BOTH: [Compression; 2] = [Compression::Gzip, Compression::Zstd];

/// Noise, which grows when it is compressed.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 7_u64;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn what_is_compressed_is_read_again(
        length in prop_oneof![0usize..100, 0usize..5_000_000, Just(1 << 20), Just(3 << 20)],
        compression in prop::sample::select(vec![None, Some(Compression::Gzip), Some(Compression::Zstd)]),
        threads in 0usize..4,
        piece in prop_oneof![100usize..1000, Just(5_000_000)],
        is_noise: bool,
    ) {
        let content = if is_noise { noise(length) } else { lines(length) };
        prop_assert!(inside(compressed(&content, compression, threads, piece), None).unwrap() == content);
    }
}

#[test]
fn gzip_is_one_member_that_gzip_reads() {
    for content in [Vec::new(), lines(1 << 20), lines(5_000_001), noise(2_500_000)] {
        let packed = compressed(&content, Some(Compression::Gzip), 3, 70_000);
        let mut member = flate2::bufread::GzDecoder::new(packed.as_slice());
        let mut read = Vec::new();
        member.read_to_end(&mut read).unwrap();
        assert!(read == content && member.into_inner().is_empty());
        for (program, packed) in
            [("gzip", &packed), ("zstd", &compressed(&content, Some(Compression::Zstd), 3, 70_000))]
        {
            let mut child =
                Command::new(program).arg("-dc").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
            let (mut stdin, packed) = (child.stdin.take().unwrap(), packed.clone());
            let feeder = std::thread::spawn(move || stdin.write_all(&packed).unwrap());
            let output = child.wait_with_output().unwrap();
            feeder.join().unwrap();
            assert!(output.status.success() && output.stdout == content, "{program}");
        }
    }
}

#[test]
fn what_was_cut_or_not_finished_never_seems_whole() {
    let content = lines(3_000_000);
    for compression in BOTH {
        let whole = compressed(&content, Some(compression), 2, 1 << 16);
        for length in (Layer::BEGINNING..whole.len()).step_by(4999).chain(whole.len() - 20..whole.len()) {
            assert_eq!(inside(whole[..length].to_vec(), None).unwrap_err().kind(), ErrorKind::Corrupt, "{length}");
        }
        let mut out = Vec::new();
        let mut compressor = Compressor::new(&mut out, Some(compression), 2, &Stop::new()).unwrap();
        compressor.write_all(&content).unwrap();
        drop(compressor);
        match inside(out.clone(), None) {
            Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt),
            // So little of it could be an archive too, which is cut then.
            Ok(read) => assert!(compression == Compression::Zstd && read == out),
        }
    }
}

#[test]
fn names_ask_for_compression() {
    let asked = |name: &str| Compression::of_name(Path::new(name));
    assert_eq!(asked("a/dump.json.gz"), Some(Compression::Gzip));
    assert_eq!([asked("dump.zst"), asked("dump.json.zstd")], [Some(Compression::Zstd); 2]);
    assert_eq!([asked("dump.json"), asked("gz"), asked(".gz"), asked("dump.gz/json")], [None; 4]);
    assert_eq!(Layer::at(&compressed(b"x", asked("dump.zst"), 1, 1)), Some(Layer::Zstd));
}

#[test]
fn a_full_disk_is_an_error_and_a_stop_ends_it() {
    struct Full(usize);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    for compression in BOTH {
        let mut compressor = Compressor::new(Full(300_000), Some(compression), 2, &Stop::new()).unwrap();
        let written = compressor.write_all(&noise(20 << 20)).map_err(|cause| Error::io("dump", cause));
        let error = written.and_then(|()| compressor.finish()).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Engine, "{error}");
    }
    let stop = Stop::new();
    let mut compressor = Compressor::new(Vec::new(), Some(Compression::Gzip), 2, &stop).unwrap();
    stop.interrupt();
    compressor.write_all(&lines(3 << 20)).unwrap_err();
}
