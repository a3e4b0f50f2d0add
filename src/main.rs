//! The `mles` program.

fn main() -> std::process::ExitCode {
    mles::cli::main()
}
