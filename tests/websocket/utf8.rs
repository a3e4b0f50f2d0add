//! UTF-8 in text: section 6 of the Autobahn test suite, against a live listener.

use crate::common;
use crate::common::websocket::{FIN, TEXT, Ws, quiet};
use crate::protocol_case::{Case, Cut, case, run};

/// The suite's text: "Hello-µ@ßöäüàá-UTF-8!!", and a Greek word.
const HELLO: &[u8] = "Hello-µ@ßöäüàá-UTF-8!!".as_bytes();
const WORD: &[u8] = "κόσμε".as_bytes();

/// Whole, in two fragments cut anywhere, and in fragments of a byte.
fn in_all_ways(text: &[u8], finish: impl Fn(Case) -> Case) -> Vec<Case> {
    let name = || case(text.escape_ascii().to_string());
    let mut cases = vec![finish(name().frame(TEXT, text))];
    for at in [1, text.len() / 2, text.len().saturating_sub(1)] {
        let (a, b) = text.split_at(at.min(text.len()));
        cases.push(finish(name().fragments(TEXT, [a, b])));
    }
    cases.push(finish(name().fragments(TEXT, text.chunks(1))));
    cases.push(finish(name().frame(TEXT, text)).cut(Cut::Bytes(1)));
    cases
}

fn assert_good(texts: &[&[u8]]) {
    let cases = texts
        .iter()
        .flat_map(|&text| in_all_ways(text, move |case| case.sees(TEXT, text)));
    run(quiet(), cases);
}

fn assert_bad(texts: &[&[u8]]) {
    let cases = texts
        .iter()
        .flat_map(|&text| in_all_ways(text, |case| case.ends(1007)));
    run(quiet(), cases);
}

/// [6.1]
#[test]
fn empty_text() {
    run(
        quiet(),
        [
            case("empty").message(TEXT, b""),
            case("in fragments")
                .fragments(TEXT, [&b""[..]; 3])
                .sees(TEXT, b""),
            case("one of three")
                .fragments(TEXT, [&b""[..], b"middle", b""])
                .sees(TEXT, b"middle"),
        ],
    );
}

/// [6.2, 6.5, 6.7, 6.9, 6.11, 6.22, 6.23]
#[test]
fn good_text() {
    assert_good(&[
        HELLO,
        WORD,
        b"\0",
        b"\x7F",
        b"\xC2\x80",
        b"\xDF\xBF",
        b"\xE0\xA0\x80",
        b"\xEF\xBF\xBF",
        b"\xF0\x90\x80\x80",
        b"\xF4\x8F\xBF\xBF",
        b"\xED\x9F\xBF",
        b"\xEE\x80\x80",
        b"\xEF\xBF\xBD",
        b"\xEF\xBF\xBE",
        b"\xF0\x9F\xBF\xBE",
        b"\xF0\x9F\xBF\xBF",
        b"\xF4\x8F\xBF\xBE",
    ]);
}

/// [6.3]
#[test]
fn text_with_a_surrogate_inside() {
    let edited = [WORD, b"\xED\xA0\x80edited"].concat();
    assert_bad(&[&edited]);
}

/// [6.6] Cut off, and good only at its ends.
#[test]
fn text_that_is_cut_off() {
    let is_whole = |n: &usize| std::str::from_utf8(&WORD[..*n]).is_ok();
    let (good, bad): (Vec<_>, Vec<_>) = (1..=WORD.len()).partition(is_whole);
    assert_eq!((good.len(), bad.len()), (5, 5));
    assert_good(&good.iter().map(|&n| &WORD[..n]).collect::<Vec<_>>());
    assert_bad(&bad.iter().map(|&n| &WORD[..n]).collect::<Vec<_>>());
}

/// [6.8, 6.10] Beyond what Unicode has.
#[test]
fn sequences_that_are_too_large() {
    assert_bad(&[
        b"\xF8\x88\x80\x80\x80",
        b"\xFC\x84\x80\x80\x80\x80",
        b"\xF7\xBF\xBF\xBF",
        b"\xFB\xBF\xBF\xBF\xBF",
        b"\xFD\xBF\xBF\xBF\xBF\xBF",
        b"\xF4\x90\x80\x80",
    ]);
}

/// [6.12–6.14] Bytes that only continue, and beginnings without an end.
#[test]
fn lone_bytes() {
    let all: Vec<u8> = (0x80..=0xBF).collect();
    let spaced = |range: std::ops::RangeInclusive<u8>| -> Vec<u8> {
        range.flat_map(|byte| [byte, b' ']).collect()
    };
    let (two, three) = (spaced(0xC0..=0xDF), spaced(0xE0..=0xEF));
    let (four, five) = (spaced(0xF0..=0xF7), spaced(0xF8..=0xFB));
    assert_bad(&[
        b"\x80",
        b"\xBF",
        b"\x80\xBF",
        b"\x80\xBF\x80",
        b"\x80\xBF\x80\xBF",
        &all,
        &two,
        &three,
        &four,
        &five,
        b"\xFC \xFD ",
    ]);
}

/// [6.15, 6.16]
#[test]
fn sequences_without_their_last_byte_and_impossible_bytes() {
    assert_bad(&[
        b"\xC0",
        b"\xE0\x80",
        b"\xF0\x80\x80",
        b"\xF8\x80\x80\x80",
        b"\xFC\x80\x80\x80\x80",
        b"\xDF",
        b"\xEF\xBF",
        b"\xF7\xBF\xBF",
        b"\xFB\xBF\xBF\xBF",
        b"\xFD\xBF\xBF\xBF\xBF",
        b"\xC0\xE0\x80\xF0\x80\x80",
        b"\xFE",
        b"\xFF",
        b"\xFE\xFE\xFF\xFF",
    ]);
}

/// [6.17–6.19]
#[test]
fn sequences_that_could_be_shorter() {
    assert_bad(&[
        b"\xC0\xAF",
        b"\xE0\x80\xAF",
        b"\xF0\x80\x80\xAF",
        b"\xF8\x80\x80\x80\xAF",
        b"\xFC\x80\x80\x80\x80\xAF",
        b"\xC1\xBF",
        b"\xE0\x9F\xBF",
        b"\xF0\x8F\xBF\xBF",
        b"\xF8\x87\xBF\xBF\xBF",
        b"\xFC\x83\xBF\xBF\xBF\xBF",
        b"\xC0\x80",
        b"\xE0\x80\x80",
        b"\xF0\x80\x80\x80",
    ]);
}

/// [6.20, 6.21]
#[test]
fn surrogates() {
    assert_bad(&[
        b"\xED\xA0\x80",
        b"\xED\xAD\xBF",
        b"\xED\xAE\x80",
        b"\xED\xAF\xBF",
        b"\xED\xB0\x80",
        b"\xED\xBE\x80",
        b"\xED\xBF\xBF",
        b"\xED\xA0\x80\xED\xB0\x80",
        b"\xED\xAF\xBF\xED\xBF\xBF",
    ]);
}

/// [6.4] It is told with the fragment that shows it, not with the end of the message.
#[test]
fn bad_text_is_found_before_its_end() {
    let broker = common::start(quiet());
    for (i, bad) in [&b"\xF4\x90"[..], b"\xED\xA0", b"\xFF", b"\x80"]
        .into_iter()
        .enumerate()
    {
        let mut ws = Ws::v2(&broker, &format!("client {i}"), "room");
        ws.send(TEXT & !FIN, WORD);
        ws.send(0, bad);
        ws.assert_closed(1007);
    }
}
