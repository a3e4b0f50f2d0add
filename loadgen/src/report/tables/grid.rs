//! How tables are laid out, and their cells.

use std::fmt;

use comfy_table::presets::ASCII_MARKDOWN;
use comfy_table::{CellAlignment, Table};

use crate::distribution::Distribution;
use crate::report::group::Group;
use crate::report::spread::Spread;

/// A table whose lines belong to groups.
#[derive(Debug)]
pub(in crate::report) struct Grid {
    pub(in crate::report) table: Table,
    /// For each line, `true` if runs of its group count.
    pub(in crate::report) sound: Vec<bool>,
}

impl fmt::Display for Grid {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.table, out)
    }
}

/// Makes a table with a line for each group that has `cells` of these columns, behind those that name
/// scenario and broker; returns `None` if there is no such group.
pub(super) fn by_group<const N: usize>(
    groups: &[Group<'_>],
    columns: [&str; N],
    cells: impl Fn(&Group<'_>) -> Option<[String; N]>,
) -> Option<Grid> {
    let mut sound = Vec::new();
    let mut table = empty(&[["scenario", "broker"].as_slice(), &columns].concat());
    for group in groups {
        if let Some(cells) = cells(group) {
            let names = [group.scenario.to_owned(), group.label()];
            table.add_row(names.into_iter().chain(cells));
            sound.push(group.is_sound());
        }
    }
    (table.row_count() > 0).then_some(Grid { table, sound })
}

/// Makes a table without lines whose first two columns are words and whose others are figures.
pub(in crate::report) fn empty(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN).set_header(header);
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// Returns median and range of nanoseconds as two cells in microseconds with so many decimals.
pub(super) fn spread_cells(spread: Option<Spread>, decimals: usize) -> [String; 2] {
    match spread {
        None => ["–".to_owned(), String::new()],
        Some(Spread { median, min, max }) => {
            let micros = |nanoseconds: f64| format!("{:.decimals$}", nanoseconds / 1e3);
            [micros(median), format!("({}–{})", micros(min), micros(max))]
        }
    }
}

/// Returns the percentile of `times` in microseconds.
pub(super) fn micros(times: &Distribution, percent: f64) -> String {
    format!("{:.1}", times.percentile(percent) as f64 / 1e3)
}

/// Returns the percentile of `times` in milliseconds.
pub(super) fn millis(times: &Distribution, percent: f64) -> String {
    millis_of(times.percentile(percent) as f64)
}

/// Returns nanoseconds in milliseconds.
pub(super) fn millis_of(nanoseconds: f64) -> String {
    format!("{:.3}", nanoseconds / 1e6)
}
