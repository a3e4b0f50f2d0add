//! The `mles` program: arguments to broker to exit code.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
