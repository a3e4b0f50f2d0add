//! The scanner wherever the buffer ends and on bad heads, the mask, and our own frames. Numbers in
//! brackets are the sections of the Autobahn test suite that a test stands for.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];
const NO_LIMIT: usize = usize::MAX;

/// A client's frame.
fn frame(fin: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_head(&mut out, opcode, payload.len());
    out[0] &= if fin { 0xFF } else { !FIN };
    out[1] |= MASKED;
    out.extend(MASK);
    out.extend(payload.iter().zip(MASK.iter().cycle()).map(|(b, m)| b ^ m));
    out
}

/// The frames of a run, their payloads unmasked.
fn unmasked(run: &[u8]) -> Vec<(bool, Opcode, Vec<u8>)> {
    client_frames(run)
        .map(|(head, payload)| {
            let mut out = Vec::new();
            unmask_into(&mut out, payload, head.mask);
            (head.fin, head.opcode, out)
        })
        .collect()
}

/// Asserts that `buf` is told to be bad when its first `from` bytes are there, and not before.
#[track_caller]
fn assert_bad(buf: &[u8], from: usize, max_payload: usize, error: &WsFrameError) {
    for end in 1..=buf.len() {
        let found = scan(&buf[..end], max_payload);
        assert_eq!(found.run, Run { len: 0, frames: 0 }, "with {end} bytes");
        if end < from {
            let Stop::Partial { need } = found.stop else {
                panic!("{:?} with {end} bytes", found.stop);
            };
            assert!(need > end, "nothing more is asked for");
        } else {
            assert_eq!(found.stop, Stop::Bad(error.clone()), "with {end} bytes");
        }
    }
}

fn is_too_long(found: &Scan<WsFrameError>) -> bool {
    matches!(found.stop, Stop::Bad(WsFrameError::TooLong { .. }))
}

/// [1.1, 1.2]
#[test]
fn payloads_of_every_encoding_of_length_come_through() {
    for len in [0, 1, 125, 126, 127, 128, 65_535, 65_536, 100_000] {
        for opcode in [Opcode::Text, Opcode::Binary] {
            let payload: Vec<u8> = (0..=u8::MAX).cycle().take(len).collect();
            let buf = frame(true, opcode, &payload);
            let found = scan(&buf, len);
            assert_eq!(found.stop, Stop::End);
            assert_eq!(
                found.run,
                Run {
                    len: buf.len(),
                    frames: 1
                }
            );
            assert_eq!(unmasked(&buf), [(true, opcode, payload)]);
        }
    }
}

/// [2.1–2.4, 2.9]
#[test]
fn control_frames_of_up_to_125_bytes_are_good_whatever_the_limit() {
    for opcode in [Opcode::Ping, Opcode::Pong, Opcode::Close] {
        for len in [0, 1, 125] {
            let buf = frame(true, opcode, &vec![0xFE; len]);
            assert_eq!(scan(&buf, 0).stop, Stop::End);
            assert_eq!(unmasked(&buf), [(true, opcode, vec![0xFE; len])]);
        }
    }
}

/// [2.5]
#[test]
fn longer_control_frames_are_told_by_their_second_byte() {
    for opcode in [Opcode::Ping, Opcode::Pong, Opcode::Close] {
        for len in [126, 70_000] {
            let buf = frame(true, opcode, &vec![0; len]);
            assert_bad(
                &buf[..20],
                2,
                NO_LIMIT,
                &WsFrameError::LongControl { at: 1 },
            );
        }
    }
}

/// [3.1–3.7]
#[test]
fn reserved_bits_are_told_by_the_first_byte() {
    for opcode in [
        Opcode::Text,
        Opcode::Continuation,
        Opcode::Ping,
        Opcode::Close,
    ] {
        for bits in 1..8 {
            let mut buf = frame(true, opcode, b"x");
            buf[0] |= bits << 4;
            assert_bad(
                &buf,
                1,
                NO_LIMIT,
                &WsFrameError::ReservedBits { bits, at: 0 },
            );
        }
    }
}

/// [4.1, 4.2]
#[test]
fn reserved_opcodes_are_told_by_the_first_byte() {
    for opcode in (3..8).chain(0xB..0x10) {
        let mut buf = frame(true, Opcode::Continuation, b"x");
        buf[0] |= opcode;
        let error = WsFrameError::ReservedOpcode { opcode, at: 0 };
        assert_bad(&buf, 1, NO_LIMIT, &error);
    }
}

/// [5.1, 5.2]
#[test]
fn fragments_of_control_frames_are_told_by_the_first_byte() {
    for opcode in [Opcode::Ping, Opcode::Pong, Opcode::Close] {
        let buf = frame(false, opcode, b"x");
        assert_bad(
            &buf,
            1,
            NO_LIMIT,
            &WsFrameError::FragmentedControl { at: 0 },
        );
    }
}

#[test]
fn frames_without_a_mask_are_told_by_the_second_byte() {
    let buf = server_frame(Opcode::Text, b"hello");
    assert_bad(&buf, 2, NO_LIMIT, &WsFrameError::Unmasked { at: 1 });
}

#[test]
fn lengths_in_a_longer_form_than_needed_are_told_as_soon_as_they_show() {
    let error = WsFrameError::BadLength { at: 1 };
    assert_bad(&[0x82, 0xFE, 0, 125, 1, 2, 3, 4], 4, NO_LIMIT, &error);
    let mut buf = vec![0x82, 0xFF, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 1, 2, 3, 4];
    assert_bad(&buf, 8, NO_LIMIT, &error);
    buf[7] = 1;
    assert!(matches!(scan(&buf, NO_LIMIT).stop, Stop::Partial { .. }));
}

#[test]
fn the_top_bit_of_a_length_is_told_by_its_byte() {
    let buf = [0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4];
    assert_bad(&buf, 3, NO_LIMIT, &WsFrameError::BadLength { at: 1 });
}

/// [9.1, 9.2], beyond the limit
#[test]
fn payloads_over_the_limit_are_told_before_any_of_them_came() {
    let error = |len| WsFrameError::TooLong {
        len,
        limit: 1000,
        at: 1,
    };
    assert_bad(&[0x82, 0xFE, 0x03, 0xE9], 4, 1000, &error(1001));
    assert_bad(&[0x82, 0xFE, 0x04], 3, 1000, &error(0x400));
    let huge = [0x82, 0xFF, 0x7F, 0xFF, 0xFF];
    for end in 3..=5 {
        assert!(is_too_long(&scan(&huge[..end], 1000)));
    }
    let short = WsFrameError::TooLong {
        len: 11,
        limit: 10,
        at: 1,
    };
    assert_bad(&[0x81, 0x80 | 11, 0], 2, 10, &short);
}

#[test]
fn a_bad_frame_is_told_where_it_is_and_the_good_ones_before_it_count() {
    let good = frame(true, Opcode::Text, b"good");
    let buf = [&good[..], &good, &[0x81, 0x01, b'x']].concat();
    let found = scan(&buf, NO_LIMIT);
    let len = 2 * good.len();
    assert_eq!(found.run, Run { len, frames: 2 });
    assert_eq!(
        found.stop,
        Stop::Bad(WsFrameError::Unmasked { at: len + 1 })
    );
}

#[test]
fn the_largest_length_there_is_is_only_waited_for() {
    let buf = [0x82, 0xFF, 0x7F, 255, 255, 255, 255, 255, 255, 255];
    let need = usize::MAX / 2 + MAX_HEAD;
    assert_eq!(scan(&buf, NO_LIMIT).stop, Stop::Partial { need });
    assert_eq!(client_frames(&buf).count(), 0);
}

#[test]
fn heads_of_ours_are_as_short_as_can_be() {
    for (len, head) in [
        (0, vec![0x82, 0]),
        (125, vec![0x82, 125]),
        (126, vec![0x82, 126, 0, 126]),
        (0xFFFF, vec![0x82, 126, 0xFF, 0xFF]),
        (0x1_0000, vec![0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
    ] {
        let mut out = Vec::new();
        put_head(&mut out, Opcode::Binary, len);
        assert_eq!(out, head);
        assert_eq!(head_len(len), head.len());
        assert_eq!(server_frame_len(&out), Some(head.len() + len));
        for cut in 0..out.len() {
            assert_eq!(server_frame_len(&out[..cut]), None);
        }
    }
}

#[test]
fn a_reason_is_cut_between_characters() {
    let whole = close_frame(CloseCode::NORMAL, "bye");
    assert_eq!(&whole[..], b"\x88\x05\x03\xE8bye");
    let reason = format!("{}é", "x".repeat(122));
    let cut = close_frame(CloseCode::TOO_BIG, &reason);
    assert_eq!(cut.len(), 2 + 2 + 122);
    assert!(cut.ends_with(b"xx"));
    let full = close_frame(CloseCode::TOO_BIG, &"x".repeat(200));
    assert_eq!(full.len(), 2 + MAX_CONTROL);
}

fn opcodes() -> impl Strategy<Value = (bool, Opcode)> {
    prop_oneof![
        (any::<bool>(), Just(Opcode::Continuation)),
        (any::<bool>(), Just(Opcode::Text)),
        (any::<bool>(), Just(Opcode::Binary)),
        Just((true, Opcode::Ping)),
        Just((true, Opcode::Pong)),
        Just((true, Opcode::Close)),
    ]
}

proptest! {
    #[test]
    fn what_is_found_does_not_depend_on_where_the_buffer_ends(
        frames in vec((opcodes(), vec(any::<u8>(), 0..=125)), 1..6),
    ) {
        let frames: Vec<_> = frames.into_iter().map(|((fin, op), p)| (fin, op, p)).collect();
        let buf: Vec<u8> = frames.iter().flat_map(|(f, o, p)| frame(*f, *o, p)).collect();
        prop_assert_eq!(&unmasked(&buf), &frames);
        for end in 0..=buf.len() {
            let first = scan(&buf[..end], 125);
            if first.run.len < end {
                let Stop::Partial { need } = first.stop else { panic!("{first:?}") };
                prop_assert!(need > end - first.run.len);
            } else {
                prop_assert_eq!(first.stop, Stop::End);
            }
            let rest = scan(&buf[first.run.len..], 125);
            prop_assert_eq!(rest.stop, Stop::End);
            prop_assert_eq!(first.run.len + rest.run.len, buf.len());
            prop_assert_eq!(first.run.frames + rest.run.frames, frames.len());
        }
    }

    #[test]
    fn any_bytes_are_told_the_same_however_they_come(
        buf in vec(prop_oneof![any::<u8>(), Just(0x81), Just(0x80), Just(0xFE)], 0..40),
        end in 0..40_usize,
    ) {
        let whole = scan(&buf, 20);
        prop_assert_eq!(client_frames(&buf[..whole.run.len]).count(), whole.run.frames);
        let first = scan(&buf[..end.min(buf.len())], 20);
        if is_too_long(&first) {
            // More of the length may have come meanwhile.
            prop_assert!(is_too_long(&whole));
            prop_assert_eq!(first.run, whole.run);
        } else if matches!(first.stop, Stop::Bad(_)) {
            prop_assert_eq!(first, whole);
        } else {
            let rest = scan(&buf[first.run.len..], 20);
            prop_assert_eq!(first.run.len + rest.run.len, whole.run.len);
        }
    }

    #[test]
    fn a_mask_is_taken_off_byte_for_byte(
        before in vec(any::<u8>(), 0..10),
        payload in vec(any::<u8>(), 0..100),
        mask in any::<[u8; 4]>(),
    ) {
        let mut out = before.clone();
        unmask_into(&mut out, &payload, mask);
        let expected = payload.iter().enumerate().map(|(at, byte)| byte ^ mask[at % 4]);
        let expected: Vec<u8> = before.into_iter().chain(expected).collect();
        prop_assert_eq!(out, expected);
    }
}
