//! How a broker is told from the others in plots: by colour, and without it by dashes and marks.

/// Colours, dashes and marks of one broker, the same in every plot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    /// Colours for a light and a dark page.
    pub(crate) colours: [&'static str; 2],
    /// `stroke-dasharray` of its lines.
    pub(crate) dashes: &'static str,
    /// The outline of its marks around (0, 0), some nine units wide.
    pub(crate) mark: &'static str,
}

impl Look {
    pub(super) const fn new(
        colours: [&'static str; 2],
        dashes: &'static str,
        mark: &'static str,
    ) -> Self {
        Self {
            colours,
            dashes,
            mark,
        }
    }
}

pub(super) const CIRCLE: &str = "M-4,0a4,4 0 1 0 8,0a4,4 0 1 0 -8,0z";
pub(super) const SQUARE: &str = "M-3.5,-3.5h7v7h-7z";
pub(super) const DIAMOND: &str = "M0,-5L5,0L0,5L-5,0z";
pub(super) const UP: &str = "M0,-4.8L4.6,3.6L-4.6,3.6z";
pub(super) const DOWN: &str = "M0,4.8L4.6,-3.6L-4.6,-3.6z";
pub(super) const PLUS: &str = "M-1.5,-4.5h3v3h3v3h-3v3h-3v-3h-3v-3h3z";
pub(super) const BAR: &str = "M-1.7,-5h3.4v10h-3.4z";
pub(super) const FLAT: &str = "M-5,-1.7h10v3.4h-10z";
pub(super) const RING: &str =
    "M-4.5,0a4.5,4.5 0 1 0 9,0a4.5,4.5 0 1 0 -9,0zM-2,0a2,2 0 1 1 4,0a2,2 0 1 1 -4,0z";
pub(super) const FRAME: &str = "M-4,-4h8v8h-8zM-1.8,-1.8v3.6h3.6v-3.6z";
pub(super) const CROSS: &str =
    "M-4.5,-2.5L-2.5,-4.5L0,-2L2.5,-4.5L4.5,-2.5L2,0L4.5,2.5L2.5,4.5L0,2L-2.5,4.5L-4.5,2.5L-2,0z";
pub(super) const LEFT: &str = "M-4.8,0L3.6,-4.6L3.6,4.6z";
pub(super) const RIGHT: &str = "M4.8,0L-3.6,-4.6L-3.6,4.6z";
pub(super) const HOURGLASS: &str = "M-4.2,-4.6h8.4l-8.4,9.2h8.4z";
pub(super) const BOW_TIE: &str = "M-4.6,-4.2l9.2,8.4v-8.4l-9.2,8.4z";
pub(super) const NOTCH: &str = "M-4,-4h8v8h-8l3,-4z";
pub(super) const STAIRS: &str = "M-4.5,4.5v-3h3v-3h3v-3h3v9z";
pub(super) const ARROW: &str = "M-4.8,-1.5h4v-3l5.6,4.5l-5.6,4.5v-3h-4z";
pub(super) const SLASH: &str = "M-4.8,4.5l5.6,-9h4l-5.6,9z";
pub(super) const DISK: &str = "M-4.5,-3.5h9v2h-9zM-4.5,-0.5h9v4h-9z";
pub(super) const PILLAR: &str = "M-4.5,-4.5h9v2h-3v5h3v2h-9v-2h3v-5h-3z";
pub(super) const STREAM: &str = "M-5,-3h7l3,3l-3,3h-7l3,-3z";
pub(super) const BARS: &str = "M-4.8,-4h2.4v8h-2.4zM-1.2,-4h2.4v8h-2.4zM2.4,-4h2.4v8h-2.4z";
pub(super) const FUNNEL: &str = "M-5,-4.5h10l-3.6,5v4h-2.8v-4z";
pub(super) const ANCHOR: &str = "M-1.2,-5h2.4v6h3.3l-4.5,4l-4.5,-4h3.3z";

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::ValueEnum as _;

    use super::*;
    use crate::broker::Broker;

    #[test]
    fn no_two_brokers_look_alike() {
        let looks: Vec<&Look> = Broker::value_variants()
            .iter()
            .map(|it| it.look())
            .collect();
        for part in [
            |look: &Look| look.colours[0],
            |look: &Look| look.colours[1],
            |look: &Look| look.dashes,
            |look: &Look| look.mark,
        ] {
            let distinct: BTreeSet<_> = looks.iter().map(|look| part(look)).collect();
            assert_eq!(distinct.len(), looks.len());
        }
    }
}
