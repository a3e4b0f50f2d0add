//! `mles top`: a running server, live, in a terminal.
//!
//! One thread asks the server once a second ([`Sampler`]); this one draws and takes keys. What is drawn is a function
//! of [`Screen`] alone.

mod frame;
mod sampler;
mod screen;
#[cfg(test)]
mod tests;

use std::io::{self, IsTerminal as _};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use self::sampler::{Sampler, Update};
use self::screen::Screen;
use super::admin::{ADMIN_EXIT_CODES, AdminArgs, admin_exit_code};
use super::exit;
use super::output::say;

/// Longest wait for a key before updates are looked for.
const TICK: Duration = Duration::from_millis(100);

/// Watch a running server in the terminal
#[derive(clap::Args)]
#[command(after_help = format!("\
Asks the admin listener of the server (`mles serve --admin`) once a second, and shows rates, shards, the \
busiest channels, the slowest members and links.

Keys:
  q, Esc, Ctrl-C  quit
  s               next order of the channels: rate, bytes, members, queued, history
  p, Space        pause, or go on

Examples:
  mles top
  mles top --admin broker.example:8078 --admin-token-file token

{ADMIN_EXIT_CODES}"))]
pub(super) struct TopArgs {
    #[command(flatten)]
    admin: AdminArgs,
}

pub(super) fn run(args: &TopArgs) -> ExitCode {
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        say("mles: `mles top` needs a terminal; `mles status` prints how the server is, once");
        return ExitCode::from(exit::USAGE);
    }
    // Whoever cannot be asked at all is told of before the screen is taken.
    let first = args.admin.client().and_then(Sampler::start);
    let (sampler, screen) = match first {
        Ok(first) => first,
        Err(error) => return admin_exit_code(&error),
    };
    let watched = ratatui::try_init().and_then(|terminal| watch(terminal, &sampler, screen));
    let restored = ratatui::try_restore();
    match watched.and(restored) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(format_args!("mles: the terminal cannot be used: {error}"));
            ExitCode::from(exit::FAILED)
        }
    }
}

/// Command that a key gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Command {
    Quit,
    NextOrder,
    Pause,
}

/// Draws until the user, or a signal, ends it.
fn watch(mut terminal: DefaultTerminal, sampler: &Sampler, mut screen: Screen) -> io::Result<()> {
    loop {
        terminal.draw(|frame| frame::draw(frame, &screen, Instant::now()))?;
        if event::poll(TICK)? {
            match command(&event::read()?) {
                Some(Command::Quit) => return Ok(()),
                Some(Command::NextOrder) => {
                    screen.order = screen.order.next();
                    sampler.ask_for(screen.order);
                }
                Some(Command::Pause) => screen.is_paused = !screen.is_paused,
                None => {}
            }
        }
        while let Some(update) = sampler.next() {
            match update {
                Update::Stop => return Ok(()),
                Update::Taken(at, snapshot) => screen.take(at, *snapshot),
                Update::Failed(reason) => screen.problem = Some(reason),
            }
        }
    }
}

fn command(event: &Event) -> Option<Command> {
    let Event::Key(KeyEvent {
        code,
        modifiers,
        kind: KeyEventKind::Press,
        ..
    }) = event
    else {
        return None;
    };
    match code {
        KeyCode::Char('c') if modifiers.contains(KeyModifiers::CONTROL) => Some(Command::Quit),
        KeyCode::Char('q') | KeyCode::Esc => Some(Command::Quit),
        KeyCode::Char('s') => Some(Command::NextOrder),
        KeyCode::Char('p' | ' ') => Some(Command::Pause),
        _ => None,
    }
}
