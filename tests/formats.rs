//! JuiceFS's own dumps: written as it writes them, read as it reads them, in every wrapping, through pipes, and broken.

mod broken;
mod fixtures;
mod look;
mod ways;
