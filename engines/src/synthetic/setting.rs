//! What the volume says of itself: the setting, as JuiceFS 1.4 stores it, and the counters.

use metaferry_codecs::juicefs::{Counter, Document, Setting, counter, used_space};
use metaferry_pipeline::{Result, Stop};

use super::dice::Purpose;
use super::shape::Shape;

/// After how many slots the stop is asked for.
const STRETCH: u64 = 1 << 18;

/// What is used of the volume.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Usage {
    /// Bytes, each inode rounded up to 4 KiB.
    space: i64,
    /// Inodes, without the root and the trash root.
    inodes: i64,
}

impl Shape {
    /// Adds up what is used, slot by slot.
    pub(super) fn usage(&self, stop: &Stop) -> Result<Usage> {
        let directories = (self.directories + self.hours) as i64;
        let mut usage = Usage { space: directories * 4096, inodes: directories };
        for start in (0..self.slots).step_by(STRETCH as usize) {
            stop.check()?;
            for slot in start..self.slots.min(start + STRETCH) {
                let leaf = self.leaf(slot);
                if leaf.slot == slot {
                    usage.space += used_space(leaf.kind, self.size_of(leaf));
                    usage.inodes += 1;
                }
            }
        }
        Ok(usage)
    }

    /// The counters, by name.
    pub(super) fn counters(&self, usage: Usage) -> [Counter; 7] {
        let next_inode = 2 + (self.slot_inode(self.slots + self.removed_files()) - 2).next_multiple_of(1024);
        let next_chunk = 1 + (self.slices_end() - 1).next_multiple_of(4096);
        let row = |name: &[u8], value: i64| Counter { name: name.to_vec(), value };
        [
            row(counter::ACL_MAX_ID, self.rules.len() as i64),
            row(counter::NEXT_CHUNK, next_chunk as i64),
            row(counter::NEXT_INODE, next_inode as i64),
            row(counter::NEXT_SESSION, 1),
            row(counter::NEXT_TRASH, self.hours as i64),
            row(counter::TOTAL_INODES, usage.inodes),
            row(counter::USED_SPACE, usage.space),
        ]
    }

    /// The setting.
    pub(super) fn setting(&self) -> Setting {
        let (high, low) = (self.dice.roll(Purpose::Identity, 0), self.dice.roll(Purpose::Identity, 1));
        let uuid = format!(
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            high >> 32,
            high >> 16 & 0xffff,
            high & 0xfff,
            low >> 48 & 0x3fff | 0x8000,
            low & 0xffff_ffff_ffff
        );
        let lines = [
            "{\n\"Name\": \"synthetic\",\n\"UUID\": \"",
            &uuid,
            "\",\n\"Storage\": \"file\",\n\"Tiers\": {\n\"0\": {\n\"ID\": 0,\n\"StorageClass\": \"\",\n\"Tag\": \"\"\n},\n\
             \"1\": {\n\"ID\": 1,\n\"StorageClass\": \"STANDARD_IA\",\n\"Tag\": \"\"\n}\n},\n\
             \"Bucket\": \"/var/jfs/\",\n\"BlockSize\": 4096,\n\"Compression\": \"none\",\n\
             \"EncryptAlgo\": \"aes256gcm-rsa\",\n\"KeyEncrypted\": true,\n\"TrashDays\": 1,\n\"MetaVersion\": 1,\n\
             \"MinClientVersion\": \"1.2.0-A\",\n\"DirStats\": true,\n\"EnableACL\": true\n}",
        ];
        Setting { document: Document(lines.concat().into_bytes()) }
    }
}
