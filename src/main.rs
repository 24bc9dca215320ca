//! The command line: what did the user ask?

fn main() {}
