//! The screen as it is drawn.

use std::time::Instant;

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize as _};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Cell, Paragraph, Row, Sparkline, Table};

use super::screen::{CounterRates, Screen};
use crate::cli::admin::{
    Channel, Link, Server, Session, Shard, Snapshot, byte_rate, bytes, count, micros, percent,
    rate, seconds, short_count,
};
use crate::escape::Escaped;

/// Lines about the server, those of store and fleet left out.
const HEADER: u16 = 3;
/// Lines of the graphs, title included.
const GRAPH: u16 = 4;
/// Lines of a table beside its rows: title and headings.
const HEAD: u16 = 2;
/// Fewest rows of channels and of members.
const FEWEST: u16 = 3;
/// Most rows of publishers.
const PUBLISHERS: usize = 5;
/// Most rows of shards and of links.
const MOST: u16 = 8;

/// Share of a processor from which on a shard has hardly any left.
const BUSY: f64 = 0.9;

const TITLE: Style = Style::new().add_modifier(Modifier::BOLD);
const WORRY: Style = Style::new().fg(Color::Red).add_modifier(Modifier::BOLD);
const FAINT: Style = Style::new().add_modifier(Modifier::DIM);

/// Draws the screen as it is at the time `now`.
pub(super) fn draw(frame: &mut Frame<'_>, screen: &Screen, now: Instant) {
    let Some(taken) = &screen.last else {
        return;
    };
    let snapshot = &taken.snapshot;
    let rows = |len: usize| u16::try_from(len).unwrap_or(u16::MAX).min(MOST) + HEAD;
    let links = if snapshot.links.is_empty() {
        0
    } else {
        rows(snapshot.links.len())
    };
    let [
        head,
        graphs,
        shards,
        channels,
        publishers,
        slow,
        link_area,
        foot,
    ] = Layout::vertical([
        Constraint::Length(HEADER + engines(&snapshot.server)),
        Constraint::Length(GRAPH),
        Constraint::Length(rows(snapshot.shards.len())),
        Constraint::Min(FEWEST + HEAD),
        Constraint::Length(rows(snapshot.publishers.len().clamp(1, PUBLISHERS))),
        Constraint::Length(rows(snapshot.slow.len().max(1))),
        Constraint::Length(links),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    draw_head(frame, head, screen, &snapshot.server);
    draw_graphs(frame, graphs, screen);
    draw_shards(frame, shards, &snapshot.shards, &screen.by_shard);
    draw_channels(frame, channels, screen, &snapshot.channels);
    draw_publishers(frame, publishers, &snapshot.publishers);
    draw_slow(frame, slow, snapshot);
    draw_links(frame, link_area, &snapshot.links);
    let age = now.saturating_duration_since(taken.at).as_secs();
    draw_foot(frame, foot, screen, age);
}

fn draw_head(frame: &mut Frame<'_>, area: Rect, screen: &Screen, server: &Server) {
    let state = if server.state == "running" {
        Span::raw(&server.state)
    } else {
        Span::styled(&server.state, WORRY)
    };
    let first = Line::from(vec![
        Span::styled(format!("mles {}", server.version), TITLE),
        Span::raw(format!(" at {}  ", screen.place)),
        state,
        Span::raw(format!(", up {}", seconds(server.uptime_seconds))),
    ]);
    let memory = server.memory.resident.map_or_else(String::new, |resident| {
        format!("   {} memory", bytes(resident))
    });
    let second = Line::from(format!(
        "{} sessions   {} of {} connections   {} channels{memory}",
        count(server.sessions),
        count(server.connections),
        count(server.limits.max_connections),
        count(server.channels),
    ));
    let mut lines = vec![first, second, news(screen)];
    if let Some(store) = &server.store {
        let style = store.failure.as_ref().map_or_else(Style::new, |_| WORRY);
        let text = format!("store {}", store.condition());
        lines.push(Line::styled(text, style));
    }
    if let Some(fleet) = &server.fleet {
        let style = if fleet.is_serving() {
            Style::new()
        } else {
            WORRY
        };
        let text = format!("fleet {}", fleet.condition());
        lines.push(Line::styled(text, style));
    }
    frame.render_widget(Paragraph::new(lines), area);
}

/// Returns the number of lines about a store and a fleet.
fn engines(server: &Server) -> u16 {
    u16::from(server.store.is_some()) + u16::from(server.fleet.is_some())
}

/// Returns what has gone wrong in the last minute, if anything has; else how many come and ask.
fn news(screen: &Screen) -> Line<'static> {
    let troubles = screen.troubles();
    if troubles.is_empty() {
        let now = screen.history.back().copied().unwrap_or_default();
        let text = format!(
            "{} joins/s   {} HTTP requests/s   no trouble in the last minute",
            rate(now.joined),
            rate(now.requested)
        );
        return Line::styled(text, FAINT);
    }
    let troubles = troubles.into_iter();
    let parts: Vec<_> = troubles
        .map(|(name, by)| format!("{} {}", name.replace('_', " "), short_count(by)))
        .collect();
    let text = format!("in the last minute: {}", parts.join(", "));
    Line::styled(text, WORRY)
}

fn draw_graphs(frame: &mut Frame<'_>, area: Rect, screen: &Screen) {
    let halves = Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).spacing(2);
    let [left, right] = halves.areas(area);
    draw_graph(frame, left, screen, "published", |rates| rates.published);
    draw_graph(frame, right, screen, "delivered", |rates| rates.delivered);
}

fn draw_graph(
    frame: &mut Frame<'_>,
    area: Rect,
    screen: &Screen,
    name: &str,
    value: impl Fn(&CounterRates) -> f64,
) {
    let shown = screen.history.iter().rev().take(usize::from(area.width));
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate is not negative, and conversions saturate"
    )]
    let mut values: Vec<_> = shown.map(|rates| value(rates).round() as u64).collect();
    // The newest is at the right edge, also while there are few.
    values.resize(usize::from(area.width), 0);
    values.reverse();
    let now = screen.history.back().map_or(0.0, value);
    let title = format!("{name} {}/s", rate(now));
    let graph = Sparkline::default()
        .block(Block::new().borders(Borders::TOP).title(title.bold()))
        .style(Style::new().fg(Color::Cyan))
        .data(values);
    frame.render_widget(graph, area);
}

/// Draws a table with headings under a title.
fn draw_table(
    frame: &mut Frame<'_>,
    area: Rect,
    title: String,
    columns: &[(&str, Constraint, Alignment)],
    rows: impl Iterator<Item = Vec<(String, Style)>>,
) {
    let cell =
        |text: String, style, alignment| Cell::from(Line::styled(text, style).alignment(alignment));
    let heads = columns
        .iter()
        .map(|(head, _, alignment)| cell((*head).to_owned(), FAINT, *alignment));
    let rows = rows.map(|row| {
        let cells = row.into_iter().zip(columns);
        Row::new(cells.map(|((text, style), (_, _, alignment))| cell(text, style, *alignment)))
    });
    let table = Table::new(rows, columns.iter().map(|(_, width, _)| *width))
        .header(Row::new(heads))
        .block(Block::new().borders(Borders::TOP).title(title.bold()));
    frame.render_widget(table, area);
}

/// Returns a column of text as wide as what is left.
const fn wide(head: &str) -> (&str, Constraint, Alignment) {
    (head, Constraint::Fill(1), Alignment::Left)
}

/// Returns a column of figures.
const fn figure(head: &str, width: u16) -> (&str, Constraint, Alignment) {
    (head, Constraint::Length(width), Alignment::Right)
}

/// Returns a column of short text.
const fn short(head: &str, width: u16) -> (&str, Constraint, Alignment) {
    (head, Constraint::Length(width), Alignment::Left)
}

fn plain(text: String) -> (String, Style) {
    (text, Style::new())
}

fn name(text: &str) -> (String, Style) {
    plain(Escaped(text).to_string())
}

fn draw_shards(frame: &mut Frame<'_>, area: Rect, shards: &[Shard], rates: &[CounterRates]) {
    let columns = [
        figure("shard", 5),
        figure("busy", 5),
        figure("delay", 8),
        figure("published/s", 11),
        figure("delivered/s", 11),
        figure("sessions", 9),
        figure("channels", 9),
        figure("mailbox", 7),
        wide("state"),
    ];
    let rows = shards.iter().zip(rates).map(|(shard, rates)| {
        let worry_if = |is_bad| if is_bad { WORRY } else { Style::new() };
        let state = worry_if(shard.is_behind());
        let busy = worry_if(shard.busy.unwrap_or_default() > BUSY);
        vec![
            plain(shard.id.to_string()),
            (shard.busy.map_or_else(String::new, percent), busy),
            plain(micros(shard.loop_delay_us)),
            plain(rate(rates.published)),
            plain(rate(rates.delivered)),
            plain(short_count(shard.sessions)),
            plain(shard.channels.map_or_else(String::new, short_count)),
            plain(short_count(
                shard.mailbox.requests + shard.mailbox.deliveries,
            )),
            (shard.condition(), state),
        ]
    });
    draw_table(frame, area, "shards".to_owned(), &columns, rows);
}

fn draw_channels(frame: &mut Frame<'_>, area: Rect, screen: &Screen, channels: &[Channel]) {
    let columns = [
        wide("channel"),
        figure("messages/s", 10),
        figure("bytes/s", 12),
        figure("members", 8),
        figure("queued", 10),
        figure("history", 10),
    ];
    let rows = channels.iter().map(|channel| {
        vec![
            name(&channel.name),
            plain(rate(channel.rate)),
            plain(byte_rate(channel.byte_rate)),
            plain(short_count(channel.members)),
            plain(bytes(channel.queued_bytes)),
            plain(bytes(channel.history_bytes)),
        ]
    });
    let title = format!("channels by {}", screen.order.name());
    draw_table(frame, area, title, &columns, rows);
}

fn draw_publishers(frame: &mut Frame<'_>, area: Rect, publishers: &[Session]) {
    let columns = [
        wide("uid"),
        wide("channel"),
        figure("messages/s", 10),
        short("state", 14),
        short("by", 6),
        short("address", 21),
    ];
    let rows = publishers.iter().map(|session| {
        vec![
            name(&session.uid),
            name(&session.channel),
            plain(rate(session.rate)),
            plain(session.condition()),
            plain(session.transport.clone()),
            plain(session.address.clone()),
        ]
    });
    let title = "busiest publishers".to_owned();
    draw_table(frame, area, title, &columns, rows);
}

fn draw_slow(frame: &mut Frame<'_>, area: Rect, snapshot: &Snapshot) {
    if snapshot.slow.is_empty() {
        let nobody = Paragraph::new(Line::styled("nobody is behind", FAINT));
        let title = Block::new()
            .borders(Borders::TOP)
            .title("slow members".bold());
        frame.render_widget(nobody.block(title), area);
        return;
    }
    let columns = [
        wide("uid"),
        wide("channel"),
        figure("queued", 10),
        short("state", 14),
        short("by", 6),
        short("address", 21),
    ];
    let row = |session: &Session| {
        let state = if session.stalled { WORRY } else { Style::new() };
        vec![
            name(&session.uid),
            name(&session.channel),
            plain(bytes(session.queued_bytes)),
            (session.condition(), state),
            plain(session.transport.clone()),
            plain(session.address.clone()),
        ]
    };
    let rows = snapshot.slow.iter().map(row);
    draw_table(frame, area, "slow members".to_owned(), &columns, rows);
}

fn draw_links(frame: &mut Frame<'_>, area: Rect, links: &[Link]) {
    let columns = [
        wide("channel"),
        short("state", 10),
        wide("upstream"),
        wide("last failure"),
    ];
    // Those that are not up are what one looks for.
    let mut links: Vec<_> = links.iter().collect();
    links.sort_by_key(|link| link.state == "up");
    let rows = links.into_iter().map(|link| {
        let state = match link.state.as_str() {
            "waiting" | "refused" => WORRY,
            _ => Style::new(),
        };
        vec![
            name(&link.channel),
            (link.state.clone(), state),
            plain(link.upstream.clone()),
            name(link.last_failure.as_deref().unwrap_or_default()),
        ]
    });
    draw_table(frame, area, "links".to_owned(), &columns, rows);
}

fn draw_foot(frame: &mut Frame<'_>, area: Rect, screen: &Screen, age: u64) {
    let line = match &screen.problem {
        Some(problem) => Line::styled(format!("{problem}; shown as of {age} s ago"), WORRY),
        None if screen.is_paused => Line::styled(format!("paused {age} s ago: p goes on"), WORRY),
        None => Line::styled("q quits   s sorts the channels   p pauses", FAINT),
    };
    frame.render_widget(Paragraph::new(line), area);
}
