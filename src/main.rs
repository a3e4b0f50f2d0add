//! The `mles` program: arguments to broker to exit code.
fn main() {}
