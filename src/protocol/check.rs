//! The check of bodies after the join: a frame must carry the names that its session joined with.

use super::body::Message;
use super::error::FrameError;
use super::prefix::BodyPrefix;

/// Check of the bodies that follow the join.
#[derive(Clone, Debug, Default)]
pub enum BodyCheck {
    /// Any; no byte of a body is looked at.
    #[default]
    Off,
    /// The body must decode and name the channel of the prefix.
    Channel(BodyPrefix),
    /// The body must decode and name the uid and the channel of the prefix.
    Sender(BodyPrefix),
}

/// Checks the names in `body`, which begins at `at`.
#[inline]
pub(super) fn check_names(
    body: &[u8],
    at: usize,
    names: &BodyPrefix,
    any_uid: bool,
) -> Result<(), FrameError> {
    if names.begins(body) {
        return Ok(());
    }
    check_decoded(body, at, names, any_uid)
}

/// Checks bodies that are encoded otherwise or name others.
#[cold]
fn check_decoded(
    body: &[u8],
    at: usize,
    names: &BodyPrefix,
    any_uid: bool,
) -> Result<(), FrameError> {
    let message = Message::decode(body).map_err(|error| FrameError::Body { at, error })?;
    if message.channel.as_bytes() != names.channel() {
        return Err(FrameError::OtherChannel { at });
    }
    if !any_uid && message.uid.as_bytes() != names.uid() {
        return Err(FrameError::OtherUid { at });
    }
    Ok(())
}
