//! Tables of words and figures.

use comfy_table::{Row, Table};
use maud::{Markup, html};

/// A table as it is shown: the first cell of each row names it.
#[derive(Debug)]
pub(super) struct Cells {
    pub(super) caption: String,
    /// How many columns at the left have words, not figures.
    pub(super) names: usize,
    pub(super) header: Vec<String>,
    pub(super) rows: Vec<Vec<String>>,
}

impl Cells {
    /// Copies a table of the terminal.
    pub(super) fn of(caption: &str, table: &Table) -> Self {
        let words = |row: &Row| {
            row.cell_iter()
                .map(|cell| cell.content())
                .collect::<Vec<_>>()
        };
        Self {
            caption: caption.to_owned(),
            names: 2,
            header: table.header().map(words).unwrap_or_default(),
            rows: table.row_iter().map(words).collect(),
        }
    }
}

/// Returns a table that scrolls by itself where it is wider than the page, with the keyboard too.
pub(super) fn render(cells: &Cells) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label=(cells.caption) {
            table class={ "cells names-" (cells.names) } {
                caption { (cells.caption) }
                thead {
                    tr { @for name in &cells.header { @if name.is_empty() { td {} } @else { th scope="col" { (name) } } } }
                }
                tbody {
                    @for row in &cells.rows {
                        tr {
                            @for (index, cell) in row.iter().enumerate() {
                                @if index == 0 { th scope="row" { (cell) } } @else { td { (cell) } }
                            }
                        }
                    }
                }
            }
        }
    }
}
