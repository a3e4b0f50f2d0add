//! Tests of the configuration, through the same door that the program uses.

mod access;
mod errors;
mod files;
mod fleet;
mod layers;
mod same_everywhere;
mod store;

use std::ffi::OsString;
use std::path::Path;

use super::error::ConfigError;
use super::file::ConfigFile;
use super::resolve::resolve_with_file;
use super::{Environment, OPTIONS, Opt, Resolved, Sources};

/// The layers of one case.
#[derive(Default)]
struct Case<'a> {
    file: &'a str,
    environment: &'a [(&'a str, &'a str)],
    options: &'a [(&'a str, &'a [&'a str])],
}

impl Case<'_> {
    fn resolve(&self) -> Result<Resolved, ConfigError> {
        let variable = |(name, value): &(&str, &str)| ((*name).to_owned(), OsString::from(value));
        let option = |(name, words): &(&str, &[&str])| {
            let words = words.iter().map(|word| (*word).to_owned()).collect();
            (opt(name), words)
        };
        let sources = Sources {
            file: None,
            environment: Environment::new(self.environment.iter().map(variable)),
            options: self.options.iter().map(option).collect(),
            ..Sources::default()
        };
        let file = ConfigFile::new(Path::new("mles.toml"), self.file.to_owned());
        resolve_with_file(&sources, Some(&file))
    }

    fn ok(&self) -> Resolved {
        match self.resolve() {
            Ok(resolved) => resolved,
            Err(error) => panic!("refused: {error}"),
        }
    }

    fn error(&self) -> String {
        match self.resolve() {
            Ok(_) => panic!("not refused"),
            Err(error) => error.to_string(),
        }
    }
}

fn file(text: &str) -> Case<'_> {
    Case {
        file: text,
        ..Case::default()
    }
}

fn environment<'a>(variables: &'a [(&'a str, &'a str)]) -> Case<'a> {
    Case {
        environment: variables,
        ..Case::default()
    }
}

fn options<'a>(options: &'a [(&'a str, &'a [&'a str])]) -> Case<'a> {
    Case {
        options,
        ..Case::default()
    }
}

fn opt(name: &str) -> &'static Opt {
    let found = OPTIONS.iter().find(|opt| opt.name == name);
    found.unwrap_or_else(|| panic!("no option {name}"))
}

/// Returns the value of an option as TOML.
fn value(resolved: &Resolved, name: &str) -> String {
    let shown = opt(name).field.show(&resolved.config);
    shown.unwrap_or_else(|| "not set".to_owned())
}
