//! The stream of a fleet: its names, its settings, and what it says of itself.

use std::collections::HashMap;
use std::time::Duration;

use async_nats::jetstream::response::Response;
use async_nats::jetstream::stream::{Config, DiscardPolicy, Info, StorageType};

use super::connection::Connection;
use super::request::{NO_REPLICAS, NO_STREAM, STREAM_EXISTS, api_error};
use super::tail::milliseconds;
use super::{unreachable, unusable};
use crate::log::{LogError, LogState};
use crate::order::{FleetEpoch, Sequence};
use crate::protocol::Epoch;
use crate::settings::FleetName;

/// Time in which a record that is appended again is there once. Nodes drop those that come later.
pub(super) const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);
/// Time that making a stream may take: its servers choose one that leads it first.
const MAKE_PATIENCE: Duration = Duration::from_secs(10);
/// The version of records that nodes write.
pub(super) const RECORD_VERSION: u32 = 1;
/// Metadata: the epoch that the log was made with, the number of streams of the fleet, and the version of records.
const EPOCH: &str = "mles-epoch";
const COUNT: &str = "mles-streams";
const VERSION: &str = "mles-record-version";

/// What a stream is called.
#[derive(Clone, Debug)]
pub(crate) struct StreamNames {
    fleet: FleetName,
    /// The name of the stream.
    pub(crate) stream: String,
    /// The subject of its records.
    pub(crate) subject: String,
}

impl StreamNames {
    /// Returns the names of a fleet's stream.
    pub(crate) fn of(fleet: &FleetName) -> Self {
        Self {
            stream: format!("MLES_{fleet}_0"),
            subject: format!("mles.{fleet}.0"),
            fleet: fleet.clone(),
        }
    }

    /// Returns the error for a stream that is not there.
    pub(super) fn missing(&self) -> LogError {
        let Self { fleet, stream, .. } = self;
        unusable(format!(
            "there is no stream {stream}: make it with `mles fleet init --name {fleet}`, or find out who has deleted it"
        ))
    }
}

/// What a log is made with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewLog {
    /// Servers that keep a copy.
    pub(crate) replicas: usize,
    /// Time that records are kept.
    pub(crate) max_age: Duration,
    /// Bytes of records that are kept.
    pub(crate) max_bytes: u64,
}

impl NewLog {
    /// Least time that records have to be kept: what nodes remember of publishers must not outlive the log that it is from.
    pub(crate) const MIN_AGE: Duration = Duration::from_secs(20 * 60);
}

/// Makes the stream. `false` if there is one already.
pub(super) async fn make(
    connection: &Connection,
    names: &StreamNames,
    new: &NewLog,
) -> Result<bool, LogError> {
    // Asked first, as a stream that is there may be another's, with settings that say more.
    if find(connection, names).await?.is_some() {
        return Ok(false);
    }
    let config = config(names, new);
    let subject = format!("STREAM.CREATE.{}", names.stream);
    let answer = connection.ask_within(&subject, &config, MAKE_PATIENCE);
    let answer: Response<Info> = answer.await?;
    match answer {
        Response::Ok(_) => Ok(true),
        Response::Err { error } if error.error_code() == STREAM_EXISTS => Ok(false),
        Response::Err { error } if error.error_code() == NO_REPLICAS => {
            let text = format!("{}; one server alone takes --replicas 1", api_error(&error));
            Err(unusable(text))
        }
        Response::Err { error } => Err(api_error(&error)),
    }
}

fn config(names: &StreamNames, new: &NewLog) -> Config {
    let epoch = Epoch(rand::random());
    let metadata = [
        (EPOCH, epoch.to_string()),
        (COUNT, "1".to_owned()),
        (VERSION, RECORD_VERSION.to_string()),
    ];
    let metadata: HashMap<_, _> = metadata.map(|(key, value)| (key.to_owned(), value)).into();
    Config {
        name: names.stream.clone(),
        description: Some(format!("The log of the mles fleet {}", names.fleet)),
        subjects: vec![names.subject.clone()],
        storage: StorageType::File,
        num_replicas: new.replicas,
        max_age: new.max_age,
        max_bytes: i64::try_from(new.max_bytes).unwrap_or(i64::MAX),
        max_messages: -1,
        max_messages_per_subject: -1,
        max_consumers: -1,
        discard: DiscardPolicy::Old,
        duplicate_window: DUPLICATE_WINDOW,
        deny_delete: true,
        deny_purge: true,
        metadata,
        ..Config::default()
    }
}

/// Asks for what the stream is now.
pub(super) async fn info(connection: &Connection, names: &StreamNames) -> Result<Info, LogError> {
    let found = find(connection, names).await?;
    found.ok_or_else(|| names.missing())
}

async fn find(connection: &Connection, names: &StreamNames) -> Result<Option<Info>, LogError> {
    let subject = format!("STREAM.INFO.{}", names.stream);
    let answer: Response<Info> = connection.ask(&subject, &()).await?;
    match answer {
        Response::Ok(info) => Ok(Some(info)),
        Response::Err { error } if error.error_code() == NO_STREAM => Ok(None),
        Response::Err { error } => Err(api_error(&error)),
    }
}

/// Returns what nodes ask of a stream. Records have at most `longest` bytes.
pub(super) fn state(info: &Info, longest: usize) -> Result<LogState, LogError> {
    let cluster = info.cluster.as_ref();
    if cluster.is_some_and(|cluster| cluster.leader.as_deref().unwrap_or_default().is_empty()) {
        return Err(unreachable(format!(
            "the stream {} has no leader",
            info.config.name
        )));
    }
    let epoch = epoch(&info.config)?;
    let (first, last) = (info.state.first_sequence, info.state.last_sequence);
    let is_empty = info.state.messages == 0;
    let limit = usize::try_from(info.config.max_message_size).ok();
    let limit = limit.filter(|&limit| limit > 0).unwrap_or(usize::MAX);
    Ok(LogState {
        first: Sequence(if is_empty { last + 1 } else { first }),
        last: Sequence(last),
        last_at_ms: milliseconds(info.state.last_timestamp.unix_timestamp_nanos()),
        epoch,
        max_record: longest.min(limit),
    })
}

/// Returns the epoch that the stream was made with.
pub(super) fn epoch(config: &Config) -> Result<FleetEpoch, LogError> {
    let name = &config.name;
    let value = |key| config.metadata.get(key).map(String::as_str);
    let id = value(EPOCH).and_then(|text| text.parse().ok());
    let id = id.ok_or_else(|| {
        unusable(format!(
            "the stream {name} is none of a fleet: `mles fleet init` has not made it"
        ))
    })?;
    let version = value(VERSION).and_then(|text| text.parse::<u32>().ok());
    let count = value(COUNT).and_then(|text| text.parse::<u32>().ok());
    if version.is_none_or(|version| version > RECORD_VERSION) || count != Some(1) {
        return Err(unusable(format!(
            "the stream {name} was made for a later version of mles"
        )));
    }
    Ok(FleetEpoch { number: 1, id })
}
