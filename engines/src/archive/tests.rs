//! Archives of JuiceFS's metadata, written and read both ways, damaged in every place, and held against the document.

mod damage;
mod document;
mod kit;
mod round;
