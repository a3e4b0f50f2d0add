//! How brokers are told apart: by colour, and without it by dashes and marks. Colours are in
//! `style.css`, by the class that is named here.

use maud::{Markup, html};

use crate::adapter::Broker;

/// How a broker is drawn, the same in every plot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    /// Its class, which has its colour as `--c`.
    pub(super) class: &'static str,
    /// `stroke-dasharray` of its lines.
    pub(super) dashes: &'static str,
    /// The outline of its marks around (0, 0), some nine units wide.
    mark: &'static str,
}

const CIRCLE: &str = "M-4,0a4,4 0 1 0 8,0a4,4 0 1 0 -8,0z";
const SQUARE: &str = "M-3.5,-3.5h7v7h-7z";
const DIAMOND: &str = "M0,-5L5,0L0,5L-5,0z";
const UP: &str = "M0,-4.8L4.6,3.6L-4.6,3.6z";
const DOWN: &str = "M0,4.8L4.6,-3.6L-4.6,-3.6z";
const PLUS: &str = "M-1.5,-4.5h3v3h3v3h-3v3h-3v-3h-3v-3h3z";
const BAR: &str = "M-1.7,-5h3.4v10h-3.4z";
const FLAT: &str = "M-5,-1.7h10v3.4h-10z";
const RING: &str =
    "M-4.5,0a4.5,4.5 0 1 0 9,0a4.5,4.5 0 1 0 -9,0zM-2,0a2,2 0 1 1 4,0a2,2 0 1 1 -4,0z";
const FRAME: &str = "M-4,-4h8v8h-8zM-1.8,-1.8v3.6h3.6v-3.6z";
const CROSS: &str =
    "M-4.5,-2.5L-2.5,-4.5L0,-2L2.5,-4.5L4.5,-2.5L2,0L4.5,2.5L2.5,4.5L0,2L-2.5,4.5L-4.5,2.5L-2,0z";
const LEFT: &str = "M-4.8,0L3.6,-4.6L3.6,4.6z";
const RIGHT: &str = "M4.8,0L-3.6,-4.6L-3.6,4.6z";

impl Look {
    /// Of `broker`.
    pub(super) fn of(broker: Broker) -> Self {
        let (class, dashes, mark) = match broker {
            Broker::Mles => ("b-mles", "none", CIRCLE),
            Broker::MlesWs => ("b-mles-ws", "12 3", RING),
            Broker::MlesV2 => ("b-mles-v2", "7 2 2 2", FRAME),
            Broker::MlesTls => ("b-mles-tls", "4 2", CROSS),
            Broker::MlesWss => ("b-mles-wss", "16 3 2 3", LEFT),
            Broker::Nats => ("b-nats", "9 3", SQUARE),
            Broker::Redis => ("b-redis", "2.5 2.5", DIAMOND),
            Broker::Mosquitto => ("b-mosquitto", "9 3 2 3", UP),
            Broker::Rabbitmq => ("b-rabbitmq", "14 4", DOWN),
            Broker::RabbitmqMqtt => ("b-rabbitmq-mqtt", "5 3", PLUS),
            Broker::Reference => ("b-reference", "9 3 2 3 2 3", BAR),
            Broker::ReferenceV2 => ("b-reference-v2", "6 2 2 2 2 2", RIGHT),
            Broker::Null => ("b-null", "2 5", FLAT),
        };
        Self {
            class,
            dashes,
            mark,
        }
    }

    /// One of its marks at (`x`, `y`), which says `words` to whoever points at it.
    pub(super) fn mark(self, x: f64, y: f64, words: &str) -> Markup {
        html! {
            path.mark d=(self.mark) transform=(format!("translate({x:.1},{y:.1})")) {
                title { (words) }
            }
        }
    }

    /// A piece of its line with a mark, for legends and tables.
    pub(super) fn swatch(self) -> Markup {
        html! {
            svg class={ "swatch " (self.class) } viewBox="0 0 30 12" aria-hidden="true" {
                path.line d="M0,6H30" stroke-dasharray=(self.dashes) {}
                path.mark d=(self.mark) transform="translate(15,6)" {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::ValueEnum as _;

    use super::*;

    #[test]
    fn no_two_brokers_look_alike_and_all_have_colours_for_day_and_night() {
        let css = include_str!("style.css");
        let all = Broker::value_variants();
        let looks: Vec<Look> = all.iter().copied().map(Look::of).collect();
        for part in [
            |look: &Look| look.class,
            |look: &Look| look.dashes,
            |look: &Look| look.mark,
        ] {
            let distinct: BTreeSet<_> = looks.iter().map(part).collect();
            assert_eq!(distinct.len(), all.len());
        }
        for (look, broker) in looks.iter().zip(all) {
            assert_eq!(look.class, format!("b-{}", broker.name()));
            let colour = format!(".{} {{ --c: light-dark(", look.class);
            assert_eq!(css.matches(&colour).count(), 1, "{}", broker.name());
            let hides = format!("#show-{}:not(:checked)) .{}", broker.name(), look.class);
            assert_eq!(css.matches(&hides).count(), 1, "{}", broker.name());
        }
    }
}
