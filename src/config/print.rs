//! A resolved configuration as a file that could be loaded again.

use std::fmt;

use super::access::{ACCESS_RULES, KEYS};
use super::file::{PATTERN, RULES};
use super::model::Config;
use super::option::{Opt, Section};
use super::origin::ValueOrigins;
use super::resolve::Resolved;
use super::table::OPTIONS;
use super::value::quoted;
use crate::access::{ANONYMOUS, AccessRule, RuleHolder, TOKEN};
use crate::channel::ChannelSettings;

/// Displays a configuration as TOML, with the origin of each value. Secrets are replaced by
/// comments; all else is taken back by a load.
pub(crate) struct AsToml<'a>(pub(crate) &'a Resolved);

impl fmt::Display for AsToml<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Resolved {
            config, origins, ..
        } = self.0;
        writeln!(
            f,
            "# What `mles serve` would use. Secrets are left out: set them before loading this."
        )?;
        for section in Section::ALL {
            writeln!(f, "\n[{}]", section.name())?;
            for opt in options_of(section) {
                line(config, opt, origins, f)?;
            }
        }
        for (pattern, settings) in &config.settings.channels.patterns {
            writeln!(f, "\n[[{RULES}]]\n{PATTERN} = {}", quoted(pattern))?;
            rule(config, settings, f)?;
        }
        for key in &config.secrets.keys {
            let file = quoted(key.file.display());
            writeln!(
                f,
                "\n[[{KEYS}]]\nname = {}\nfile = {file}",
                quoted(&key.name)
            )?;
        }
        config
            .settings
            .rules
            .iter()
            .try_for_each(|rule| access_rule(rule, f))
    }
}

fn access_rule(rule: &AccessRule, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(f, "\n[[{ACCESS_RULES}]]")?;
    match &rule.holder {
        RuleHolder::Everybody => {}
        RuleHolder::Key(name) => writeln!(f, "key = {}", quoted(name))?,
        RuleHolder::Token => writeln!(f, "key = {}", quoted(TOKEN))?,
        RuleHolder::Anonymous => writeln!(f, "key = {}", quoted(ANONYMOUS))?,
    }
    let allow: Vec<_> = rule.allow.names().map(quoted).collect();
    writeln!(f, "uid = {}", quoted(&rule.uid))?;
    writeln!(f, "channel = {}", quoted(&rule.channel))?;
    writeln!(f, "allow = [{}]", allow.join(", "))
}

/// Writes a rule whole, with what it took over from `[channel]`.
fn rule(config: &Config, settings: &ChannelSettings, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    // Options of the section `channel` show the default: here, of a copy.
    let mut copy = config.clone();
    copy.settings.channels.default = settings.clone();
    for opt in options_of(Section::Channel) {
        if let Some(value) = opt.field.show(&copy) {
            writeln!(f, "{} = {value}", opt.key())?;
        }
    }
    Ok(())
}

fn options_of(section: Section) -> impl Iterator<Item = &'static Opt> {
    OPTIONS.iter().filter(move |opt| opt.section == section)
}

fn line(
    config: &Config,
    opt: &Opt,
    origins: &ValueOrigins,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    let (key, origin) = (opt.key(), origins.of(opt.name));
    match opt.field.show(config) {
        None => writeln!(f, "# {key} is not set"),
        Some(value) if opt.field.describe().is_secret => {
            writeln!(f, "# {key} = {value}, from {origin}")
        }
        Some(value) => writeln!(f, "{key} = {value} # {origin}"),
    }
}
