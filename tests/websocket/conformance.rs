//! The cases of the Autobahn test suite, against a live listener. A broker does not echo, so another
//! member of the channel sees what would come back. Numbers are those of the suite's sections.

use crate::common::websocket::{BINARY, CLOSE, FIN, PING, PONG, TEXT, close, frame, quiet};
use crate::protocol_case::{Case, Cut, case, run};

const SIZES: [usize; 8] = [0, 1, 125, 126, 127, 128, 65_535, 65_536];

/// [1.1, 1.2]
#[test]
fn framing() {
    let of_size = |first, n| case(format!("{n} bytes")).message(first, &vec![b'*'; n]);
    let cases = SIZES
        .iter()
        .flat_map(|&n| [of_size(TEXT, n), of_size(BINARY, n)]);
    let cut = [997, 1].map(|cut| of_size(TEXT, 65_536).cut(Cut::Bytes(cut)));
    run(quiet(), cases.chain(cut));
}

/// [2]
#[test]
fn pings_and_pongs() {
    let ten = (0u8..10).fold(case("ten pings"), |case, i| case.ping(&[b'p', i]));
    let long = case("125 bytes").ping(&[0xFE; 125]);
    run(
        quiet(),
        [
            case("empty").ping(b""),
            case("text").ping(b"Hello, world!"),
            case("binary").ping(b"\x00\xFF\xFE\xFD\xFC\xFB\x00\xFF"),
            long.clone(),
            long.cut(Cut::Bytes(1)),
            case("126 bytes").frame(PING, &[0xFE; 126]).ends(1002),
            case("pong of 126 bytes")
                .frame(PONG, &[0xFE; 126])
                .ends(1002),
            case("pong that nobody asked for").frame(PONG, b""),
            case("with payload").frame(PONG, b"unsolicited"),
            case("then a ping")
                .frame(PONG, b"unsolicited")
                .ping(b"ping"),
            ten.clone(),
            ten.cut(Cut::Bytes(1)),
        ],
    );
}

/// [3]
#[test]
fn reserved_bits() {
    let hello = || case("reserved").message(TEXT, b"Hello, world!");
    let behind = |first: u8, bits: u8, payload: &[u8]| {
        let bad = hello().frame(first | bits << 4, payload);
        bad.frame(PING, b"").ends(1002).cut_in_all_ways()
    };
    let first = (1..8).map(|bits| case("at once").frame(TEXT | bits << 4, b"x").ends(1002));
    let cases = [
        behind(TEXT, 2, b"Hello"),
        behind(TEXT, 3, b""),
        behind(TEXT, 4, b"Hello"),
        behind(BINARY, 5, b"\x00\xFF\xFE"),
        behind(PING, 6, b"Hello"),
        behind(CLOSE, 7, b""),
    ];
    run(quiet(), first.chain(cases.into_iter().flatten()));
}

/// [4]
#[test]
fn reserved_opcodes() {
    let cases = [3, 4, 5, 6, 7, 11, 12, 13, 14, 15]
        .into_iter()
        .flat_map(|opcode| {
            let named = |with| case(format!("opcode {opcode}, {with}"));
            let good = named("behind text").message(TEXT, b"Hello, world!");
            let behind = good.frame(FIN | opcode, b"x").frame(PING, b"").ends(1002);
            let [once, frames, bytes] = behind.cut_in_all_ways();
            let empty = named("empty").frame(FIN | opcode, b"").ends(1002);
            [
                empty,
                named("a fragment").frame(opcode, b"x").ends(1002),
                once,
                frames,
                bytes,
            ]
        });
    run(quiet(), cases);
}

/// [5.3–5.8, 5.19, 5.20]
#[test]
fn fragments() {
    let whole = |c: Case| c.sees(TEXT, b"fragment1fragment2");
    let two = whole(case("two").fragments(TEXT, [&b"fragment1"[..], b"fragment2"]));
    let with_ping = case("a ping inside")
        .frame(TEXT & !FIN, b"fragment1")
        .ping(b"ping");
    let with_ping = whole(with_ping.frame(FIN, b"fragment2"));
    let mut five = case("five with pings").frame(TEXT & !FIN, b"fragment1");
    for i in 2..=5 {
        five = five
            .ping(&[i])
            .frame(if i == 5 { FIN } else { 0 }, &[b'0' + i]);
    }
    let five = five.sees(TEXT, b"fragment12345");
    let pong = case("a pong inside")
        .frame(BINARY & !FIN, b"a")
        .frame(PONG, b"");
    let cases = [
        two,
        with_ping,
        five,
        pong.frame(FIN, b"b").sees(BINARY, b"ab"),
        case("empty ones")
            .fragments(BINARY, [&b""[..]; 5])
            .sees(BINARY, b""),
    ];
    run(quiet(), cases.iter().flat_map(Case::cut_in_all_ways));
}

/// [5.1, 5.2, 5.9–5.18]
#[test]
fn fragments_out_of_order() {
    let hello = |c: Case| c.message(TEXT, b"Hello, world!");
    let two = |c: Case| c.fragments(TEXT, [&b"a"[..], b"b"]).sees(TEXT, b"ab");
    let cases = [
        case("ping").frame(PING & !FIN, b"a").frame(FIN, b"b"),
        case("pong").frame(PONG & !FIN, b"a").frame(FIN, b"b"),
        case("close").frame(CLOSE & !FIN, &close(1000, "")),
        case("last of nothing").frame(FIN, b"x").frame(TEXT, b"y"),
        case("middle of nothing").frame(0, b"x").frame(TEXT, b"y"),
        hello(case("last behind a message")).frame(FIN, b"x"),
        two(case("middle behind fragments"))
            .frame(0, b"x")
            .frame(TEXT, b"y"),
        two(case("last behind fragments"))
            .frame(FIN, b"x")
            .frame(TEXT, b"y"),
        case("text in text")
            .frame(TEXT & !FIN, b"a")
            .frame(TEXT, b"b"),
        case("binary in text")
            .frame(TEXT & !FIN, b"a")
            .frame(BINARY, b"b"),
        case("begins twice")
            .frame(TEXT & !FIN, b"a")
            .frame(TEXT & !FIN, b"b"),
    ];
    let cases = cases.map(|case| case.ends(1002).cut_in_all_ways());
    run(quiet(), cases.into_iter().flatten());
}

/// [7.1, 7.3.1, 7.3.3–7.3.5]
#[test]
fn closes() {
    let closed = |name: &str| case(name).frame(CLOSE, &close(1000, "")).ends(1000);
    let max = close(1000, &"*".repeat(123));
    run(
        quiet(),
        [
            case("behind a message")
                .message(TEXT, b"hi")
                .frame(CLOSE, &close(1000, ""))
                .ends(1000),
            closed("twice").frame(CLOSE, &close(1000, "")),
            closed("a ping behind it").frame(PING, b"x"),
            closed("text behind it").frame(TEXT, b"x"),
            closed("rubbish behind it").raw(&[0xFF; 100]),
            closed("the end of a message behind it").frame(FIN, b"x"),
            case("inside of a message")
                .frame(TEXT & !FIN, b"a")
                .frame(CLOSE, &close(1000, ""))
                .ends(1000),
            case("behind much")
                .message(TEXT, &[b'*'; 256 << 10])
                .frame(CLOSE, &close(1000, ""))
                .frame(PING, b"x")
                .ends(1000),
            case("without a code").frame(CLOSE, b"").ends(1005),
            case("with a reason")
                .frame(CLOSE, &close(1000, "é€"))
                .ends(1000),
            case("with the longest reason")
                .frame(CLOSE, &max)
                .ends(1000),
            case("byte by byte")
                .frame(CLOSE, &max)
                .ends(1000)
                .cut(Cut::Bytes(1)),
        ],
    );
}

/// [7.3.2, 7.3.6, 7.5, 7.7, 7.9, 7.13]
#[test]
fn codes_and_reasons() {
    const GOOD: [u16; 16] = [
        1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000,
        4999,
    ];
    const BAD: [u16; 12] = [
        0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535,
    ];
    let with = |code, end| {
        case(format!("{code}"))
            .frame(CLOSE, &close(code, "x"))
            .ends(end)
    };
    let good = GOOD.into_iter().map(|code| with(code, code));
    let bad = BAD.into_iter().map(|code| with(code, 1002));
    let not_utf8 = [
        &b"\x03\xE8"[..],
        b"\xCE\xBA\xE1\xBD\xB9\xCF\x83\xED\xA0\x80",
    ]
    .concat();
    let others = [
        case("half a code").frame(CLOSE, b"\x03").ends(1002),
        case("a reason too long")
            .frame(CLOSE, &close(1000, &"*".repeat(124)))
            .ends(1002),
        case("a reason that is not UTF-8")
            .frame(CLOSE, &not_utf8)
            .ends(1007),
        case("a reason with half a character")
            .frame(CLOSE, b"\x03\xE8\xE2\x82")
            .ends(1007),
    ];
    run(quiet(), good.chain(bad).chain(others));
}

/// [9.1–9.6] Large messages, whole, in fragments, and cut.
#[test]
fn large_messages() {
    const MIB: usize = 1 << 20;
    let whole = [64 << 10, 256 << 10, MIB, 4 * MIB]
        .into_iter()
        .flat_map(|n| {
            [TEXT, BINARY].map(|first| case(format!("{n} bytes")).message(first, &vec![b'*'; n]))
        });
    let fragmented = [256, 4 << 10, 64 << 10, MIB].into_iter().flat_map(|n| {
        let message = vec![b'*'; 2 * MIB];
        [TEXT, BINARY].map(|first| {
            let case = case(format!("fragments of {n} bytes"));
            case.fragments(first, message.chunks(n))
                .sees(first, &message)
        })
    });
    let cut = [256, 2048].into_iter().map(|n| {
        let case = case("a MiB").message(TEXT, &vec![b'*'; MIB]);
        case.cut(Cut::Bytes(n))
    });
    run(quiet(), whole.chain(fragmented).chain(cut));
}

/// [9.7, 9.8] Many small messages.
#[test]
fn many_messages() {
    let cases = [0, 16, 64, 256, 1024].into_iter().flat_map(|n| {
        [TEXT, BINARY].map(|first| {
            let case = case(format!("of {n} bytes"));
            (0..1000).fold(case, |case, _| case.message(first, &vec![b'*'; n]))
        })
    });
    run(quiet(), cases);
}

/// What is over the limit is refused as soon as that is known.
#[test]
fn limits() {
    const MAX: usize = 100_000;
    let mut settings = quiet();
    settings.websocket.max_message = MAX;
    let long = vec![b'*'; MAX + 1];
    let huge = |first: u8| [&[first, 0xFF][..], &(u64::MAX >> 1).to_be_bytes()].concat();
    let head = |n: usize| frame(BINARY, &vec![0; n])[..14].to_vec();
    run(
        settings,
        [
            case("the largest").message(TEXT, &long[1..]),
            case("the largest in fragments")
                .fragments(TEXT, long[1..].chunks(999))
                .sees(TEXT, &long[1..]),
            case("a byte more, of which nothing comes")
                .raw(&head(MAX + 1))
                .ends(1009),
            case("a byte more in the last fragment")
                .fragments(BINARY, [&long[1..], b"x"])
                .ends(1009),
            case("a fragment that is too long")
                .frame(BINARY & !FIN, &long)
                .ends(1009),
            case("the largest length").raw(&huge(TEXT)).ends(1009),
            case("the largest length of a ping")
                .raw(&huge(PING))
                .ends(1002),
            case("a length of 64 bits")
                .raw(b"\x82\xFF\xFF\xFF")
                .ends(1002),
            case("a length that could be shorter")
                .raw(b"\x82\xFE\x00\x7D")
                .ends(1002),
            case("one of 8 bytes")
                .raw(b"\x82\xFF\0\0\0\0\0\0\xFF\xFF")
                .ends(1002),
            case("no mask").raw(b"\x81\x02hi").ends(1002),
            case("no mask on an empty frame")
                .raw(b"\x82\x00")
                .ends(1002),
        ],
    );
}
