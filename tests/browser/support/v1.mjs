// A client of Mles v1 over TCP (IPv4), as small as a test needs it. Its CBOR is written out by hand, so
// that it does not share mistakes with the page's.

import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { connect } from "node:net";
import { siphash } from "../../../web/mles.js";

const HEADER = 16;

/** `count` as the head of a CBOR item of major type `major`. */
function head(major, count) {
  if (count < 24) return Buffer.from([(major << 5) | count]);
  if (count < 0x100) return Buffer.from([(major << 5) | 24, count]);
  if (count < 0x10000) return Buffer.from([(major << 5) | 25, count >> 8, count & 0xff]);
  const long = Buffer.from([(major << 5) | 26, 0, 0, 0, 0]);
  long.writeUInt32BE(count, 1);
  return long;
}

const item = (major, bytes) => Buffer.concat([head(major, bytes.length), bytes]);
const text = (value) => item(3, Buffer.from(value));

/** The CBOR body of a message; `message` is a string or bytes. */
export function body(uid, channel, message) {
  const bytes = item(2, Buffer.from(message));
  const fields = [text("uid"), text(uid), text("channel"), text(channel), text("message"), bytes];
  return Buffer.concat([Buffer.from([0xa3]), ...fields]);
}

/** The key of a header: the hash of strings with one byte 0xff behind each. */
function keyOf(...strings) {
  const end = Buffer.from([0xff]);
  return Buffer.from(siphash(Buffer.concat(strings.flatMap((s) => [Buffer.from(s), end]))), "hex");
}

/** A session of one (uid, channel) pair. */
export class V1Client {
  #socket;
  #cid = randomBytes(4);
  #key;
  #pair;
  #waiting = Buffer.alloc(0);
  /** The bodies that came, as Buffers, in order. */
  received = [];

  /** Joins `channel` at `address` (`host:port`); a server with a shared key wants that. */
  static async join(address, uid, channel, sharedKey) {
    const client = new V1Client();
    const { hostname, port } = new URL(`tcp://${address}`);
    client.#socket = connect(Number(port), hostname.replace(/[[\]]/g, ""));
    client.#socket.on("error", () => {}); // a close follows, which `closed` tells
    client.#socket.on("data", (bytes) => client.#take(bytes));
    await once(client.#socket, "connect");
    const { localAddress, localPort } = client.#socket;
    client.#pair = [uid, channel];
    client.#key = keyOf(sharedKey ?? `${localAddress}:${localPort}`, uid, channel);
    client.publish("");
    return client;
  }

  publish(message) {
    const frame = body(...this.#pair, message);
    const length = Buffer.from([0x4d, frame.length >> 16, (frame.length >> 8) & 0xff, frame.length & 0xff]);
    this.#socket.write(Buffer.concat([length, this.#cid, this.#key, frame]));
  }

  #take(bytes) {
    this.#waiting = Buffer.concat([this.#waiting, bytes]);
    while (this.#waiting.length >= HEADER) {
      const end = HEADER + this.#waiting.readUIntBE(1, 3);
      if (this.#waiting.length < end) return;
      this.received.push(this.#waiting.subarray(HEADER, end));
      this.#waiting = this.#waiting.subarray(end);
    }
  }

  /** Waits until this body has come. */
  async receives(uid, channel, message, within = 10_000) {
    const wanted = body(uid, channel, message);
    const deadline = Date.now() + within;
    while (!this.received.some((frame) => frame.equals(wanted))) {
      if (Date.now() > deadline) {
        throw new Error(`${uid} ${channel} ${message}: not among ${this.received.length} bodies`);
      }
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  get closed() {
    return this.#socket.destroyed;
  }

  close() {
    this.#socket.destroy();
  }
}
