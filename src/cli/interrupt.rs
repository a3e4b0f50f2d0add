//! Ends of a client's command from outside: signals, and a reader of its output that has gone.

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::FileTypeExt as _;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::exit;
use super::failure::{CommandFailure, exit_code};
use super::output::say;

/// Longest time that a command ended by a signal may take to write what it holds. It cannot while its
/// output is not read.
const GRACE: Duration = Duration::from_millis(300);

/// Runs a client's command until it ends, or SIGINT or SIGTERM ends it.
///
/// The signals are not left to the system: it ignores them for the first process of a container.
pub(super) fn run_client(command: impl Future<Output = Result<(), CommandFailure>>) -> ExitCode {
    let started = runtime().and_then(|runtime| Ok((runtime, on_signal()?)));
    let (runtime, interrupted) = match started {
        Ok(started) => started,
        Err(error) => {
            say(format_args!("mles: cannot start: {error}"));
            return ExitCode::from(exit::FAILED);
        }
    };
    let code = runtime.block_on(async {
        tokio::select! {
            biased;
            result = command => exit_code(result),
            Ok(code) = interrupted => ExitCode::from(code),
        }
    });
    // A name server that does not answer holds up nobody but who asked it.
    runtime.shutdown_background();
    code
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// Waits for signals on a thread of its own, and sends the exit code of the first. The command may
/// be stuck writing to somebody who does not read: then the thread ends the process.
fn on_signal() -> io::Result<oneshot::Receiver<u8>> {
    let runtime = runtime()?;
    let (mut interrupt, mut terminate) = {
        let _context = runtime.enter();
        let listen = |kind| signal(kind);
        (
            listen(SignalKind::interrupt())?,
            listen(SignalKind::terminate())?,
        )
    };
    let (tell, told) = oneshot::channel();
    thread::Builder::new()
        .name("mles-signals".to_owned())
        .spawn(move || {
            runtime.block_on(async move {
                let code = next(&mut interrupt, &mut terminate).await;
                // Who has ended meanwhile need not be told.
                let _ = tell.send(code);
                let _ = timeout(GRACE, next(&mut interrupt, &mut terminate)).await;
                std::process::exit(i32::from(code));
            });
        })?;
    Ok(told)
}

/// Waits for the next signal and returns its exit code.
async fn next(interrupt: &mut Signal, terminate: &mut Signal) -> u8 {
    let kind = tokio::select! {
        _ = interrupt.recv() => SignalKind::interrupt(),
        _ = terminate.recv() => SignalKind::terminate(),
    };
    exit::by_signal(kind)
}

/// Waits until nobody can read the standard output any more: `sub | head -1` is over with the first
/// line, even if no second one comes. Waits for ever where that cannot be told, as with files.
pub(super) async fn reader_gone() {
    let Ok(Some(output)) = watched() else {
        return std::future::pending().await;
    };
    let interest = Interest::WRITABLE | Interest::ERROR;
    while let Ok(mut guard) = output.ready(interest).await {
        if guard.ready().is_write_closed() || guard.ready().is_error() {
            return;
        }
        // There is room to write, which says nothing.
        guard.clear_ready();
    }
    std::future::pending().await
}

/// Returns the standard output if it is something that tells when its reader goes.
fn watched() -> io::Result<Option<AsyncFd<File>>> {
    let output = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let kind = output.metadata()?.file_type();
    if !kind.is_fifo() && !kind.is_socket() {
        return Ok(None);
    }
    #[allow(
        deprecated,
        reason = "what takes its place is unsafe, for types that lie about their descriptor: a file does not"
    )]
    AsyncFd::with_interest(output, Interest::WRITABLE | Interest::ERROR).map(Some)
}
