//! Pieces in any order become segments, however little is held in memory; what does not fit together becomes nothing.

use metaferry_codecs::juicefs::binary::Footer;
use metaferry_pipeline::ErrorKind;

use super::*;
use crate::output::Destination;

fn first(segment: u64, number: u32, length: u64) -> Foreign {
    Foreign { segment, number, name: b"new".to_vec(), items: segment, length, ..Foreign::default() }
}

fn piece(segment: u64, piece: u64, bytes: &[u8]) -> Foreign {
    Foreign { segment, piece, bytes: bytes.to_vec(), ..Foreign::default() }
}

/// What rows become, in memory of so many bytes; and how much was spilled.
fn written(rows: &[Foreign], budget: usize) -> Result<(Vec<u8>, Footer, u64)> {
    let (folder, stop) = (tempfile::tempdir().unwrap(), Stop::new());
    let path = folder.path().join("dump");
    let output = Destination::at(&path)?.open(&stop)?;
    let mut growing = Growing { output, footer: Footer::default() };
    let dir = SpillDir::new(folder.path());
    let mut pieces = Pieces::new(&dir, budget);
    rows.iter().try_for_each(|row| pieces.put(&vec![row.clone()].into()))?;
    pieces.append(&mut growing, &stop)?;
    growing.output.publish()?;
    Ok((std::fs::read(path).unwrap(), growing.footer, dir.spilled_bytes()))
}

#[test]
fn pieces_come_in_any_order_and_segments_are_written_in_theirs() {
    let mut rows = vec![piece(7, 2, b"ld"), first(3, 16, 0), piece(7, 1, b"wor"), first(7, 99, 5), first(1, 16, 600)];
    rows.extend((1..=100).rev().map(|number| piece(1, number, &[number as u8; 6])));
    let payload: Vec<u8> = (1..=100).flat_map(|number| [number as u8; 6]).collect();
    let expected = [&head(16_u32, 600)[..], &payload, &head(16_u32, 0), &head(99_u32, 5), b"world"].concat();
    let mut footer = Footer::default();
    [(0, 1), (612, 3), (624, 7)].into_iter().for_each(|(offset, items)| footer.add_unknown(b"new", offset, items));
    for (budget, spills) in [(1 << 20, false), (100, true)] {
        let (bytes, found, spilled) = written(&rows, budget).unwrap();
        assert!(bytes == expected && found.encode() == footer.encode(), "{budget}");
        assert_eq!(spilled > 0, spills);
    }
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let known = Foreign { name: b"node".to_vec(), ..first(0, 16, 0) };
    for rows in [
        vec![piece(0, 1, b"a")],
        vec![first(0, 16, 1)],
        vec![first(0, 16, 2), piece(0, 2, b"ab")],
        vec![first(0, 16, 2), piece(0, 1, b"a"), piece(0, 1, b"b")],
        vec![first(0, 16, 2), piece(0, 1, b"abc")],
        vec![first(0, 16, 2), first(1, 16, 2), piece(1, 1, b"ab")],
        vec![first(0, 16, 0), first(0, 16, 0)],
        vec![Foreign { bytes: b"a".to_vec(), ..first(0, 16, 0) }],
        vec![first(0, 3, 0)],
        vec![first(0, MARKER, 0)],
        vec![known],
    ] {
        assert_eq!(written(&rows, 1 << 20).map(drop).unwrap_err().kind(), ErrorKind::Corrupt, "{rows:?}");
    }
}
