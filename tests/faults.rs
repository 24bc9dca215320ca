//! Faults: bad input, machines that fail, users who interrupt. Every one ends with one clear error and the right exit code,
//! and leaves nothing that could be taken for a volume.

mod archives;
mod death;
mod disks;
mod fuzzy;
mod kit;
mod machine;
mod output;
mod patience;
mod privileges;
mod repositories;
mod rows;
mod servers;
mod silence;
mod ways;
