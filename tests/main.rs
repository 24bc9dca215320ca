//! The one test binary: conformance, matrix, golden files, faults, the command line.
