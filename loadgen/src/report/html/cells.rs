//! Tables of words and figures.

use comfy_table::Row as TextRow;
use maud::{Markup, html};

use crate::report::tables::Grid;

/// A table as it is shown: the first cell of each row names it.
#[derive(Debug)]
pub(super) struct Cells {
    pub(super) caption: String,
    /// How many columns at the left have words, not figures.
    pub(super) names: usize,
    pub(super) header: Vec<String>,
    pub(super) rows: Vec<Row>,
}

/// A line of a table.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) cells: Vec<String>,
    /// `true` if its figures are those of runs that count; others are pale.
    pub(super) is_sound: bool,
}

impl Cells {
    /// Copies a table of the terminal.
    pub(super) fn of(caption: &str, grid: &Grid) -> Self {
        let words = |row: &TextRow| {
            row.cell_iter()
                .map(|cell| cell.content())
                .collect::<Vec<_>>()
        };
        let rows = grid.table.row_iter().map(words).zip(&grid.sound);
        let rows = rows.map(|(cells, &is_sound)| Row { cells, is_sound });
        Self {
            caption: caption.to_owned(),
            names: 2,
            header: grid.table.header().map(words).unwrap_or_default(),
            rows: rows.collect(),
        }
    }
}

/// Returns a table that scrolls by itself where it is wider than the page, with the keyboard too.
pub(super) fn render(cells: &Cells) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label=(cells.caption) {
            table class={ "cells names-" (cells.names) } {
                caption { span { (cells.caption) } }
                thead {
                    tr { @for name in &cells.header { @if name.is_empty() { td {} } @else { th scope="col" { (name) } } } }
                }
                tbody {
                    @for row in &cells.rows {
                        tr.pale[!row.is_sound] {
                            @for (index, cell) in row.cells.iter().enumerate() {
                                @if index == 0 { th scope="row" { (cell) } } @else { td { (cell) } }
                            }
                        }
                    }
                }
            }
        }
    }
}
