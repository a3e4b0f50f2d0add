//! The file as a layer of the configuration: TOML, with the line of everything in it.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::access::{ACCESS_RULES, KEYS, KeyTable, RuleTable};
use super::assignment::Assignment;
use super::error::{Fault, Problem};
use super::option::{Opt, Section};
use super::origin::ValueOrigin;
use super::table::OPTIONS;
use super::value::RawValue;

/// The name of the array of tables that holds rules for channels.
pub(super) const RULES: &str = "channel_rule";
/// The key of a rule that says which channels it is for.
pub(super) const PATTERN: &str = "pattern";

/// From this similarity on, of 0 to 1, an unknown key is taken for a misspelt one.
const SIMILAR: f64 = 0.75;

/// The settings of channels whose names match a pattern.
pub(super) struct Rule<'a> {
    pub(super) pattern: &'a str,
    pub(super) origin: ValueOrigin,
    pub(super) assignments: Vec<Assignment<'a>>,
}

/// The file as a layer: values for options, rules for channels, keys, and rules about rights.
#[derive(Default)]
pub(super) struct Layer<'a> {
    pub(super) assignments: Vec<Assignment<'a>>,
    pub(super) rules: Vec<Rule<'a>>,
    pub(super) keys: Vec<KeyTable>,
    pub(super) access_rules: Vec<RuleTable>,
}

/// A configuration file: its path, and its text.
pub(super) struct ConfigFile {
    path: Arc<PathBuf>,
    text: String,
}

pub(super) type TomlKey<'a> = &'a Spanned<DeString<'a>>;
pub(super) type TomlValue<'a> = &'a Spanned<DeValue<'a>>;

impl ConfigFile {
    pub(super) fn read(path: &Path) -> Result<Self, Fault> {
        match std::fs::read_to_string(path) {
            Ok(text) => Ok(Self::new(path, text)),
            Err(source) => Err(Fault::Unreadable {
                path: path.to_owned(),
                source,
            }),
        }
    }

    pub(super) fn new(path: &Path, text: String) -> Self {
        Self {
            path: Arc::new(path.to_owned()),
            text,
        }
    }

    /// Parses the text. Only a syntax error ends it early.
    pub(super) fn parse(&self) -> Result<Spanned<DeTable<'_>>, Problem> {
        DeTable::parse(&self.text).map_err(|error| Problem {
            origin: self.origin(&error.span().unwrap_or_default()),
            fault: Fault::Syntax(error.message().to_owned()),
        })
    }

    /// Takes a parsed file apart; adds what is wrong with it to `problems`.
    pub(super) fn layer<'a>(
        &self,
        root: &'a DeTable<'a>,
        problems: &mut Vec<Problem>,
    ) -> Layer<'a> {
        let mut reader = TableReader {
            file: self,
            problems,
        };
        let mut layer = Layer::default();
        for (key, value) in root {
            let name: &str = key.get_ref();
            let section = Section::ALL.into_iter().find(|s| s.name() == name);
            match section {
                Some(section) => layer.assignments.extend(reader.section(section, value)),
                None if name == RULES => layer.rules = reader.rules(value),
                None if name == KEYS => layer.keys = reader.keys(value),
                None if name == ACCESS_RULES => layer.access_rules = reader.access_rules(value),
                None => reader.unknown_at_root(key),
            }
        }
        layer
    }

    fn origin(&self, span: &Range<usize>) -> ValueOrigin {
        let before = self.text.as_bytes().get(..span.start);
        let newlines = before.map_or(0, |text| text.iter().filter(|&&b| b == b'\n').count());
        ValueOrigin::File {
            path: self.path.clone(),
            line: newlines + 1,
        }
    }
}

/// Reads tables and collects what is wrong with them.
pub(super) struct TableReader<'s, 'p> {
    file: &'s ConfigFile,
    problems: &'p mut Vec<Problem>,
}

impl TableReader<'_, '_> {
    fn section<'a>(&mut self, section: Section, value: TomlValue<'a>) -> Vec<Assignment<'a>> {
        let DeValue::Table(table) = value.get_ref() else {
            self.wrong_type(
                section.name(),
                value,
                &format!("a table, [{}]", section.name()),
            );
            return Vec::new();
        };
        let place = format!("in [{}]", section.name());
        self.assignments(section, table.iter(), &place)
    }

    fn assignments<'a>(
        &mut self,
        section: Section,
        table: impl Iterator<Item = (TomlKey<'a>, TomlValue<'a>)>,
        place: &str,
    ) -> Vec<Assignment<'a>> {
        let mut assignments = Vec::new();
        for (key, value) in table {
            match in_section(section).find(|opt| opt.key() == key.get_ref()) {
                Some(opt) => assignments.push(Assignment {
                    opt,
                    raw: value.get_ref().into(),
                    origin: self.file.origin(&key.span()),
                }),
                None => self.unknown(key, section, place),
            }
        }
        assignments
    }

    fn rules<'a>(&mut self, value: TomlValue<'a>) -> Vec<Rule<'a>> {
        let DeValue::Array(rules) = value.get_ref() else {
            self.wrong_type(RULES, value, &format!("tables, each headed [[{RULES}]]"));
            return Vec::new();
        };
        rules.iter().filter_map(|rule| self.rule(rule)).collect()
    }

    fn rule<'a>(&mut self, value: TomlValue<'a>) -> Option<Rule<'a>> {
        let DeValue::Table(table) = value.get_ref() else {
            self.wrong_type(RULES, value, &format!("a table headed [[{RULES}]]"));
            return None;
        };
        let (patterns, settings): (Vec<_>, Vec<_>) =
            table.iter().partition(|(key, _)| key.get_ref() == PATTERN);
        let place = format!("in [[{RULES}]]");
        let assignments = self.assignments(Section::Channel, settings.into_iter(), &place);
        let Some((key, pattern)) = patterns.first() else {
            let fault = Fault::Missing {
                table: RULES,
                key: PATTERN,
                example: "\"telemetry.*\"",
            };
            self.problem(&value.span(), fault);
            return None;
        };
        match pattern.get_ref() {
            DeValue::String(pattern) if !pattern.is_empty() => Some(Rule {
                pattern,
                origin: self.file.origin(&key.span()),
                assignments,
            }),
            _ => {
                self.wrong_type(PATTERN, pattern, "a string that is not empty");
                None
            }
        }
    }

    fn unknown(&mut self, key: TomlKey<'_>, section: Section, place: &str) {
        let name: &str = key.get_ref();
        let hint = elsewhere(name).unwrap_or_else(|| {
            let pattern = (place.contains(RULES)).then_some(PATTERN);
            let known = in_section(section).map(Opt::key).chain(pattern);
            nearest(name, known.collect())
        });
        self.unknown_key(key, place, hint);
    }

    fn unknown_at_root(&mut self, key: TomlKey<'_>) {
        let name: &str = key.get_ref();
        let known = Section::ALL.into_iter().map(Section::name);
        let known = known.chain([RULES, KEYS, ACCESS_RULES]);
        let hint = elsewhere(name).unwrap_or_else(|| nearest(name, known.collect()));
        self.unknown_key(key, "outside of any section", hint);
    }

    pub(super) fn unknown_key(&mut self, key: TomlKey<'_>, place: &str, hint: String) {
        let fault = Fault::UnknownKey {
            key: key.get_ref().to_string(),
            place: place.to_owned(),
            hint,
        };
        self.problem(&key.span(), fault);
    }

    pub(super) fn wrong_type(&mut self, key: &'static str, value: TomlValue<'_>, expected: &str) {
        let fault = Fault::Value {
            key,
            found: RawValue::from(value.get_ref()).to_string(),
            expected: expected.to_owned(),
        };
        self.problem(&value.span(), fault);
    }

    pub(super) fn origin(&self, span: &Range<usize>) -> ValueOrigin {
        self.file.origin(span)
    }

    pub(super) fn problem(&mut self, span: &Range<usize>, fault: Fault) {
        let origin = self.origin(span);
        self.problems.push(Problem { origin, fault });
    }
}

fn in_section(section: Section) -> impl Iterator<Item = &'static Opt> {
    OPTIONS.iter().filter(move |opt| opt.section == section)
}

/// Says where a key belongs that is known in another section, or by its whole name.
fn elsewhere(key: &str) -> Option<String> {
    let opt = OPTIONS
        .iter()
        .find(|opt| opt.key() == key || opt.name == key)?;
    Some(format!(
        "`{}` belongs in [{}]",
        opt.key(),
        opt.section.name()
    ))
}

/// Says which of `known` was probably meant; all of them when none is similar.
pub(super) fn nearest(key: &str, known: Vec<&str>) -> String {
    let score = |known: &str| strsim::jaro_winkler(key, known);
    let best = known
        .iter()
        .max_by(|a, b| score(a).total_cmp(&score(b)))
        .filter(|name| score(name) >= SIMILAR);
    best.map_or_else(
        || format!("known there: {}", known.join(", ")),
        |name| format!("did you mean `{name}`?"),
    )
}
