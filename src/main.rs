//! The `mles` program: arguments to broker to exit code.

fn main() -> std::process::ExitCode {
    mles::cli::main()
}
