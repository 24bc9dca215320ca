//! Sealing: whatever its length, content comes out of its envelope again, and the envelope is as long as was said.

use std::io::Read;

use super::{inside, key, lines};
use crate::wrapping::Sealing;

#[test]
fn what_is_sealed_on_its_way_opens_again() {
    for length in [0, 1, 15, 16, 17, (128 << 10) - 1, 128 << 10, (128 << 10) + 1, 400_000] {
        let content = lines(length);
        let (mut sealing, whole) = Sealing::begin(content.as_slice(), length as u64, &key()).unwrap();
        let mut sealed = Vec::new();
        sealing.read_to_end(&mut sealed).unwrap();
        assert_eq!(sealed.len() as u64, whole, "{length}");
        // Nothing at all is no envelope to whoever looks for one.
        assert!(length == 0 || inside(sealed, Some(&key())).unwrap() == content, "{length}");
    }
}
