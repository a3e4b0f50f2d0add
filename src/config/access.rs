//! `[[key]]` and `[[rule]]` in the file: keys with names, and what each of them permits.
//!
//! Values that may be secrets by a slip of the pen are not shown in messages.

use std::path::PathBuf;

use toml::de::DeValue;

use super::error::{Fault, Problem};
use super::file::{TableReader, TomlKey, TomlValue, nearest};
use super::key::read_key_file;
use super::model::{Config, NamedKeyFile, Secret};
use super::origin::ValueOrigin;
use super::value::RawValue;
use crate::access::{
    ANONYMOUS, AccessRule, DEFAULT_KEY, NamePattern, NamedKey, Permissions, RuleHolder, TOKEN,
    check_key_name,
};

/// The name of the array of tables that holds keys.
pub(super) const KEYS: &str = "key";
/// The name of the array of tables that holds rules about rights.
pub(super) const ACCESS_RULES: &str = "rule";
/// Keys of a `[[key]]`.
const KEY_FIELDS: [&str; 2] = ["name", "file"];
/// Keys of a `[[rule]]`.
const RULE_FIELDS: [&str; 4] = ["key", "uid", "channel", "allow"];

/// A key with a name, and the lines that say so.
pub(super) struct KeyTable {
    key: NamedKeyFile,
    name_at: ValueOrigin,
    file_at: ValueOrigin,
}

/// A rule, and the line that says whom it is for.
pub(super) struct RuleTable {
    rule: AccessRule,
    holder_at: ValueOrigin,
}

type Entry<'a> = (TomlKey<'a>, TomlValue<'a>);

impl TableReader<'_, '_> {
    /// Reads all `[[key]]`.
    pub(super) fn keys(&mut self, value: TomlValue<'_>) -> Vec<KeyTable> {
        let tables = self.tables(KEYS, value);
        tables.filter_map(|table| self.key(table)).collect()
    }

    /// Reads all `[[rule]]`.
    pub(super) fn access_rules(&mut self, value: TomlValue<'_>) -> Vec<RuleTable> {
        let tables = self.tables(ACCESS_RULES, value);
        tables.filter_map(|table| self.access_rule(table)).collect()
    }

    fn key(&mut self, table: TomlValue<'_>) -> Option<KeyTable> {
        let [name, file] = self.fields(KEYS, table, KEY_FIELDS)?;
        let name = self.needed(KEYS, table, name, ("name", "\"web\""));
        let file = self.needed(KEYS, table, file, ("file", "\"/etc/mles/web.key\""));
        let (name, file) = (name?, file?);
        let text = self.text("name", name.1)?;
        if let Err(bad) = check_key_name(text) {
            self.problem(&name.1.span(), Fault::KeyName(bad));
            return None;
        }
        Some(KeyTable {
            key: NamedKeyFile {
                name: text.to_owned(),
                file: PathBuf::from(self.text("file", file.1)?),
            },
            name_at: self.origin(&name.0.span()),
            file_at: self.origin(&file.0.span()),
        })
    }

    fn access_rule(&mut self, table: TomlValue<'_>) -> Option<RuleTable> {
        let [key, uid, channel, allow] = self.fields(ACCESS_RULES, table, RULE_FIELDS)?;
        let allow = self.needed(ACCESS_RULES, table, allow, ("allow", "[\"subscribe\"]"));
        let (holder, holder_at) = match key {
            None => (Some(RuleHolder::Everybody), table.span()),
            Some((key, value)) => (self.text("key", value).map(holder), key.span()),
        };
        let uid = self.pattern("uid", uid);
        let channel = self.pattern("channel", channel);
        let allow = self.permissions(allow?.1);
        let rule = AccessRule {
            holder: holder?,
            uid: uid?,
            channel: channel?,
            allow: allow?,
        };
        Some(RuleTable {
            rule,
            holder_at: self.origin(&holder_at),
        })
    }

    /// Reads a pattern; without one, every name matches.
    fn pattern(&mut self, key: &'static str, entry: Option<Entry<'_>>) -> Option<NamePattern> {
        let Some((_, value)) = entry else {
            return Some(NamePattern::any());
        };
        let text = self.text(key, value)?;
        let why = match text.parse::<NamePattern>() {
            Ok(pattern) if key == "uid" && pattern.names_uid() => {
                "{uid} is what is compared with it".to_owned()
            }
            Ok(pattern) => return Some(pattern),
            Err(bad) => bad.to_string(),
        };
        let text = text.to_owned();
        self.problem(&value.span(), Fault::Pattern { key, text, why });
        None
    }

    fn permissions(&mut self, value: TomlValue<'_>) -> Option<Permissions> {
        let DeValue::Array(names) = value.get_ref() else {
            self.wrong_type("allow", value, "a list of rights, as in [\"subscribe\"]");
            return None;
        };
        if names.is_empty() {
            self.wrong_type(
                "allow",
                value,
                "at least one right; what no rule allows is denied",
            );
            return None;
        }
        let mut all = Some(Permissions::NONE);
        for name in names {
            let one = self.permission(name);
            all = all.zip(one).map(|(all, one)| all.with(one));
        }
        all
    }

    fn permission(&mut self, value: TomlValue<'_>) -> Option<Permissions> {
        let name = self.text("allow", value)?;
        let found = Permissions::named(name);
        if found.is_none() {
            let fault = Fault::UnknownRight {
                right: name.to_owned(),
                hint: nearest(name, Permissions::all_names().collect()),
            };
            self.problem(&value.span(), fault);
        }
        found
    }

    /// Returns the tables of an array of tables.
    fn tables<'a>(
        &mut self,
        name: &'static str,
        value: TomlValue<'a>,
    ) -> impl Iterator<Item = TomlValue<'a>> + use<'a> {
        let tables: &[_] = match value.get_ref() {
            DeValue::Array(tables) => tables,
            _ => {
                self.hidden_type(name, value, &format!("tables, each headed [[{name}]]"));
                &[]
            }
        };
        tables.iter()
    }

    /// Returns the values of the keys `known` in a table.
    fn fields<'a, const N: usize>(
        &mut self,
        name: &'static str,
        table: TomlValue<'a>,
        known: [&'static str; N],
    ) -> Option<[Option<Entry<'a>>; N]> {
        let DeValue::Table(entries) = table.get_ref() else {
            self.hidden_type(name, table, &format!("a table headed [[{name}]]"));
            return None;
        };
        let mut fields = [None; N];
        for (key, value) in entries {
            let field: &str = key.get_ref();
            match known.iter().position(|known| *known == field) {
                Some(at) => fields[at] = Some((key, value)),
                None => {
                    let hint = nearest(field, known.to_vec());
                    self.unknown_key(key, &format!("in [[{name}]]"), hint);
                }
            }
        }
        Some(fields)
    }

    fn needed<'a>(
        &mut self,
        table: &'static str,
        place: TomlValue<'_>,
        entry: Option<Entry<'a>>,
        (key, example): (&'static str, &'static str),
    ) -> Option<Entry<'a>> {
        if entry.is_none() {
            let fault = Fault::Missing {
                table,
                key,
                example,
            };
            self.problem(&place.span(), fault);
        }
        entry
    }

    fn text<'a>(&mut self, key: &'static str, value: TomlValue<'a>) -> Option<&'a str> {
        match value.get_ref() {
            DeValue::String(text) if !text.is_empty() => Some(text),
            _ => {
                self.hidden_type(key, value, "a string that is not empty");
                None
            }
        }
    }

    /// Reports a value of another type than expected, without the value.
    fn hidden_type(&mut self, key: &'static str, value: TomlValue<'_>, expected: &str) {
        let fault = Fault::Value {
            key,
            found: RawValue::from(value.get_ref()).kind().to_owned(),
            expected: expected.to_owned(),
        };
        self.problem(&value.span(), fault);
    }
}

fn holder(key: &str) -> RuleHolder {
    match key {
        ANONYMOUS => RuleHolder::Anonymous,
        TOKEN => RuleHolder::Token,
        name => RuleHolder::Key(name.to_owned()),
    }
}

/// Puts keys into the configuration, and reads their files. `default`: the key that needs no name.
pub(super) fn apply_keys(
    config: &mut Config,
    tables: Vec<KeyTable>,
    default: Option<&Secret>,
    problems: &mut Vec<Problem>,
    warnings: &mut Vec<String>,
) {
    let mut secrets: Vec<_> = default
        .map(|key| (DEFAULT_KEY.to_owned(), key.clone()))
        .into_iter()
        .collect();
    let mut lines: Vec<(String, usize)> = Vec::new();
    for KeyTable {
        key,
        name_at,
        file_at,
    } in tables
    {
        let name = key.name.clone();
        if let Some(&(_, first)) = lines.iter().find(|(known, _)| *known == name) {
            problems.push(Problem {
                origin: name_at,
                fault: Fault::SameKeyName { name, first },
            });
            continue;
        }
        lines.push((name.clone(), name_at.line()));
        match read_key(&key, &secrets, warnings) {
            Ok((secret, named)) => {
                secrets.push((name, secret));
                config.settings.keys.push(named);
            }
            Err(fault) => problems.push(Problem {
                origin: file_at,
                fault,
            }),
        }
        config.secrets.keys.push(key);
    }
}

/// Reads the file of a key, which must differ from those before it: else nobody could say which rights it gives.
fn read_key(
    key: &NamedKeyFile,
    before: &[(String, Secret)],
    warnings: &mut Vec<String>,
) -> Result<(Secret, NamedKey), Fault> {
    let secret = read_key_file(&key.file, warnings)?;
    if let Some((twin, _)) = before.iter().find(|(_, other)| other.0 == secret.0) {
        return Err(Fault::SameSecret {
            path: key.file.clone(),
            twin: twin.clone(),
        });
    }
    let named = NamedKey::new(&key.name, &secret.0).map_err(Fault::KeyName)?;
    Ok((secret, named))
}

/// Puts rules into the configuration. `has_default`: there is a key that needs no name.
pub(super) fn apply_rules(
    config: &mut Config,
    tables: Vec<RuleTable>,
    has_default: bool,
    problems: &mut Vec<Problem>,
) {
    for RuleTable { rule, holder_at } in tables {
        let is_known = match &rule.holder {
            RuleHolder::Key(name) if name == DEFAULT_KEY => has_default,
            RuleHolder::Key(name) => config.secrets.keys.iter().any(|key| key.name == *name),
            RuleHolder::Everybody | RuleHolder::Anonymous | RuleHolder::Token => true,
        };
        if !is_known {
            let default = has_default.then_some(DEFAULT_KEY);
            let names = config.secrets.keys.iter().map(|key| key.name.as_str());
            let known = default.into_iter().chain(names).chain([ANONYMOUS, TOKEN]);
            problems.push(Problem {
                origin: holder_at,
                fault: Fault::UnknownHolder(known.collect::<Vec<_>>().join(", ")),
            });
            continue;
        }
        config.settings.rules.push(rule);
    }
}

/// Returns a warning for each key that no rule is for, where there are rules: nothing is permitted to it.
pub(super) fn keys_without_rights(config: &Config, has_default: bool) -> Vec<String> {
    let rules = &config.settings.rules;
    if rules.is_empty() {
        return Vec::new();
    }
    let default = has_default.then_some(DEFAULT_KEY);
    let names = config.secrets.keys.iter().map(|key| key.name.as_str());
    let has_rights = |name: &str| {
        rules.iter().any(|rule| match &rule.holder {
            RuleHolder::Everybody => true,
            RuleHolder::Key(known) => known == name,
            RuleHolder::Anonymous | RuleHolder::Token => false,
        })
    };
    let without = default
        .into_iter()
        .chain(names)
        .filter(|name| !has_rights(name));
    without
        .map(|name| format!("nobody can join with the key `{name}`: no [[rule]] is for it"))
        .collect()
}
