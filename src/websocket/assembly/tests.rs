//! Fragments in every order, sizes over fragments, and text cut at every byte. Numbers in brackets
//! are the sections of the Autobahn test suite that a test stands for.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const LIMIT: usize = 1000;

fn head(fin: bool, opcode: Opcode, payload_len: usize) -> FrameHead {
    FrameHead {
        fin,
        opcode,
        mask: [0; 4],
        head_len: 6,
        payload_len,
    }
}

fn accept(assembly: &mut Assembly, fin: bool, opcode: Opcode) -> Result<Part, MessageError> {
    assembly.accept(&head(fin, opcode, 1), LIMIT)
}

/// Feeds text in fragments; tells in which one it was refused.
fn feed(fragments: &[&[u8]]) -> Result<(), usize> {
    let mut assembly = Assembly::default();
    for (at, fragment) in fragments.iter().enumerate() {
        let last = at + 1 == fragments.len();
        let opcode = if at == 0 {
            Opcode::Text
        } else {
            Opcode::Continuation
        };
        let head = head(last, opcode, fragment.len());
        assembly.accept(&head, LIMIT).unwrap();
        assembly.check_text(fragment, last).map_err(|_| at)?;
    }
    Ok(())
}

#[test]
fn every_connection_holds_12_bytes() {
    assert_eq!(size_of::<Assembly>(), 12);
}

/// [5.3–5.8, 5.19, 5.20]
#[test]
fn fragments_make_a_message_with_control_frames_between_them() {
    let mut assembly = Assembly::default();
    for (opcode, kind) in [(Opcode::Text, Kind::Text), (Opcode::Binary, Kind::Binary)] {
        let mut next = |fin, opcode| accept(&mut assembly, fin, opcode).unwrap();
        assert_eq!(next(true, opcode), Part::Whole(kind));
        assert_eq!(next(false, opcode), Part::First(kind));
        assert_eq!(next(true, Opcode::Ping), Part::Ping);
        assert_eq!(next(false, Opcode::Continuation), Part::Middle(kind));
        assert_eq!(next(true, Opcode::Pong), Part::Pong);
        assert_eq!(next(true, Opcode::Continuation), Part::Last(kind));
        assert_eq!(next(true, Opcode::Close), Part::Close);
        assert!(assembly.open.is_none());
    }
}

/// [5.9–5.14]
#[test]
fn nothing_is_continued_outside_a_message() {
    for fin in [false, true] {
        let mut fresh = Assembly::default();
        let refused = accept(&mut fresh, fin, Opcode::Continuation);
        assert_eq!(refused, Err(MessageError::NothingToContinue));

        let mut after = Assembly::default();
        accept(&mut after, false, Opcode::Text).unwrap();
        accept(&mut after, true, Opcode::Continuation).unwrap();
        let refused = accept(&mut after, fin, Opcode::Continuation);
        assert_eq!(refused, Err(MessageError::NothingToContinue));
    }
}

/// [5.15–5.18]
#[test]
fn no_message_begins_inside_another() {
    for opcode in [Opcode::Text, Opcode::Binary] {
        for fin in [false, true] {
            let mut assembly = Assembly::default();
            accept(&mut assembly, false, Opcode::Text).unwrap();
            assert!(assembly.open.is_some());
            let refused = accept(&mut assembly, fin, opcode);
            assert_eq!(refused, Err(MessageError::Interleaved));
        }
    }
}

/// [9.3, 9.4], beyond the limit
#[test]
fn sizes_count_over_all_fragments() {
    let mut assembly = Assembly::default();
    let mut next = |fin, opcode, len| assembly.accept(&head(fin, opcode, len), LIMIT);
    assert_eq!(
        next(true, Opcode::Binary, LIMIT),
        Ok(Part::Whole(Kind::Binary))
    );
    for _ in 0..2 {
        assert!(next(false, Opcode::Binary, LIMIT / 2).is_ok());
        assert!(next(false, Opcode::Continuation, LIMIT / 2).is_ok());
        assert!(next(true, Opcode::Continuation, 0).is_ok());
    }
    assert!(next(false, Opcode::Text, LIMIT).is_ok());
    assert_eq!(next(true, Opcode::Ping, 125), Ok(Part::Ping));
    let error = MessageError::TooLong {
        len: LIMIT + 1,
        limit: LIMIT,
    };
    assert_eq!(next(false, Opcode::Continuation, 1), Err(error.clone()));
    assert_eq!(
        Assembly::default().accept(&head(true, Opcode::Text, LIMIT + 1), LIMIT),
        Err(error)
    );
}

/// [6.1]
#[test]
fn empty_fragments_are_text() {
    assert_eq!(feed(&[b""]), Ok(()));
    assert_eq!(feed(&[b"", b"", b""]), Ok(()));
    assert_eq!(feed(&[b"", "é".as_bytes(), b""]), Ok(()));
}

/// [6.2, 6.5, 6.7, 6.9, 6.11, 6.13, 6.22, 6.23]
#[test]
fn text_is_good_wherever_it_is_cut() {
    let text = "Greeting-µ@ßöäüàá-UTF-8!! \u{7FF}\u{800}\u{D7FF}\u{E000}\u{FFFD}\u{FFFE}\u{FFFF}\
                \u{10000}\u{10FFFF}κόσμε";
    let text = text.as_bytes();
    for first in 0..=text.len() {
        for second in first..=text.len() {
            let parts = [&text[..first], &text[first..second], &text[second..]];
            assert_eq!(feed(&parts), Ok(()), "cut at {first} and {second}");
        }
    }
    let bytes: Vec<&[u8]> = text.chunks(1).collect();
    assert_eq!(feed(&bytes), Ok(()));
}

/// [6.3, 6.6, 6.8, 6.10, 6.12, 6.14–6.21]
#[test]
fn text_that_is_not_utf8_is_refused() {
    let bad: [&[u8]; 24] = [
        b"\xCE\xBA\xE1\xBD\xB9\xCF\x83\xCE\xBC\xCE\xB5\xED\xA0\x80edited",
        b"\xF8\x88\x80\x80\x80",
        b"\xFC\x84\x80\x80\x80\x80",
        b"\xF7\xBF\xBF\xBF",
        b"\xFB\xBF\xBF\xBF\xBF",
        b"\xFD\xBF\xBF\xBF\xBF\xBF",
        b"\xF4\x90\x80\x80",
        b"\x80",
        b"\xBF",
        b"\x80\xBF\x80",
        b"\xC0 \xC1 ",
        b"\xFE",
        b"\xFF",
        b"\xC0\xAF",
        b"\xE0\x80\xAF",
        b"\xF0\x80\x80\xAF",
        b"\xC1\xBF",
        b"\xE0\x9F\xBF",
        b"\xF0\x8F\xBF\xBF",
        b"\xC0\x80",
        b"\xED\xA0\x80",
        b"\xED\xBF\xBF",
        b"\xED\xA0\x80\xED\xB0\x80",
        b"\xCE\xBA\xCE",
    ];
    for text in bad {
        assert!(feed(&[text]).is_err(), "{text:x?}");
        for cut in 0..=text.len() {
            assert!(
                feed(&[&text[..cut], &text[cut..]]).is_err(),
                "{text:x?} at {cut}"
            );
        }
        assert!(
            feed(&text.chunks(1).collect::<Vec<_>>()).is_err(),
            "{text:x?}"
        );
    }
}

/// [6.4]
#[test]
fn text_is_refused_in_the_first_fragment_that_spoils_it() {
    let good = "κόσμε".as_bytes();
    assert_eq!(feed(&[good, b"\xF4\x90", b"edited", b""]), Err(1));
    // The first byte that cannot follow is in the next fragment.
    assert_eq!(feed(&[good, b"\xF4", b"\x90", b"\x80\x80", b""]), Err(2));
    assert_eq!(feed(&[b"\xE1", b"", b"\xBD", b"x", b""]), Err(3));
    // A character cut by the end of the message.
    assert_eq!(feed(&[b"a\xE1", b"\xBD", b""]), Err(2));
}

#[test]
fn a_message_begins_with_no_character_left_from_the_one_before() {
    let mut assembly = Assembly::default();
    accept(&mut assembly, true, Opcode::Text).unwrap();
    assert!(assembly.check_text(b"\xE1\xBD\xB9", true).is_ok());
    accept(&mut assembly, true, Opcode::Text).unwrap();
    assert!(assembly.check_text(b"x", true).is_ok());
}

proptest! {
    #[test]
    fn text_is_judged_as_a_whole_however_it_is_cut(
        text in prop_oneof![vec(any::<u8>(), 0..8), any::<String>().prop_map(String::into_bytes)],
        noise in proptest::option::of((any::<usize>(), any::<u8>())),
        cuts in vec(any::<usize>(), 0..6),
    ) {
        let mut text = text;
        if let Some((at, byte)) = noise && !text.is_empty() {
            let at = at % text.len();
            text[at] = byte;
        }
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (text.len() + 1)).collect();
        cuts.sort_unstable();
        cuts.insert(0, 0);
        cuts.push(text.len());
        let parts: Vec<&[u8]> = cuts.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
        let fed = feed(&parts);
        match std::str::from_utf8(&text) {
            Ok(_) => prop_assert_eq!(fed, Ok(())),
            // Told in the fragment that has the first byte that does not fit, and not later.
            Err(error) => {
                let spoils = error.error_len().map_or(text.len(), |_| {
                    (error.valid_up_to()..text.len())
                        .find(|&at| std::str::from_utf8(&text[error.valid_up_to()..=at])
                            .is_err_and(|error| error.error_len().is_some()))
                        .unwrap()
                });
                let expected = cuts[1..].iter().position(|&end| end > spoils);
                prop_assert_eq!(fed, Err(expected.unwrap_or(parts.len() - 1)));
            }
        }
    }
}
