//! What a report comes to: what was compared, who is ahead by how much beyond noise, and what did not count.
//!
//! All judgements are those of [`super::judgement`]. Where the broker that the others are compared with is behind is
//! said first.

use std::fmt;
use std::iter;

use super::Report;
use super::group::groups;
use super::judgement::{
    Comparison, Contender, Contest, ENOUGH_ROUNDS, Standing, by_figure, contests, subject,
};
use super::quantity::{counted, ratio, with_unit};
use super::tables::problems;
use crate::broker::Broker;

/// A report in a few sentences.
#[derive(Debug)]
pub(super) struct Summary {
    /// The broker that the others are compared with; `None` if there are no others.
    pub(super) subject: Option<Broker>,
    /// What was run, in a sentence.
    pub(super) compared: String,
    /// How many comparisons came out which way, in a sentence.
    pub(super) verdict: String,
    pub(super) behind: Vec<Finding>,
    pub(super) ahead: Vec<Finding>,
    /// Figures with no difference beyond noise.
    pub(super) even: Vec<Finding>,
    /// Scenarios in which some brokers have too few rounds that count.
    pub(super) unsaid: Vec<Finding>,
    /// Runs and brokers that did not count, and why.
    pub(super) uncounted: Vec<String>,
}

/// What is said of one scenario.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) scenario: String,
    /// The scenario in words.
    pub(super) title: String,
    pub(super) lines: Vec<Line>,
}

/// What is said of one figure, or of one broker.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// The figure or the broker.
    pub(super) of: String,
    pub(super) parts: Vec<String>,
}

impl fmt::Display for Line {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.of, self.parts.join(", "))
    }
}

/// The scenarios of which the same is said.
#[derive(Debug)]
pub(super) struct List<'a> {
    /// A word for it that style sheets know.
    pub(super) class: &'static str,
    pub(super) title: String,
    pub(super) findings: &'a [Finding],
}

impl Summary {
    /// Returns what `report` comes to.
    pub(super) fn of(report: &Report) -> Self {
        let groups = groups(report);
        let contests = contests(&groups);
        let mut brokers: Vec<Broker> = Vec::new();
        for group in &groups {
            if !brokers.contains(&group.broker) {
                brokers.push(group.broker);
            }
        }
        let subject = subject(&groups).filter(|_| brokers.len() > 1);
        let mut summary = Self {
            subject,
            compared: compared(report, &brokers, &contests),
            verdict: "One broker was measured: nothing is compared.".to_owned(),
            behind: Vec::new(),
            ahead: Vec::new(),
            even: Vec::new(),
            unsaid: Vec::new(),
            uncounted: problems(report),
        };
        if let Some(own) = subject {
            summary.judge(report, &contests, own);
        }
        summary
    }

    fn judge(&mut self, report: &Report, contests: &[Contest<'_>], own: Broker) {
        let mut counts = [0; 3];
        for contest in contests {
            let comparisons = contest.compare(own);
            let finding = |lines: Vec<Line>| Finding {
                scenario: contest.scenario.to_owned(),
                title: report.title(contest.scenario),
                lines,
            };
            let sides = [Standing::Behind, Standing::Ahead, Standing::Even];
            let lists = [&mut self.behind, &mut self.ahead, &mut self.even];
            for (place, (standing, list)) in sides.into_iter().zip(lists).enumerate() {
                let figures = by_figure(&comparisons, standing);
                counts[place] += figures.iter().map(Vec::len).sum::<usize>();
                let lines = figures.iter().filter_map(|same| line(own, standing, same));
                let lines: Vec<Line> = lines.collect();
                if !lines.is_empty() {
                    list.push(finding(lines));
                }
            }
            let lines = unsaid(contest, own);
            if !lines.is_empty() {
                self.unsaid.push(finding(lines));
            }
        }
        self.verdict = verdict(own, counts);
    }

    /// Returns the findings by what they say, but for lists that are empty.
    pub(super) fn lists(&self) -> Vec<List<'_>> {
        let own = self.subject.map_or("", Broker::name);
        let list = |class, title: String, findings| List {
            class,
            title,
            findings,
        };
        let mut lists = vec![
            list("behind", format!("{own} is behind"), &self.behind[..]),
            list("ahead", format!("{own} is ahead"), &self.ahead),
            list("even", "No difference beyond noise".to_owned(), &self.even),
            list(
                "unsaid",
                "Too few rounds to say anything".to_owned(),
                &self.unsaid,
            ),
        ];
        lists.retain(|list| !list.findings.is_empty());
        lists
    }
}

/// Returns the brokers with their versions, and how much was run.
fn compared(report: &Report, brokers: &[Broker], contests: &[Contest<'_>]) -> String {
    let names = brokers.iter().map(|broker| {
        let provenance = report.brokers.get(broker);
        let version = provenance.and_then(|it| version(&it.version));
        let version = version.map(|it| format!(" {it}")).unwrap_or_default();
        let role = match broker {
            Broker::Null => " (only copies: the least there can be)",
            _ => "",
        };
        format!("{}{version}{role}", broker.name())
    });
    let names: Vec<String> = names.collect();
    let contenders = || contests.iter().flat_map(|it| &it.contenders);
    let rounds = contenders().map(|it| it.rounds);
    let (least, most) = (rounds.clone().min(), rounds.max());
    let rounds = match (least.unwrap_or(0), most.unwrap_or(0)) {
        (least, most) if least == most => counted(most, "round"),
        (least, most) => format!("{least} to {}", counted(most, "round")),
    };
    let scenarios = counted(contests.len(), "scenario");
    format!("{}; {scenarios}, {rounds} each", names.join(", "))
}

/// Returns the number in what a broker says of its version: `7.0.15` of `Redis server v=7.0.15 sha=0`.
fn version(words: &str) -> Option<&str> {
    let is_digit = |letter: char| letter.is_ascii_digit();
    let word = words.split_whitespace().find(|it| it.contains(is_digit))?;
    Some(&word[word.find(is_digit)?..])
}

fn verdict(own: Broker, [behind, ahead, even]: [usize; 3]) -> String {
    let name = own.name();
    match behind + ahead + even {
        0 => format!(
            "No claim is made: it takes {ENOUGH_ROUNDS} rounds that count of {name} and of another broker."
        ),
        all => {
            let number = |count: usize| match count {
                0 => "none".to_owned(),
                count => count.to_string(),
            };
            format!(
                "In {}, {name} is behind in {} and ahead in {}; {} show no difference beyond noise.",
                counted(all, "comparison"),
                number(behind),
                number(ahead),
                number(even)
            )
        }
    }
}

/// Returns a line on one figure: the broker's own value, and how it stands to those of the others.
fn line(own: Broker, standing: Standing, comparisons: &[&Comparison<'_>]) -> Option<Line> {
    let figure = &comparisons.first()?.own.figure;
    let told = |value: f64| with_unit(value, figure.unit);
    let others = comparisons.iter().map(|it| {
        let (name, value) = (it.broker.name(), it.other.figure.value);
        match standing {
            Standing::Even => format!("{name} {}", told(value)),
            Standing::Behind | Standing::Ahead => {
                let difference = difference(figure.value, value);
                format!("{difference} than {name} ({})", told(value))
            }
        }
    });
    let own = format!("{} {}", own.name(), told(figure.value));
    Some(Line {
        of: figure.name.to_owned(),
        parts: iter::once(own).chain(others).collect(),
    })
}

/// Returns by how much `own` is less or more than `other`: a ratio, or percent where it would be 1.0.
fn difference(own: f64, other: f64) -> String {
    let word = if own < other { "less" } else { "more" };
    let (small, great) = (own.min(other), own.max(other));
    if small <= 0.0 {
        return word.to_owned();
    }
    let times = ratio(great / small);
    if times == ratio(1.0) {
        let percent = (own - other).abs() / other * 100.0;
        return format!("{percent:.1} % {word}");
    }
    format!("{times} {word}")
}

/// Returns which brokers have too few rounds that count; empty if all have enough.
fn unsaid(contest: &Contest<'_>, own: Broker) -> Vec<Line> {
    let is_short = |it: &&Contender| it.counting < ENOUGH_ROUNDS;
    let short = contest.contenders.iter().filter(is_short);
    let line = |broker: Broker, words: String| Line {
        of: broker.name().to_owned(),
        parts: vec![words],
    };
    let says = |it: &Contender| {
        let counting = match it.counting {
            0 => "no round counts".to_owned(),
            number => format!("{} of {} counts", counted(number, "round"), it.rounds),
        };
        line(it.broker, counting)
    };
    let mut lines: Vec<Line> = short.map(says).collect();
    if contest.contender(own).is_none() {
        lines.push(line(own, "was not run".to_owned()));
    }
    lines
}

impl fmt::Display for Summary {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.subject.is_none() {
            return lines(out, "", &self.uncounted);
        }
        writeln!(out, "\nSUMMARY: {}\n{}", self.compared, self.verdict)?;
        for list in self.lists() {
            writeln!(out, "\n{}:", list.title)?;
            for finding in list.findings {
                writeln!(out, "  {} ({})", finding.title, finding.scenario)?;
                lines(out, "    ", &finding.lines)?;
            }
        }
        if !self.uncounted.is_empty() {
            writeln!(out, "\nWhat did not count:")?;
        }
        lines(out, "  ", &self.uncounted)
    }
}

fn lines(out: &mut fmt::Formatter<'_>, indent: &str, lines: &[impl fmt::Display]) -> fmt::Result {
    lines
        .iter()
        .try_for_each(|line| writeln!(out, "{indent}{line}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Run, RunResult, sample};

    /// A report of closed loops: what each broker takes in each round, in µs for each delivery.
    fn report(brokers: &[(Broker, &[u64])]) -> Report {
        let mut report = sample::empty();
        for (broker, rounds) in brokers {
            for (index, scale) in rounds.iter().enumerate() {
                let result = match scale {
                    0 => RunResult::Failed("it ended".to_owned()),
                    scale => sample::fanout(*scale),
                };
                report.push(Run::new("fanout", *broker, index + 1, result));
            }
        }
        report
    }

    fn told(findings: &[Finding]) -> Vec<String> {
        let lines = findings.iter().flat_map(|it| &it.lines);
        let lines = lines.filter(|it| it.of.starts_with("server CPU"));
        lines.map(Line::to_string).collect()
    }

    #[test]
    fn a_claim_is_made_only_beyond_noise_and_losses_come_first() {
        let summary = Summary::of(&report(&[
            (Broker::Mles, &[4, 5, 6]),
            (Broker::Nats, &[36, 37, 38]),
            (Broker::Redis, &[1, 2, 3]),
            (Broker::Valkey, &[6, 7, 8]),
        ]));
        let name = "server CPU per delivery";
        assert_eq!(
            told(&summary.behind),
            [format!("{name}: mles 5 µs, 2.5 × more than redis (2 µs)")]
        );
        assert_eq!(
            told(&summary.ahead),
            [format!("{name}: mles 5 µs, 7.4 × less than nats (37 µs)")]
        );
        assert_eq!(
            told(&summary.even),
            [format!("{name}: mles 5 µs, valkey 7 µs")]
        );
        let text = summary.to_string();
        let place = |words: &str| {
            text.find(words)
                .unwrap_or_else(|| panic!("{words}: {text}"))
        };
        assert!(place("mles is behind:") < place("mles is ahead:"), "{text}");
        assert!(text.contains("SUMMARY: mles, nats, redis, valkey; 1 scenario, 3 rounds each"));
    }

    #[test]
    fn one_round_makes_no_claim() {
        let summary = Summary::of(&report(&[(Broker::Mles, &[1]), (Broker::Nats, &[9])]));
        assert!(summary.behind.is_empty() && summary.ahead.is_empty() && summary.even.is_empty());
        assert!(summary.verdict.starts_with("No claim"), "{summary}");
        let line = summary.unsaid[0].lines[0].to_string();
        assert_eq!(line, "mles: 1 round of 1 counts");
    }

    #[test]
    fn what_did_not_count_has_no_part_and_is_named_with_its_reason() {
        let summary = Summary::of(&report(&[
            (Broker::Mles, &[1, 1]),
            (Broker::Nats, &[9, 0]),
            (Broker::Redis, &[0, 0]),
        ]));
        assert!(summary.ahead.is_empty(), "{summary}");
        let lines = summary.unsaid[0].lines.iter().map(Line::to_string);
        assert_eq!(
            lines.collect::<Vec<_>>(),
            ["nats: 1 round of 2 counts", "redis: no round counts"]
        );
        assert_eq!(summary.uncounted.len(), 3);
        let text = summary.to_string();
        assert!(
            text.contains("FAILED fanout nats round 2: it ended"),
            "{text}"
        );
    }

    #[test]
    fn one_broker_is_compared_with_nobody() {
        let summary = Summary::of(&report(&[(Broker::Mles, &[1, 2])]));
        assert_eq!(summary.to_string(), "");
        assert!(summary.verdict.contains("nothing is compared"));
    }

    #[test]
    fn differences_have_two_digits_or_are_told_in_percent() {
        for (own, other, words) in [
            (1.0, 7.42, "7.4 × less"),
            (7.42, 1.0, "7.4 × more"),
            (1.0, 137.0, "140 × less"),
            (1.03, 1.0, "3.0 % more"),
            (0.0, 5.0, "less"),
            (-1.0, 5.0, "less"),
        ] {
            assert_eq!(difference(own, other), words);
        }
    }

    #[test]
    fn a_version_is_the_number_in_what_the_broker_says() {
        for (words, number) in [
            ("mles 0.1.0", Some("0.1.0")),
            ("nats-server: v2.9.10", Some("2.9.10")),
            ("Redis server v=7.0.15 sha=00000000:0", Some("7.0.15")),
            ("unknown", None),
            ("", None),
        ] {
            assert_eq!(version(words), number);
        }
    }
}
