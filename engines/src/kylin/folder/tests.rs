//! Backups, read and written: round trips, what has to be refused, and what is left when a copy ends early.

mod checking;
mod hostile;
mod kit;
mod made;
mod measured;
mod refused;
mod round;
mod typed;
mod writing;
mod zips;
