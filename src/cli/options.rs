//! The options of `mles serve`, made from the list that the file and the environment are read by.

use clap::builder::ValueParser;
use clap::error::Result;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use crate::config::{Arity, Config, OPTIONS, Opt, RawValue};

/// The options that were given, each with its words.
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
    let description = opt.field.describe();
    let arg = Arg::new(opt.name)
        .long(opt.flag())
        .value_name(description.value_name)
        .help(help(opt))
        .help_heading(opt.section.heading())
        .value_parser(ValueParser::new(|word: &str| check(opt, word)));
    match description.arity {
        Arity::One => arg.action(ArgAction::Set),
        Arity::Many => arg.action(ArgAction::Append).value_delimiter(','),
        // `mles serve` has no arguments without a dash, so a word behind a switch is its value.
        Arity::Switch => arg
            .action(ArgAction::Set)
            .num_args(0..=1)
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
    let result = opt.field.set(&mut Config::default(), &RawValue::Word(word));
    match result {
        Ok(()) => Ok(word.to_owned()),
        Err(_) => Err(format!("expected {}", opt.field.describe().expected)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(args: &[&str]) -> Result<Vec<(&'static str, Vec<String>)>> {
        let command = ConfigOptions::augment_args(Command::new("serve").no_binary_name(true));
        let options = ConfigOptions::from_arg_matches(&command.try_get_matches_from(args)?)?;
        let named = options.0.into_iter().map(|(opt, words)| (opt.name, words));
        Ok(named.collect())
    }

    #[test]
    fn every_switch_takes_its_value_in_each_way_that_it_is_written() {
        let switches = OPTIONS
            .iter()
            .filter(|opt| opt.field.describe().arity == Arity::Switch);
        for opt in switches {
            let flag = format!("--{}", opt.flag());
            for value in ["true", "false"] {
                let joined = format!("{flag}={value}");
                for args in [
                    &[&flag, value][..],
                    &[&joined],
                    &[&flag, value, "--shards", "1"],
                ] {
                    let given = given(args).unwrap();
                    let set = given.iter().find(|(name, _)| *name == opt.name);
                    assert_eq!(set.unwrap().1, [value], "{args:?}");
                }
            }
            for args in [&[flag.as_str()][..], &[&flag, "--shards", "1"]] {
                let given = given(args).unwrap();
                let set = given.iter().find(|(name, _)| *name == opt.name);
                assert_eq!(set.unwrap().1, ["true"], "{args:?}");
            }
            assert!(given(&[&flag, "maybe"]).is_err(), "{flag}");
        }
    }
}
