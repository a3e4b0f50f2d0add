//! The command line.

mod chat;
mod connect;
mod escape;
mod lines;
mod publish;
mod serve;
mod subscribe;

use std::process::ExitCode;

use clap::Parser as _;

#[derive(clap::Parser)]
#[command(
    name = "mles",
    version,
    about = "A publish/subscribe broker and its clients"
)]
enum Command {
    Pub(publish::PubArgs),
    Sub(subscribe::SubArgs),
    Chat(chat::ChatArgs),
}

/// Runs the command that the arguments name.
pub(crate) fn main() -> ExitCode {
    if std::env::args().nth(1).is_none_or(|arg| arg == "serve") {
        serve::run();
        return ExitCode::SUCCESS;
    }
    let command = Command::parse();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("mles: {error}");
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(async {
        match command {
            Command::Pub(args) => publish::run(args).await,
            Command::Sub(args) => subscribe::run(args).await,
            Command::Chat(args) => chat::run(args).await,
        }
    })
}
