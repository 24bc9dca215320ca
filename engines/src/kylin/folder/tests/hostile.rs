//! Zips that lie: whatever is done to one, it is an error, and never a panic, other content, or more memory than it holds.

use flate2::Compression;
use metaferry_pipeline::ErrorKind;
use proptest::prelude::*;

use super::kit::*;
use super::made::*;

fn refused(folder: &Folder, entries: &[Made], why: &str) {
    let bytes = zip(entries);
    let error = match read(&folder.zip(&bytes), unchecked()) {
        Err(error) => format!("{error:?}"),
        Ok(yielded) if yielded.findings.damaged.count > 0 => yielded.findings.damaged.told.join("; "),
        Ok(_) => panic!("{why}: it was read"),
    };
    assert!(error.contains(why), "{error}");
}

fn changed(change: impl FnOnce(&mut Vec<Made>)) -> Vec<Made> {
    let mut entries = entries();
    change(&mut entries);
    entries
}

#[test]
fn what_the_two_ways_of_reading_see_must_be_the_same() {
    let folder = Folder::new();
    for (entries, why) in [
        (changed(|all| all[3].is_hidden = true), "does not end where the next one begins"),
        (
            changed(|all| all[3].gap = b"PK\x03\x04 and so much more than that".to_vec()),
            "does not end where the next one begins",
        ),
        (changed(|all| all[3].gap = b"x".to_vec()), "something lies between"),
        (changed(|all| all[0].gap = b"#!/bin/sh\n".to_vec()), "it is no zip"),
        (changed(|all| all[0].gap = b"PK\x03\x04".to_vec()), "does not begin where"),
        (changed(|all| all[3].local_name = Some(b"/_global/project/p9.json".to_vec())), "not what the directory says"),
        (changed(|all| all[3].local_name = Some(b"/p".to_vec())), "not what the directory says"),
        (changed(|all| all[11].is_hidden = true), "does not end where the next one begins"),
        (changed(|all| all[0].is_hidden = true), "does not begin where"),
    ] {
        refused(&folder, &entries, why);
    }
    // The same place twice: a small file that holds more than any memory.
    let mut bytes = zip(&entries());
    let records: Vec<_> = (0..bytes.len() - 4).filter(|at| bytes[*at..].starts_with(b"PK\x01\x02")).collect();
    bytes.copy_within(records[4] + 42..records[4] + 46, records[5] + 42);
    let error = read(&folder.zip(&bytes), unchecked()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
}

#[test]
fn bombs_do_not_expand() {
    let folder = Folder::new();
    let zeros = packed(&vec![0; 64 << 20], Compression::best());
    let lie = |says: (u32, u32, u32)| {
        changed(|all| {
            all[6].data = Some(zeros.clone());
            all[6].says = Some(says);
        })
    };
    let length = zeros.len() as u32;
    refused(&folder, &lie((0, length, 10)), "it holds more than the directory says");
    refused(&folder, &lie((0, length, (64 << 20) + 1000)), "not as long as the directory says");
    refused(&folder, &lie((0, length, 200 << 20)), "more than can be packed so small");
    refused(&folder, &lie((0, length, u32::MAX - 1)), "and a resource has 268435456 at most");
    refused(&folder, &lie((0, length, 64 << 20)), "checksum mismatch");
    let image = changed(|all| {
        let image = all.iter_mut().find(|entry| entry.name == b"/_image").unwrap();
        image.data = Some(zeros.clone());
        image.says = Some((0, length, 64 << 20));
    });
    refused(&folder, &image, "and has 65536 at most");
}

#[test]
fn what_no_kylin_reads_is_refused() {
    let folder = Folder::new();
    for (entries, why) in [
        (changed(|all| all[2].flags = 1), "encrypted"),
        (changed(|all| all[2].flags = 1 << 6), "encrypted"),
        (changed(|all| all[2].method = 12), "method 12"),
        (changed(|all| all[2].method = 99), "method 99"),
        (changed(|all| (all[2].method, all[2].flags) = (0, 8)), "of unknown length"),
        (changed(|all| all[2].data = Some(b"no stream".to_vec())), "malformed zip entry"),
        (changed(|all| all[2].data = Some(deflated(b"{}")[..2].to_vec())), "truncated"),
        (changed(|all| all[2].says = Some((7, 15, 13))), "checksum mismatch"),
    ] {
        refused(&folder, &entries, why);
    }
}

#[test]
fn damage_in_one_entry_leaves_the_others_readable() {
    let folder = Folder::new();
    let entries = changed(|all| {
        let mut data = deflated(b"{\"name\":\"T1\"}");
        data[5] ^= 1;
        all[9].data = Some(data);
    });
    let yielded = all(&folder.zip(&zip(&entries)));
    assert_eq!(yielded.findings.damaged.count, 1, "{:?}", yielded.findings);
    assert!(
        yielded.findings.damaged.told[0].contains("entry \"/p1/table/DEFAULT.T1.json\": "),
        "{:?}",
        yielded.findings
    );
    assert_eq!(yielded.rows.len(), 10);
    let error = copy_backup(&folder.path("metadata.zip"), &folder.path("to"), super::super::Form::Folder).unwrap_err();
    assert!(error.what_to_do().unwrap().contains("--skip-damaged"));
}

#[test]
fn every_cut_and_everything_appended_is_found() {
    let folder = Folder::new();
    let whole = zip(&entries());
    for length in 0..whole.len() {
        assert!(read(&folder.zip(&whole[..length]), unchecked()).is_err(), "cut to {length} bytes");
    }
    for start in 1..whole.len() {
        assert!(read(&folder.zip(&whole[start..]), unchecked()).is_err(), "the first {start} bytes lost");
    }
    for more in [&b"\0"[..], b"PK", &whole] {
        let error = read(&folder.zip(&[&whole, more].concat()), unchecked()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
    }
    let error = read(&folder.zip(&whole[..whole.len() - 30]), unchecked()).unwrap_err();
    assert!(error.to_string().contains("it was cut off"), "{error}");
}

#[test]
fn a_flipped_bit_never_changes_content() {
    let folder = Folder::new();
    let whole = zip(&entries());
    let expected = all(&folder.zip(&whole));
    let mut read_all_the_same = 0;
    for place in 0..whole.len() {
        for bit in 0..8 {
            let mut bytes = whole.clone();
            bytes[place] ^= 1 << bit;
            let Ok(yielded) = read(&folder.zip(&bytes), unchecked()) else { continue };
            // What is not proven by a checksum is what nobody reads: versions, attributes, and the time.
            if yielded.findings.damaged.count == 0 {
                read_all_the_same += 1;
                let same = |one: &[metaferry_codecs::kylin::Resource], other: &[metaferry_codecs::kylin::Resource]| {
                    one.iter().map(|row| (&row.key, &row.content)).eq(other.iter().map(|row| (&row.key, &row.content)))
                };
                assert!(same(&yielded.rows, &expected.rows), "bit {bit} of byte {place}");
            }
        }
    }
    assert!(read_all_the_same < whole.len() * 8 / 3, "{read_all_the_same}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 0_usize..2000, fill in any::<u8>()) {
        let folder = Folder::new();
        let mut damaged = zip(&entries());
        let at = cut.min(damaged.len());
        let end = (at + bytes.len()).min(damaged.len());
        damaged.splice(at..end, bytes.iter().copied());
        drop(read(&folder.zip(&damaged), unchecked()));
        damaged[at.min(end)..].fill(fill);
        drop(read(&folder.zip(&damaged), unchecked()));
        drop(read(&folder.zip(&bytes), unchecked()));
    }
}
