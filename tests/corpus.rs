//! Inputs that fuzzing found worth keeping, through the targets they were found with.

#[path = "../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "it is a crate of its own there")]
mod targets;

type Target = fn(&[u8]);

const TARGETS: [(&str, Target); 6] = [
    ("json", targets::json),
    ("binary", targets::binary),
    ("attr", targets::attr),
    ("rdb", targets::rdb),
    ("segment", targets::segment),
    ("envelope", targets::envelope),
];

#[test]
fn what_was_found_by_fuzzing_does_no_harm() {
    for (name, target) in TARGETS {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/").to_owned() + name;
        let mut inputs = 0;
        for entry in std::fs::read_dir(&folder).unwrap() {
            target(&std::fs::read(entry.unwrap().path()).unwrap());
            inputs += 1;
        }
        assert!(inputs > 0, "{folder} is empty");
    }
}
