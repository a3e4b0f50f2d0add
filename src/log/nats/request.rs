//! Answers of JetStream, and what is wrong when there is none.

use async_nats::jetstream::{self, ErrorCode};
use async_nats::{RequestError, RequestErrorKind};
use serde::de::DeserializeOwned;

use super::{unreachable, unusable};
use crate::log::LogError;

/// There is no message with that sequence.
pub(super) const NO_MESSAGE: ErrorCode = ErrorCode(10037);
/// There is no stream of that name.
pub(super) const NO_STREAM: ErrorCode = ErrorCode(10059);
/// There is a stream of that name with other settings.
pub(super) const STREAM_EXISTS: ErrorCode = ErrorCode(10058);
/// A server that is in no cluster cannot have several copies.
pub(super) const NO_REPLICAS: ErrorCode = ErrorCode(10074);
/// A message was to be the one behind another, and is not.
pub(super) const WRONG_LAST_SEQUENCE: ErrorCode = ErrorCode(10071);
/// JetStream is not on, or not for this account.
const NOT_ENABLED: [ErrorCode; 2] = [ErrorCode(10076), ErrorCode(10039)];

/// Reads an answer.
pub(super) fn parse<T: DeserializeOwned>(answer: &[u8]) -> Result<T, LogError> {
    serde_json::from_slice(answer)
        .map_err(|error| unreachable(format!("an answer of NATS makes no sense: {error}")))
}

/// Says why there is no answer.
pub(super) fn request_error(error: &RequestError) -> LogError {
    match error.kind() {
        RequestErrorKind::TimedOut => unreachable("NATS does not answer in time"),
        RequestErrorKind::NoResponders => unreachable(
            "JetStream does not answer: it is off at these servers, or there is no leader just now",
        ),
        _ => unreachable(error.to_string()),
    }
}

/// Says what an error of JetStream means. Those that may go away by themselves are told apart by their class, as in HTTP.
pub(super) fn api_error(error: &jetstream::Error) -> LogError {
    if NOT_ENABLED.contains(&error.error_code()) {
        return unusable("JetStream is not enabled at these servers, or not for this account");
    }
    let text = format!("JetStream says: {error}");
    if error.code() >= 500 {
        unreachable(text)
    } else {
        unusable(text)
    }
}
