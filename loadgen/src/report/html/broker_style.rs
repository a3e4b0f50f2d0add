//! Colours, dashes and marks that tell brokers apart in the page, by classes in the style sheet.

use std::fmt::Write as _;

use clap::ValueEnum as _;
use maud::{Markup, html};

use crate::broker::Broker;

/// Returns the class of what belongs to `broker`, which has its colour as `--c`.
pub(super) fn class(broker: Broker) -> String {
    format!("b-{}", identifier(broker))
}

/// Returns the id of the check box that hides what belongs to `broker`.
pub(super) fn check_box(broker: Broker) -> String {
    format!("show-{}", identifier(broker))
}

/// Returns the broker's name as a style sheet takes it: a dot would begin another class.
fn identifier(broker: Broker) -> String {
    broker.name().replace('.', "-")
}

/// Returns the part of the style sheet that is about brokers: a colour and a check box for each.
pub(super) fn style() -> String {
    let mut style = String::new();
    for &broker in Broker::value_variants() {
        let (class, check_box) = (class(broker), check_box(broker));
        let [day, night] = broker.look().colours;
        // Writing to a string does not fail.
        let _ = write!(
            style,
            ".{class} {{ --c: light-dark({day}, {night}); }}\n\
             :root:has(#{check_box}:not(:checked)) .{class} {{ --shown: none; }}\n"
        );
    }
    style
}

/// Draws a mark of `broker` at (`x`, `y`), which says `words` to whoever points at it.
pub(super) fn mark(broker: Broker, (x, y): (f64, f64), words: &str) -> Markup {
    html! {
        path.mark d=(broker.look().mark) transform=(format!("translate({x:.1},{y:.1})")) {
            title { (words) }
        }
    }
}

/// Draws a piece of the line of `broker` with a mark, for legends and tables.
pub(super) fn swatch(broker: Broker) -> Markup {
    let look = broker.look();
    html! {
        svg class={ "swatch " (class(broker)) } viewBox="0 0 30 12" aria-hidden="true" {
            path.line d="M0,6H30" stroke-dasharray=(look.dashes) {}
            path.mark d=(look.mark) transform="translate(15,6)" {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_broker_has_a_class_and_an_id_that_selectors_take() {
        for &broker in Broker::value_variants() {
            for name in [class(broker), check_box(broker)] {
                let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
                assert!(name.bytes().all(is_plain), "{name}");
            }
        }
    }
}
