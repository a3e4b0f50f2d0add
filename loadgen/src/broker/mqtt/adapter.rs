//! MQTT 3.1.1, QoS 0 only: CONNECT, SUBSCRIBE, PUBLISH and the acknowledgements of the first two.

use crate::adapter::{Adapter, Head, Publication, Session, WireError};

const CONNACK: u8 = 0x20;
const PUBLISH_QOS_0: u8 = 0x30;
const SUBACK: u8 = 0x90;
/// The first byte of a SUBSCRIBE packet, flags included.
const SUBSCRIBE: u8 = 0x82;
/// The return code in a SUBACK that refuses.
const SUBACK_FAILURE: u8 = 0x80;
/// The largest remaining length that four bytes of seven bits can say.
const MAX_REMAINING: usize = (1 << 28) - 1;

/// Clean sessions without keepalive, QoS 0.
pub(super) struct MqttAdapter;

impl Adapter for MqttAdapter {
    fn hello(&self, session: &Session<'_>) -> Result<Vec<u8>, WireError> {
        let client = format!("loadgen-{}", session.number);
        let clean_session = [4, 0x02, 0, 0];
        let connect = [string("MQTT")?, clean_session.to_vec(), string(&client)?].concat();
        let mut bytes = packet(0x10, &[&connect])?;
        if session.role.is_receiving() {
            let id = [0, 1];
            let qos = [0];
            bytes.extend(packet(SUBSCRIBE, &[&id, &string(session.channel)?, &qos])?);
        }
        Ok(bytes)
    }

    fn publication(&self, session: &Session<'_>, payload: &[u8]) -> Result<Publication, WireError> {
        let bytes = packet(PUBLISH_QOS_0, &[&string(session.channel)?, payload])?;
        Ok(Publication {
            payload_at: bytes.len() - payload.len(),
            bytes,
        })
    }

    fn head(&self, received: &[u8]) -> Result<Head, WireError> {
        let Some((fixed, remaining)) = remaining_length(received)? else {
            return Ok(Head::Partial);
        };
        let len = fixed + remaining;
        match received[0] {
            PUBLISH_QOS_0 => {
                let Some(topic) = received.get(fixed..).and_then(|rest| rest.first_chunk()) else {
                    return Ok(Head::Partial);
                };
                let head = fixed + 2 + usize::from(u16::from_be_bytes(*topic));
                match len.checked_sub(head) {
                    _ if received.len() < head => Ok(Head::Partial),
                    Some(payload) => Ok(Head::Delivery {
                        head,
                        payload,
                        tail: 0,
                    }),
                    None => Err(WireError::unexpected(received)),
                }
            }
            kind @ (CONNACK | SUBACK) => {
                let Some(ack) = received.get(fixed..len) else {
                    return Ok(Head::Partial);
                };
                match (kind, ack) {
                    (CONNACK, [_, 0]) => Ok(Head::Control { len }),
                    (SUBACK, [_, _, code]) if *code != SUBACK_FAILURE => Ok(Head::Control { len }),
                    (CONNACK, [_, code]) => Err(WireError::Refused(format!(
                        "CONNACK with return code {code}"
                    ))),
                    (SUBACK, _) => Err(WireError::Refused("SUBACK with a failure".to_owned())),
                    _ => Err(WireError::unexpected(received)),
                }
            }
            _ => Err(WireError::unexpected(received)),
        }
    }
}

fn string(text: &str) -> Result<Vec<u8>, WireError> {
    let len = u16::try_from(text.len()).map_err(|_| WireError::TooLong(text.len()))?;
    Ok([&len.to_be_bytes(), text.as_bytes()].concat())
}

/// Encodes a packet of the given first byte: its remaining length, seven bits a byte, then `parts`.
fn packet(first: u8, parts: &[&[u8]]) -> Result<Vec<u8>, WireError> {
    let mut remaining: usize = parts.iter().map(|part| part.len()).sum();
    if remaining > MAX_REMAINING {
        return Err(WireError::TooLong(remaining));
    }
    let mut bytes = vec![first];
    loop {
        let low = u8::try_from(remaining & 0x7F).unwrap_or_default();
        remaining >>= 7;
        bytes.push(if remaining > 0 { low | 0x80 } else { low });
        if remaining == 0 {
            break;
        }
    }
    parts.iter().for_each(|part| bytes.extend_from_slice(part));
    Ok(bytes)
}

/// Returns the length of the fixed header, and of what follows it.
fn remaining_length(received: &[u8]) -> Result<Option<(usize, usize)>, WireError> {
    let mut remaining = 0;
    for (index, &byte) in received.iter().skip(1).take(4).enumerate() {
        remaining |= usize::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok(Some((index + 2, remaining)));
        }
    }
    if received.len() > 4 {
        Err(WireError::unexpected(received))
    } else {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::{assert_scans, payload, session};

    #[test]
    fn messages_after_both_acknowledgements_at_every_cut() {
        // 200 bytes: a remaining length of two bytes.
        for len in [16, 200] {
            let mut stream = b"\x20\x02\x00\x00\x90\x03\x00\x01\x00".to_vec();
            for sequence in 0..3 {
                let publication = MqttAdapter.publication(&session(1), &payload(len, sequence));
                stream.extend(publication.expect("fits").bytes);
            }
            assert_scans(&MqttAdapter, len, &stream, 3, 0);
        }
    }

    #[test]
    fn refusals_and_nonsense_are_told_apart() {
        for refused in [b"\x20\x02\x00\x05".as_slice(), b"\x90\x03\x00\x01\x80"] {
            assert!(
                matches!(MqttAdapter.head(refused), Err(WireError::Refused(_))),
                "{refused:?}"
            );
        }
        for bad in [
            b"HTTP/".as_slice(),
            b"\x30\xFF\xFF\xFF\xFF",
            b"\x30\x03\x00\x09abcdefghi",
        ] {
            assert!(
                matches!(MqttAdapter.head(bad), Err(WireError::Unexpected(_))),
                "{bad:?}"
            );
        }
    }
}
