//! Names, link targets and texts in mixed scripts. A name begins with its place in the directory, zero-padded, so that no
//! two are alike and their order is that of the places.

use metaferry_codecs::juicefs::MAX_NAME;

use super::dice::{Dice, Purpose, mix, pick};

const WORDS: [&str; 32] = [
    "report",
    "backup",
    "IMG_2041",
    "data set",
    "node_modules",
    "final (2)",
    "part",
    "index",
    "a",
    "O'Brien",
    "\"quoted\"",
    "100%41",
    "back\\slash",
    "two  spaces",
    "tab\there",
    "naïve café",
    "Übergröße",
    "Отчёт",
    "данные за год",
    "Привет, мир",
    "报告",
    "数据库备份",
    "第一章 序言",
    "日本語のファイル",
    "写真",
    "한국어 문서",
    "تقرير",
    "قاعدة البيانات",
    "שלום",
    "📦",
    "👩‍🚀 launch 🚀",
    "e\u{301}te\u{301}",
];
const SEPARATORS: [&str; 8] = ["-", "_", " ", ".", "_", "-", " - ", ""];
const SUFFIXES: [&str; 16] = [
    "", ".txt", ".jpg", ".parquet", ".log", ".json", ".tar.gz", ".py", ".h5", ".日志", ".PDF", ".doc x", ".mp4", "~",
    ".tmp", ".csv",
];
/// Latin-1 and bytes that begin nothing: no UTF-8.
const RAW: [&[u8]; 3] = [b"caf\xe9", b"\xff\xfe", b"\xe6\x97"];

/// The number of digits that number `count` places.
pub(super) fn width_of(count: u64) -> usize {
    count.saturating_sub(1).checked_ilog10().unwrap_or(0) as usize + 1
}

/// The name at a place of a directory; `roll` decides the rest of it.
pub(super) fn name(place: u64, width: usize, roll: u64, is_directory: bool) -> Vec<u8> {
    let mut name = Vec::with_capacity(64);
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(place).as_bytes();
    name.resize(width.saturating_sub(digits.len()), b'0');
    name.extend_from_slice(digits);
    name.extend_from_slice(pick(&SEPARATORS, roll & 0xff).as_bytes());
    name.extend_from_slice(pick(&WORDS, roll >> 8 & 0xff).as_bytes());
    if roll >> 16 & 3 == 0 {
        name.extend_from_slice(pick(&SEPARATORS, roll >> 18 & 0xff).as_bytes());
        name.extend_from_slice(pick(&WORDS, roll >> 26 & 0xff).as_bytes());
    }
    match roll >> 54 {
        0 => fill(&mut name, roll, MAX_NAME),
        1..5 => name.extend_from_slice(pick(&RAW, roll >> 34 & 0xff)),
        _ => {}
    }
    let suffix = pick(&SUFFIXES, roll >> 42 & 0xff).as_bytes();
    if !is_directory && name.len() + suffix.len() <= MAX_NAME {
        name.extend_from_slice(suffix);
    }
    name
}

/// The name of a removed entry, which leads with where it was.
pub(super) fn trash_name(parent: u64, inode: u64, name: &[u8]) -> Vec<u8> {
    let mut full = Vec::with_capacity(64);
    for number in [parent, inode] {
        full.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
        full.push(b'-');
    }
    full.extend_from_slice(name);
    full.truncate(MAX_NAME);
    full
}

/// The name of a trash hour.
pub(super) fn hour_name(hour: u64) -> Vec<u8> {
    format!("2024-01-{:02}-{:02}", hour / 24 + 1, hour % 24).into_bytes()
}

/// The target of a symbolic link; one in 256 is nearly as long as may be.
pub(super) fn target(dice: Dice, slot: u64) -> Vec<u8> {
    let roll = dice.roll(Purpose::Target, slot);
    let mut target = b"../".repeat((roll & 3) as usize);
    target.extend_from_slice(pick(&WORDS, roll >> 8 & 0xff).as_bytes());
    match roll >> 56 {
        0 => fill(&mut target, roll, 4095),
        1 => target.extend_from_slice(pick(&RAW, roll >> 34)),
        _ => {}
    }
    target
        .extend_from_slice(pick(&[b"".as_slice(), b"/", b"/x"], if target.len() < 4000 { roll >> 40 & 3 } else { 0 }));
    target
}

/// Text of about this many bytes.
pub(super) fn text(roll: u64, length: usize) -> Vec<u8> {
    let mut text = Vec::with_capacity(length);
    fill(&mut text, roll, length);
    text
}

/// Bytes that are no text.
pub(super) fn bytes(roll: u64, length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length + 8);
    let mut state = roll;
    while bytes.len() < length {
        state = mix(state);
        bytes.extend_from_slice(&state.to_be_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Appends words up to exactly this length.
fn fill(out: &mut Vec<u8>, mut roll: u64, length: usize) {
    loop {
        roll = mix(roll);
        let word = pick(&WORDS, roll);
        if out.len() + word.len() > length {
            break;
        }
        out.extend_from_slice(word.as_bytes());
    }
    out.resize(length, b'x');
}
