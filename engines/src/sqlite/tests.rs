//! What SQLite volumes are held against: fixtures written by JuiceFS, damage, writers at work, targets that are taken.

mod kit;
mod planning;
mod reading;
mod refusing;
mod writing;
