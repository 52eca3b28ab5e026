//! The stages stand in `examples/`: `cargo xtask languages rust` builds them and runs them.
