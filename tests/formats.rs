//! JuiceFS's own dumps: written as it writes them, read as it reads them, in every wrapping, through pipes, and broken.

mod broken;
mod fixtures;
mod foreign;
mod look;
mod ways;
