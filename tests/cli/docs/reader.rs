//! Types what the documents show, section by section, and looks at what comes of it.

use super::documents::{Command, Session, sessions};
use super::stand_ins::{Instead, STAND_INS, StandIn};
use super::terminal::{Background, Terminal};

/// What documents take for granted: files of the reader's own, and a word that stands for them.
const GIVEN: &str = "mles dev-cert --out given --name broker.example &&
    mv given/cert.pem fullchain.pem && mv given/key.pem privkey.pem &&
    (umask 077 && echo secret >key)";

/// What the commands that run to their end begin with. Any other is a row of the stand-ins.
const RUN: [&str; 7] = ["mles", "export", "cd", "git", "curl", "printf", "openssl"];

#[test]
fn every_command_works_as_it_stands() {
    let sessions = sessions();
    for session in &sessions {
        let terminal = match Terminal::open() {
            Ok(terminal) => terminal,
            Err(reason) => {
                eprintln!("SKIPPED docs::every_command_works_as_it_stands: {reason}");
                return;
            }
        };
        Reader::new(terminal, session).read();
    }
}

#[test]
fn every_stand_in_is_for_a_command_of_the_documentation() {
    let sessions = sessions();
    let commands = sessions.iter().flat_map(|session| &session.commands);
    let used: Vec<_> = commands.filter_map(stand_in).collect();
    for row in STAND_INS {
        let is_used = used.iter().any(|used| std::ptr::eq(*used, row));
        assert!(is_used, "no document has `{}` any more", row.begins);
    }
}

/// The units are what a service manager takes.
#[test]
fn every_unit_is_accepted_by_systemd() {
    let folder = super::checkout().join("configs/systemd");
    let units = ["mles.service", "examples/mles.socket"].map(|unit| folder.join(unit));
    let test = "docs::every_unit_is_accepted_by_systemd";
    let mut terminal = match Terminal::open() {
        Ok(terminal) => terminal,
        Err(reason) => return eprintln!("SKIPPED {test}: {reason}"),
    };
    if terminal.run("command -v systemd-analyze").code != 0 {
        return eprintln!("SKIPPED {test}: no systemd-analyze");
    }
    for unit in &units {
        let (name, text) = (
            unit.file_name().unwrap().to_str().unwrap(),
            std::fs::read_to_string(unit).unwrap(),
        );
        // The program is installed in no machine that builds it.
        let text = text.replace("/usr/bin/mles", "@PROGRAM@");
        let write = format!("sed \"s|@PROGRAM@|$(command -v mles)|\" >{name} <<'END'\n{text}END");
        assert_eq!(terminal.run(&write).code, 0);
    }
    for unit in &units {
        let name = unit.file_name().unwrap().to_str().unwrap();
        let outcome = terminal.run(&format!("systemd-analyze --man=no verify ./{name}"));
        let complaints: Vec<_> = outcome
            .stderr
            .lines()
            .filter(|l| l.contains("mles"))
            .collect();
        assert!(
            outcome.code == 0 && complaints.is_empty(),
            "{}: {}",
            unit.display(),
            outcome.stderr
        );
    }
}

fn stand_in(command: &Command) -> Option<&'static StandIn> {
    STAND_INS
        .iter()
        .find(|row| command.text.starts_with(row.begins))
}

/// Somebody who types the commands of a section.
struct Reader<'a> {
    terminal: Terminal,
    session: &'a Session,
    running: Vec<Background>,
}

impl<'a> Reader<'a> {
    fn new(mut terminal: Terminal, session: &'a Session) -> Self {
        let given = terminal.run(GIVEN);
        assert_eq!(given.code, 0, "{}", given.stderr);
        Self {
            terminal,
            session,
            running: Vec::new(),
        }
    }

    fn read(mut self) {
        for command in &self.session.commands {
            match stand_in(command) {
                Some(row) => self.check(command, row),
                None if goes_on(&command.text) => self.start(command),
                None => self.run(command),
            }
            self.check_comment(command);
        }
        self.publish_to_subscribers();
        self.talk();
        for running in &self.running {
            let place = &self.session.place;
            assert!(
                running.code().is_none_or(|code| code == 0),
                "{place}: {running}"
            );
        }
    }

    /// Runs a command to its end.
    fn run(&mut self, command: &Command) {
        let place = &self.session.place;
        let program = words(&command.text)[0];
        assert!(
            RUN.contains(&program),
            "{place}: `{}` is no row of the stand-ins",
            command.text
        );
        self.expect_success(&command.text);
        let words = words(&command.text);
        if let ["mles", "pub", .., channel, message] = words[..] {
            for subscriber in self.subscribers(channel) {
                subscriber.wait_for_line(message);
            }
        }
    }

    fn expect_success(&mut self, command: &str) {
        let outcome = self.terminal.run(command);
        let (place, stderr) = (&self.session.place, outcome.stderr);
        assert_eq!(
            outcome.code, 0,
            "{place}: `{command}`: {stderr}{}",
            outcome.stdout
        );
    }

    /// Starts a command that goes on, and waits until a server is up.
    fn start(&mut self, command: &Command) {
        let running = self.terminal.start(&command.text);
        if is_server(&command.text) {
            running.wait_until_said("listen");
        }
        if is_event_stream(&command.text) {
            running.wait_for_line("event: welcome");
        }
        self.running.push(running);
    }

    /// Checks what can be of a command that does not run.
    fn check(&mut self, command: &Command, row: &StandIn) {
        let text = &command.text;
        let place = format!("{}: `{text}` ({})", self.session.place, row.reason);
        match row.instead {
            Instead::Run(instead) => self.expect_success(instead),
            Instead::Plan => {
                let outcome = self.terminal.run(&format!(
                    "(export RUSTC_WRAPPER=$MACHINE/bin/plan CARGO_NET_OFFLINE=true\n{text}\n)"
                ));
                if outcome.stderr.contains("without the offline flag") {
                    return eprintln!("not checked: {place}: the crates are not here");
                }
                assert!(
                    outcome.stderr.contains("planned: "),
                    "{place}: {}",
                    outcome.stderr
                );
            }
            Instead::Arguments => {
                // Who runs this test alone may have a program of yesterday.
                let newer = "test -x \"$LOADGEN\" && test -z \"$(find \"$CHECKOUT/loadgen/src\" \
                    -name '*.rs' -newer \"$LOADGEN\")\"";
                if self.terminal.run(newer).code != 0 {
                    return eprintln!("not checked: {place}: loadgen is not built");
                }
                let outcome = self.terminal.run(&format!("{text} --help"));
                assert_eq!(outcome.code, 0, "{place}: {}", outcome.stderr);
            }
            Instead::Usage => {
                let script = words(text)[0].to_owned();
                let usage = self.terminal.run(&format!("{script} --help")).stderr;
                let mut lines = usage.lines().map(|line| words(line).join(" ") + " ");
                let is_shown = lines.any(|line| line.starts_with(&format!("{text} ")));
                assert!(is_shown, "{place}: {usage}");
            }
        }
    }

    /// Waits for what the comment behind a command promises: that a terminal prints something.
    fn check_comment(&self, command: &Command) {
        let Some((_, promised)) = command.comment.split_once("prints \"") else {
            return;
        };
        let (line, _) = promised.split_once('"').unwrap();
        let mut others = self
            .running
            .iter()
            .filter(|running| running.command != command.text);
        let subscriber = others.rfind(|running| running.command.contains("mles sub"));
        subscriber
            .expect("somebody who prints it")
            .wait_for_line(line);
    }

    fn subscribers(&self, channel: &str) -> Vec<&Background> {
        let of_channel = |running: &&Background| {
            let words = words(&running.command);
            words.starts_with(&["mles", "sub"]) && words.contains(&channel)
        };
        self.running.iter().filter(of_channel).collect()
    }

    /// Publishes to each subscriber of the section, in the way that it subscribes.
    fn publish_to_subscribers(&mut self) {
        let mut publishers = Vec::new();
        for (index, running) in self.running.iter().enumerate() {
            if words(&running.command).starts_with(&["mles", "sub"]) {
                let publisher = running.command.replacen("mles sub", "mles pub", 1);
                publishers.push((index, format!("{publisher} 'message {index}'")));
            }
        }
        for (index, publisher) in publishers {
            self.expect_success(&publisher);
            self.running[index].wait_for_line(&format!("message {index}"));
        }
    }

    /// Lets those who chat talk to each other.
    fn talk(&self) {
        let is_chat =
            |running: &&Background| words(&running.command).starts_with(&["mles", "chat"]);
        let chats: Vec<_> = self.running.iter().filter(is_chat).collect();
        for (index, chat) in chats.iter().enumerate() {
            chat.type_line(&format!("line {index}"));
            for other in chats.iter().filter(|other| other.command != chat.command) {
                let words = words(&chat.command);
                let uid = words.iter().skip_while(|word| **word != "--uid").nth(1);
                other.wait_for_line(&format!("{}: line {index}", uid.expect("a uid")));
            }
        }
    }
}

fn words(command: &str) -> Vec<&str> {
    command.split_whitespace().collect()
}

fn is_server(command: &str) -> bool {
    matches!(words(command)[..], ["mles"] | ["mles", "serve", ..])
}

/// Returns `true` for a command that does not end by itself.
fn goes_on(command: &str) -> bool {
    is_server(command)
        || is_event_stream(command)
        || matches!(words(command)[..], ["mles", "sub" | "chat", ..])
}

fn is_event_stream(command: &str) -> bool {
    matches!(words(command)[..], ["curl", "-N", ..])
}
