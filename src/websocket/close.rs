//! The payloads of close frames that clients send.

use super::close_code::CloseCode;
use super::error::MessageError;

/// Reads the payload of a close frame, unmasked: the code and the reason, `None` if it is empty.
///
/// # Errors
///
/// One byte, a code that must not be sent, or a reason that is not UTF-8.
pub(crate) fn parse_close(payload: &[u8]) -> Result<Option<(CloseCode, &str)>, MessageError> {
    let Some((&code, reason)) = payload.split_first_chunk() else {
        return if payload.is_empty() {
            Ok(None)
        } else {
            Err(MessageError::CutClose)
        };
    };
    let code = u16::from_be_bytes(code);
    let code = CloseCode::received(code).ok_or(MessageError::CloseCode { code })?;
    let reason = std::str::from_utf8(reason).map_err(|_| MessageError::NotUtf8)?;
    Ok(Some((code, reason)))
}

#[cfg(test)]
mod tests {
    //! Numbers in brackets are the sections of the Autobahn test suite that a test stands for.

    use super::*;

    fn parse(code: u16, reason: &[u8]) -> Result<u16, MessageError> {
        let payload = [&code.to_be_bytes(), reason].concat();
        let parsed = parse_close(&payload)?.map(|(code, _)| code.as_u16());
        Ok(parsed.unwrap_or_default())
    }

    /// [7.3.1]
    #[test]
    fn a_close_may_be_empty() {
        assert_eq!(parse_close(b""), Ok(None));
    }

    /// [7.3.2]
    #[test]
    fn half_a_code_is_refused() {
        assert_eq!(parse_close(b"\x03"), Err(MessageError::CutClose));
    }

    /// [7.3.3–7.3.5]
    #[test]
    fn code_and_reason_are_read() {
        assert_eq!(parse_close(b"\x03\xE8"), Ok(Some((CloseCode::NORMAL, ""))));
        assert_eq!(
            parse_close(b"\x0F\xA0\xC3\xA9"),
            Ok(Some((CloseCode(4000), "é")))
        );
    }

    /// [7.5.1]
    #[test]
    fn a_reason_must_be_utf8() {
        assert_eq!(parse(1000, b"\xED\xA0\x80"), Err(MessageError::NotUtf8));
        assert_eq!(parse(1000, b"\xCE"), Err(MessageError::NotUtf8));
    }

    /// [7.7.1–7.7.13]
    #[test]
    fn codes_that_may_be_sent_are_good() {
        let good = [
            1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999,
            4000, 4999,
        ];
        for code in good {
            assert_eq!(parse(code, b""), Ok(code));
        }
    }

    /// [7.9.1–7.9.9, 7.13.1, 7.13.2]
    #[test]
    fn codes_that_must_not_be_sent_are_refused() {
        let bad = [
            0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535,
        ];
        for code in bad {
            assert_eq!(parse(code, b"x"), Err(MessageError::CloseCode { code }));
        }
    }

    #[test]
    fn every_code_of_ours_may_be_sent() {
        let ours = [
            CloseCode::NORMAL,
            CloseCode::GOING_AWAY,
            CloseCode::PROTOCOL,
            CloseCode::UNSUPPORTED,
            CloseCode::BAD_DATA,
            CloseCode::POLICY,
            CloseCode::TOO_BIG,
            CloseCode::INTERNAL,
            CloseCode::TRY_LATER,
            CloseCode::AUTH,
            CloseCode::SLOW,
            CloseCode::DUPLICATE,
        ];
        for code in ours {
            assert_eq!(CloseCode::received(code.as_u16()), Some(code));
        }
    }
}
