//! What people ask of a log: whether it is as it should be, and how it stands.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::consumer;
use async_nats::jetstream::response::Response;
use async_nats::jetstream::stream::{Config, DiscardPolicy, Info, RetentionPolicy, StorageType};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;

use super::connection::Connection;
use super::request::{WRONG_LAST_SEQUENCE, api_error};
use super::stream::{self, DUPLICATE_WINDOW, NewLog, StreamNames};
use super::{HEADER_ROOM, NatsLog, unreachable};
use crate::log::{Log as _, LogError, LogState, Tail as _};

/// A sequence that no stream has.
const NO_SEQUENCE: u64 = i64::MAX as u64;

/// Everything about a log.
#[derive(Debug)]
pub(crate) struct Inspection {
    /// The version of the server that was asked.
    pub(crate) server: String,
    /// The name of the stream.
    pub(crate) stream: String,
    pub(crate) state: LogState,
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    pub(crate) max_age: Duration,
    /// Bytes that the stream may have; `None` is no limit.
    pub(crate) max_bytes: Option<u64>,
    /// The server that leads the stream, in a cluster.
    pub(crate) leader: Option<String>,
    /// The number of copies that the stream is to have.
    pub(crate) copies: usize,
    /// The copies but for the leader's.
    pub(crate) replicas: Vec<Replica>,
    /// The tails of nodes.
    pub(crate) consumers: Vec<Consumer>,
    /// Settings that break what a fleet promises.
    pub(crate) faults: Vec<String>,
    /// Settings that are allowed, and not what a fleet should have.
    pub(crate) warnings: Vec<String>,
}

/// A copy of the stream.
#[derive(Debug)]
pub(crate) struct Replica {
    /// The server that has it.
    pub(crate) server: String,
    /// `true` if it has all that the leader has.
    pub(crate) is_current: bool,
}

/// The tail of a node.
#[derive(Debug)]
pub(crate) struct Consumer {
    /// What the node calls itself: host and process.
    pub(crate) node: String,
    /// The sequence that was sent to it last.
    pub(crate) delivered: u64,
    /// Records that are still to be sent to it.
    pub(crate) behind: u64,
}

/// One page of the list of consumers.
#[derive(Deserialize)]
struct Page {
    total: usize,
    #[serde(default)]
    consumers: Option<Vec<consumer::Info>>,
}

pub(super) async fn inspect(
    connection: &Connection,
    names: &StreamNames,
) -> Result<Inspection, LogError> {
    let info = stream::info(connection, names).await?;
    let longest = connection.max_payload().saturating_sub(HEADER_ROOM);
    let state = stream::state(&info, longest)?;
    let (mut faults, mut warnings) = (Vec::new(), Vec::new());
    find_faults(&info.config, names, &mut faults);
    find_warnings(&info, &mut warnings);
    let cluster = info
        .cluster
        .as_ref()
        .filter(|_| info.config.num_replicas > 1);
    let replicas = cluster.into_iter().flat_map(|cluster| &cluster.replicas);
    let replicas = replicas.map(|peer| Replica {
        server: peer.name.clone(),
        is_current: peer.current && !peer.offline,
    });
    Ok(Inspection {
        server: connection.version(),
        stream: names.stream.clone(),
        state,
        records: info.state.messages,
        bytes: info.state.bytes,
        max_age: info.config.max_age,
        max_bytes: u64::try_from(info.config.max_bytes)
            .ok()
            .filter(|&max| max > 0),
        leader: cluster.and_then(|cluster| cluster.leader.clone()),
        copies: info.config.num_replicas,
        replicas: replicas.collect(),
        consumers: consumers(connection, names).await?,
        faults,
        warnings,
    })
}

/// Lists the tails of nodes, sorted by what they call themselves.
async fn consumers(
    connection: &Connection,
    names: &StreamNames,
) -> Result<Vec<Consumer>, LogError> {
    let subject = format!("CONSUMER.LIST.{}", names.stream);
    let mut found = Vec::new();
    loop {
        let question = json!({"offset": found.len()});
        let page = match connection.ask(&subject, &question).await? {
            Response::Ok(Page { total, consumers }) => (total, consumers.unwrap_or_default()),
            Response::Err { error } => return Err(api_error(&error)),
        };
        let is_last = page.1.is_empty() || found.len() + page.1.len() >= page.0;
        found.extend(page.1);
        if is_last {
            break;
        }
    }
    let mut consumers: Vec<_> = found.iter().filter_map(tail_of_node).collect();
    consumers.sort_by(|a, b| a.node.cmp(&b.node));
    Ok(consumers)
}

/// Returns what a consumer says of the node that reads by it. Others may read the stream, too.
fn tail_of_node(info: &consumer::Info) -> Option<Consumer> {
    let label = info.config.description.as_deref()?;
    let node = label.strip_prefix("mles ")?.to_owned();
    info.push_bound.then_some(Consumer {
        node,
        delivered: info.delivered.stream_sequence,
        behind: info.num_pending,
    })
}

/// Finds settings with which the stream would lose records that a node has not read, or would have gaps.
fn find_faults(config: &Config, names: &StreamNames, faults: &mut Vec<String>) {
    let mut check = |is_good: bool, text: String| {
        if !is_good {
            faults.push(text);
        }
    };
    let is_own = config.subjects == [names.subject.as_str()];
    check(
        is_own,
        format!("its only subject must be {}", names.subject),
    );
    let is_file = config.storage == StorageType::File;
    check(is_file, "its storage must be file".to_owned());
    let is_limits = config.retention == RetentionPolicy::Limits;
    check(is_limits, "its retention must be limits".to_owned());
    let is_old = config.discard == DiscardPolicy::Old;
    check(is_old, "it must discard old records".to_owned());
    let is_unlimited = config.max_messages <= 0 && config.max_messages_per_subject <= 0;
    let text = "it must have no limit of messages: age and bytes alone may end them";
    check(is_unlimited, text.to_owned());
    let is_whole = config.deny_delete && config.deny_purge;
    let text = "it must deny that messages are deleted or purged";
    check(is_whole && !config.allow_rollup, text.to_owned());
    let is_alone = config.mirror.is_none() && config.sources.as_ref().is_none_or(Vec::is_empty);
    check(is_alone, "it must have no mirror or source".to_owned());
    let text = format!(
        "max_age must be at least {} minutes",
        NewLog::MIN_AGE.as_secs() / 60
    );
    check(
        config.max_age.is_zero() || config.max_age >= NewLog::MIN_AGE,
        text,
    );
    let is_open = !config.no_ack && !config.sealed;
    check(
        is_open,
        "it must take messages and acknowledge them".to_owned(),
    );
}

fn find_warnings(info: &Info, warnings: &mut Vec<String>) {
    let config = &info.config;
    if config.num_replicas < 3 {
        let text = format!(
            "replicas = {}: when that server is lost, so are records that were confirmed; three survive the loss of one",
            config.num_replicas
        );
        warnings.push(text);
    }
    if config.duplicate_window < DUPLICATE_WINDOW {
        let text = format!(
            "duplicate_window is {:?}: records that are sent again take space until nodes drop them",
            config.duplicate_window
        );
        warnings.push(text);
    }
    if config.max_bytes <= 0 {
        warnings.push("max_bytes is not set: the stream may fill the disk".to_owned());
    }
    if config.max_age.is_zero() {
        warnings
            .push("max_age is not set: a node reads the whole stream when it starts".to_owned());
    }
    let cluster = info.cluster.iter().flat_map(|cluster| &cluster.replicas);
    for peer in cluster.filter(|peer| peer.offline || !peer.current) {
        warnings.push(format!(
            "the copy on {} is behind or out of reach",
            peer.name
        ));
    }
}

/// Does what a node does, but for appending: asks for it in a way that must be refused.
pub(super) async fn try_out(log: &NatsLog) -> Vec<LogError> {
    let mut failed = Vec::new();
    let state = match log.describe().await {
        Ok(state) => state,
        Err(error) => return vec![error],
    };
    if let Err(error) = log.get(state.last).await {
        failed.push(error);
    }
    match log.tail(state.last).await {
        Ok(mut tail) => {
            // Nothing but heartbeats may come, or what others append.
            let heard = tokio::time::timeout(2 * super::PATIENCE, tail.next()).await;
            failed.extend(heard.ok().and_then(Result::err));
        }
        Err(error) => failed.push(error),
    }
    failed.extend(try_append(log).await.err());
    failed
}

/// Appends nothing: the message is to be the one behind a sequence that the stream cannot have.
async fn try_append(log: &NatsLog) -> Result<(), LogError> {
    let mut headers = HeaderMap::new();
    headers.insert(
        "Nats-Expected-Last-Sequence",
        NO_SEQUENCE.to_string().as_str(),
    );
    match log.publish(headers, Bytes::new()).await? {
        Response::Err { error } if error.error_code() == WRONG_LAST_SEQUENCE => Ok(()),
        Response::Err { error } => Err(api_error(&error)),
        Response::Ok(ack) => {
            let text = format!("a message that had to be refused was taken as {}", ack.seq);
            Err(unreachable(text))
        }
    }
}
