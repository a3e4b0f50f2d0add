// Bodies as the reference library writes them, and everything that is none.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { decodeBody as decode, encodeBody as encode } from "../../web/mles.js";
import { parse } from "./support/cbor.mjs";
import { body } from "./support/v1.mjs";

const VECTORS = JSON.parse(readFileSync(new URL("../data/vectors-v1.json", import.meta.url), "utf8"));

const bytes = (hex) => new Uint8Array(Buffer.from(hex, "hex"));
const digits = (array) => Buffer.from(array).toString("hex");

test("messages are written and read as by the reference library", () => {
  assert.ok(VECTORS.messages.length > 0);
  for (const vector of VECTORS.messages) {
    const { uid, channel } = vector;
    const message = messageOf(vector);
    const encoded = encode({ uid, channel, message });
    assert.equal(encoded.length, vector.cbor_len);
    assert.ok(digits(encoded).startsWith(vector.cbor_prefix_hex));
    if (vector.cbor_hex) {
      assert.equal(digits(encoded), vector.cbor_hex);
      assert.deepEqual(decode(bytes(vector.cbor_hex)), { uid, channel, message });
    }
    assert.deepEqual(decode(encoded), { uid, channel, message });
  }
});

/** A long message is given as `07 x 65536`: a byte and how often it comes. */
function messageOf({ message_hex: hex }) {
  const [byte, times] = hex.split(" x ");
  return times === undefined ? bytes(hex) : new Uint8Array(Number(times)).fill(parseInt(byte, 16));
}

test("frames of the reference library hold what they should", () => {
  for (const { frame_hex: frame, uid, channel, message } of VECTORS.frames) {
    const decoded = decode(bytes(frame).subarray(16));
    assert.deepEqual([decoded.uid, decoded.channel], [uid, channel]);
    assert.equal(Buffer.from(decoded.message).toString(), message);
  }
});

test("every length is written in its shortest form", () => {
  for (const length of [0, 1, 23, 24, 255, 256, 65_535, 65_536, 100_000]) {
    const message = new Uint8Array(length).fill(7);
    const encoded = encode({ uid: "a", channel: "b", message });
    assert.equal(digits(encoded), body("a", "b", message).toString("hex"), `${length}`);
    assert.deepEqual(decode(encoded).message, message);
  }
});

const UID = "63756964"; // "uid"
const CHANNEL = "676368616e6e656c"; // "channel"
const MESSAGE = "676d657373616765"; // "message"

test("keys come in any order and lengths in any form", () => {
  const other = `a3${MESSAGE}580168${CHANNEL}79000162${UID}7a0000000161`;
  const wanted = { uid: "a", channel: "b", message: bytes("68") };
  assert.deepEqual({ ...decode(bytes(other)) }, wanted);
  const eight = `bb0000000000000003${UID}7b000000000000000161${CHANNEL}6162${MESSAGE}4168`;
  assert.deepEqual({ ...decode(bytes(eight)) }, wanted);
});

const REFUSED = {
  "nothing at all": "",
  "a list": "83616161624168",
  "a missing channel": `a2${UID}6161${MESSAGE}4168`,
  "a key that comes twice": `a3${UID}6161${UID}6161${MESSAGE}4168`,
  "a key too many": `a4${UID}6161${CHANNEL}6162${MESSAGE}41686178f6`,
  "a key of bytes": `a343756964${"6161"}${CHANNEL}6162${MESSAGE}4168`,
  "a message of text": `a3${UID}6161${CHANNEL}6162${MESSAGE}6168`,
  "a uid of bytes": `a3${UID}4161${CHANNEL}6162${MESSAGE}4168`,
  "a uid that is not UTF-8": `a3${UID}61ff${CHANNEL}6162${MESSAGE}4168`,
  "a message that ends too early": `a3${UID}6161${CHANNEL}6162${MESSAGE}4268`,
  "a length beyond everything": `a3${UID}6161${CHANNEL}6162${MESSAGE}5bffffffffffffffff68`,
  "more keys than there are bytes": `bbffffffffffffffff${UID}6161`,
  "an indefinite map": `bf${UID}6161${CHANNEL}6162${MESSAGE}4168ff`,
  "an indefinite message": `a3${UID}6161${CHANNEL}6162${MESSAGE}5f4168ff`,
  "a byte behind it": `a3${UID}6161${CHANNEL}6162${MESSAGE}416800`,
  "a resync": VECTORS.resync.cbor_hex,
};

for (const [what, hex] of Object.entries(REFUSED)) {
  test(`${what} is refused`, () => {
    assert.throws(() => decode(bytes(hex)), Error);
  });
}

test("no beginning of a message is a message", () => {
  const whole = encode({ uid: "alice", channel: "room", message: bytes("68656c6c6f") });
  for (let end = 0; end < whole.length; end += 1) {
    assert.throws(() => decode(whole.subarray(0, end)), Error, `${end} bytes`);
  }
});

test("the first body asks for positions", () => {
  const publisher = new Uint8Array([0, 1, 2, 3, 4, 5, 6, 255]);
  const first = { uid: "alice", channel: "room", message: new Uint8Array() };
  const parsed = (resume) => parse(encode({ ...first, resume })).resume;
  assert.deepEqual(parsed({ publisher }), { publisher: 0x0001_0203_0405_06ffn });
  const since = "00000000000000ff:18446744073709551615";
  const all = { since, publisher, members: 1_000 };
  assert.deepEqual(parsed(all), { since, publisher: 0x0001_0203_0405_06ffn, members: 1_000n });
});
