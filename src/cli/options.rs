//! The options of `mles serve`, made from the list that the file and the environment are read by.

use clap::builder::ValueParser;
use clap::error::Result;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use crate::config::{Arity, Config, Given, OPTIONS, Opt};

/// The options that were given, each with what was said for it.
#[derive(Clone, Debug, Default)]
pub(super) struct ConfigOptions(pub(super) Vec<(&'static Opt, Vec<String>)>);

impl Args for ConfigOptions {
    fn augment_args(command: Command) -> Command {
        command.args(OPTIONS.iter().map(arg))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for ConfigOptions {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self> {
        let given = |opt: &'static Opt| {
            let words = matches.get_many::<String>(opt.name)?;
            Some((opt, words.cloned().collect()))
        };
        Ok(Self(OPTIONS.iter().filter_map(given).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<()> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn arg(opt: &'static Opt) -> Arg {
    let arg = Arg::new(opt.name)
        .long(opt.flag())
        .value_name(opt.field.value_name())
        .help(help(opt))
        .help_heading(opt.section.heading())
        .value_parser(ValueParser::new(|word: &str| check(opt, word)));
    match opt.field.arity() {
        Arity::One => arg.action(ArgAction::Set),
        Arity::Many => arg.action(ArgAction::Append).value_delimiter(','),
        Arity::Switch => arg
            .action(ArgAction::Set)
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true"),
    }
}

fn help(opt: &Opt) -> String {
    let default = opt.field.show(&Config::default());
    match default {
        Some(value) if value == "[]" => format!("{} [default: none]", opt.help),
        Some(value) => format!(
            "{} [default: {}]",
            opt.help,
            value.trim_matches(['"', '[', ']']).replace('"', "")
        ),
        None => opt.help.to_owned(),
    }
}

/// Lets clap report a wrong value, beside the usage. The value is read again with the other layers.
fn check(opt: &Opt, word: &str) -> Result<String, String> {
    let result = opt.field.set(&mut Config::default(), &Given::Word(word));
    match result {
        Ok(()) => Ok(word.to_owned()),
        Err(_) => Err(format!("expected {}", opt.field.expected())),
    }
}
