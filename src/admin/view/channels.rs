//! Channels in an order, and one of them with all that there is to see.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Serialize;

use super::links::LinkView;
use super::sessions::SessionView;
use super::{Page, page, rounded, seconds};
use crate::admin::ask::Answers;
use crate::admin::metrics::ChannelSample;
use crate::admin::problem::AdminProblem;
use crate::admin::query::{Query, number};
use crate::admin::server::AdminState;
use crate::channel::{ChannelSettings, SlowPolicy};
use crate::shard::ChannelId;
use crate::shard::inspect::{
    ChannelOrder, ChannelPart, ChannelQuery, Cursor, Inspection, OwnedPart, Ranked, SessionReport,
};

/// The names of orders.
const ORDERS: &[(&str, ChannelOrder)] = &[
    ("rate", ChannelOrder::Rate),
    ("bytes", ChannelOrder::Bytes),
    ("members", ChannelOrder::Members),
    ("history", ChannelOrder::History),
    ("queued", ChannelOrder::Queued),
    ("name", ChannelOrder::Name),
];

/// Most channels that a scraper may ask for in one order.
const MOST_SAMPLES: usize = 100;

/// Most of the slowest members that are shown of a channel.
const SLOWEST: usize = 10;

/// Some channels.
#[derive(Debug, Serialize)]
pub(in crate::admin) struct ChannelsView {
    channels: Vec<ChannelView>,
    next: Option<String>,
    missing_shards: Vec<usize>,
}

/// One channel.
#[derive(Debug, Serialize)]
pub(in crate::admin) struct ChannelView {
    name: Box<str>,
    owner: u16,
    members: usize,
    rate: f64,
    byte_rate: f64,
    messages: u64,
    bytes: u64,
    history_messages: usize,
    history_bytes: usize,
    queued_bytes: u64,
    stalled: usize,
    paused: bool,
    position: Option<String>,
    idle_seconds: Option<f64>,
}

/// One channel with all that there is to see.
#[derive(Debug, Serialize)]
pub(in crate::admin) struct ChannelDetails {
    #[serde(flatten)]
    channel: ChannelView,
    settings: SettingsView,
    publishers: usize,
    link: Option<LinkView>,
    slowest: Vec<SessionView>,
    missing_shards: Vec<usize>,
}

/// The settings of a channel, as its name makes them.
#[derive(Debug, Serialize)]
struct SettingsView {
    history_limit: usize,
    history_bytes: usize,
    history_age_seconds: Option<f64>,
    queue_bytes: usize,
    write_deadline_seconds: f64,
    slow_policy: &'static str,
    announce_joins: bool,
    presence_interval_seconds: f64,
    idle_ttl_seconds: f64,
    publishers_limit: usize,
    publishers_age_seconds: f64,
}

impl From<&ChannelSettings> for SettingsView {
    fn from(settings: &ChannelSettings) -> Self {
        Self {
            history_limit: settings.history_frames,
            history_bytes: settings.history_bytes,
            history_age_seconds: settings.history_age.map(seconds),
            queue_bytes: settings.queue_bytes,
            write_deadline_seconds: seconds(settings.write_deadline),
            slow_policy: match settings.slow_policy {
                SlowPolicy::Disconnect => "disconnect",
                SlowPolicy::DropOldest => "drop-oldest",
                SlowPolicy::Backpressure => "backpressure",
            },
            announce_joins: settings.announce_joins,
            presence_interval_seconds: seconds(settings.presence_interval),
            idle_ttl_seconds: seconds(settings.idle_ttl),
            publishers_limit: settings.publishers_limit,
            publishers_age_seconds: seconds(settings.publishers_age),
        }
    }
}

/// The first channels in an order.
struct FirstChannels {
    ids: Vec<ChannelId>,
    /// The place of the last, if there are more.
    next: Option<Cursor<Box<str>>>,
    /// The shards that have not answered.
    missing: Vec<usize>,
}

/// A channel put together of what the shards know of it.
#[derive(Default)]
struct Whole {
    owned: Option<OwnedPart>,
    queued_bytes: u64,
    stalled: usize,
    slowest: Vec<Ranked<u64, SessionReport>>,
}

impl Whole {
    fn add(&mut self, part: ChannelPart) {
        self.queued_bytes += part.queued_bytes;
        self.stalled += part.stalled;
        self.slowest.extend(part.slowest);
        self.owned = self.owned.take().or(part.owned);
    }

    /// Returns the view of it; `None` if it is gone.
    fn view(&self) -> Option<ChannelView> {
        let owned = self.owned.as_ref()?;
        Some(ChannelView {
            name: owned.name.clone(),
            owner: owned.owner.0,
            members: owned.members,
            rate: rounded(owned.rates.frames),
            byte_rate: rounded(owned.rates.bytes),
            messages: owned.messages,
            bytes: owned.bytes,
            history_messages: owned.history_messages,
            history_bytes: owned.history_bytes,
            queued_bytes: self.queued_bytes,
            stalled: self.stalled,
            paused: owned.is_paused,
            position: owned.position.map(|position| position.to_string()),
            idle_seconds: owned.idle.map(seconds),
        })
    }
}

/// Returns the channels that a query asks for.
pub(in crate::admin) async fn channels(
    state: &AdminState,
    query: Option<&str>,
) -> Result<ChannelsView, AdminProblem> {
    let query = Query::parse(query, &["sort", "limit", "after"])?;
    let (order, limit) = (query.one_of("sort", ORDERS)?, query.limit()?);
    let after = query.get("after").map(cursor).transpose()?;
    if after.is_some() && order == ChannelOrder::Queued {
        let detail = "there is one page by `queued`: shards add up what each of them has";
        return Err(AdminProblem::bad_request(detail));
    }
    let first = state.first_channels(order, limit, after).await;
    let wholes = state.describe(first.ids, 0).await;
    let mut missing_shards = [first.missing, wholes.missing].concat();
    missing_shards.sort_unstable();
    missing_shards.dedup();
    let mut channels: Vec<_> = wholes.all.iter().filter_map(Whole::view).collect();
    if order == ChannelOrder::Queued {
        channels.sort_by_key(|channel| std::cmp::Reverse(channel.queued_bytes));
    }
    Ok(ChannelsView {
        channels,
        next: first.next.map(|last| format!("{}-{}", last.key, last.name)),
        missing_shards,
    })
}

/// Returns the channels that a scraper asks for with `channels`: so many with most messages in a second, and so many with most
/// queued for their members.
pub(in crate::admin) async fn channel_samples(
    state: &AdminState,
    query: Option<&str>,
) -> Result<Vec<ChannelSample>, AdminProblem> {
    let Some(limit) = Query::parse(query, &["channels"])?.count("channels", MOST_SAMPLES)? else {
        return Ok(Vec::new());
    };
    let mut ids = state
        .first_channels(ChannelOrder::Rate, limit, None)
        .await
        .ids;
    let queued = state
        .first_channels(ChannelOrder::Queued, limit, None)
        .await;
    for id in queued.ids {
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    let wholes = state.describe(ids, 0).await.all;
    let views = wholes.iter().filter_map(Whole::view);
    let views = views.filter(|view| view.rate > 0.0 || view.queued_bytes > 0);
    let samples = views.map(|view| ChannelSample {
        name: view.name,
        members: view.members,
        stalled: view.stalled,
        queued_bytes: view.queued_bytes,
        rate: view.rate,
    });
    Ok(samples.collect())
}

/// Adds up what is queued on the shards for each channel, and returns those with most.
fn first_by_sum(ranked: Vec<Vec<Ranked<Box<str>, ChannelId>>>, limit: usize) -> Vec<ChannelId> {
    let mut sums: HashMap<ChannelId, u64> = HashMap::new();
    for entry in ranked.into_iter().flatten() {
        *sums.entry(entry.value).or_default() += entry.key;
    }
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_by_key(|&(_, sum)| std::cmp::Reverse(sum));
    sums.truncate(limit);
    sums.into_iter().map(|(id, _)| id).collect()
}

/// Returns one channel with all that there is to see.
pub(in crate::admin) async fn channel(
    state: &AdminState,
    name: &str,
) -> Result<ChannelDetails, AdminProblem> {
    let not_found = || AdminProblem::not_found("there is no such channel");
    let id = state.find_channel(name).await?.ok_or_else(not_found)?;
    let answers = state.describe(vec![id], SLOWEST).await;
    let mut whole = answers.all.into_iter().next().unwrap_or_default();
    let channel = whole.view().ok_or_else(not_found)?;
    whole.slowest.sort();
    whole.slowest.truncate(SLOWEST);
    let owned = whole.owned.as_ref().ok_or_else(not_found)?;
    let link = state.common.links.get(&id).map(|entry| entry.status());
    Ok(ChannelDetails {
        settings: (&*owned.settings).into(),
        publishers: owned.publishers,
        link: link.map(LinkView::from),
        slowest: whole.slowest.into_iter().map(SessionView::from).collect(),
        missing_shards: answers.missing,
        channel,
    })
}

impl AdminState {
    /// Returns the channel of that name, if there is one.
    ///
    /// # Errors
    ///
    /// Its shard does not answer.
    pub(in crate::admin) async fn find_channel(
        &self,
        name: &str,
    ) -> Result<Option<ChannelId>, AdminProblem> {
        let owner = self.common.owner(name);
        self.ask(owner, |answer| Inspection::FindChannel(name.into(), answer))
            .await
    }

    /// Returns the first channels in an order, behind `after`.
    async fn first_channels(
        &self,
        order: ChannelOrder,
        limit: usize,
        after: Option<Cursor<Box<str>>>,
    ) -> FirstChannels {
        let asked = Arc::new(ChannelQuery {
            order,
            limit: limit + 1,
            after,
        });
        let answers = self
            .ask_all(|answer| Inspection::RankChannels(asked.clone(), answer))
            .await;
        let (ids, next) = match order {
            ChannelOrder::Queued => (first_by_sum(answers.all, limit), None),
            _ => {
                let Page { entries, next } = page(answers.all, limit);
                let ids = entries.into_iter().map(|entry| entry.value).collect();
                (ids, next)
            }
        };
        FirstChannels {
            ids,
            next,
            missing: answers.missing,
        }
    }

    /// Returns these channels, in their order, each with so many of its slowest members from each shard.
    async fn describe(&self, ids: Vec<ChannelId>, slowest: usize) -> Answers<Whole> {
        let asked: Arc<[ChannelId]> = ids.into();
        let answers = self
            .ask_all(|answer| Inspection::DescribeChannels(asked.clone(), slowest, answer))
            .await;
        let mut wholes: HashMap<ChannelId, Whole> = HashMap::new();
        for part in answers.all.into_iter().flatten() {
            wholes.entry(part.id).or_default().add(part);
        }
        Answers {
            all: asked
                .iter()
                .map(|id| wholes.remove(id).unwrap_or_default())
                .collect(),
            missing: answers.missing,
        }
    }
}

fn cursor(after: &str) -> Result<Cursor<Box<str>>, AdminProblem> {
    let read = || {
        let (key, name) = after.split_once('-')?;
        let (key, name) = (number(key)?, name.into());
        Some(Cursor { key, name })
    };
    read().ok_or_else(|| AdminProblem::bad_request("after is what `next` of the page before says"))
}
