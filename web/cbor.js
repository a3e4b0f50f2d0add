// The CBOR of an Mles message body: a map of exactly `uid` (text), `channel` (text) and `message`
// (bytes). Anything else is refused, so that nothing is shown that other members do not see too.

const BYTES = 2;
const TEXT = 3;
const MAP = 5;

/** The largest body that a frame can carry, in bytes. */
export const MAX_BODY = 0xff_ffff;

/** A body that is not a message; `message` says what is wrong with it. */
export class BodyError extends Error {}

/** The body of a message as a Uint8Array; `message` is a Uint8Array, the others are strings. */
export function encode({ uid, channel, message }) {
  const utf8 = new TextEncoder();
  const parts = [head(MAP, 3)];
  const item = (major, bytes) => parts.push(head(major, bytes.length), bytes);
  item(TEXT, utf8.encode("uid"));
  item(TEXT, utf8.encode(uid));
  item(TEXT, utf8.encode("channel"));
  item(TEXT, utf8.encode(channel));
  item(TEXT, utf8.encode("message"));
  item(BYTES, message);
  return join(parts);
}

/** The head of an item, in the shortest of its encodings. */
function head(major, count) {
  const first = major << 5;
  if (count < 24) {
    return [first | count];
  }
  if (count < 0x100) {
    return [first | 24, count];
  }
  if (count < 0x1_0000) {
    return [first | 25, count >> 8, count & 0xff];
  }
  return [first | 26, count >>> 24, (count >> 16) & 0xff, (count >> 8) & 0xff, count & 0xff];
}

function join(parts) {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/**
 * The message in `bytes` (a Uint8Array). The keys come in any order and lengths in any encoding
 * of a definite length, as servers take them. Throws a BodyError.
 */
export function decode(bytes) {
  const reader = new Reader(bytes);
  const fields = {};
  const count = reader.head(MAP, "a map");
  for (let done = 0; done < count; done += 1) {
    const key = reader.text("a key");
    if (Object.hasOwn(fields, key)) {
      throw new BodyError(`the key "${key}" comes twice`);
    }
    if (key === "message") {
      fields[key] = reader.bytes(BYTES, "the message");
    } else if (key === "uid" || key === "channel") {
      fields[key] = reader.text(`the ${key}`);
    } else {
      throw new BodyError(`there is no key "${key.slice(0, 40)}" in a message`);
    }
  }
  for (const key of ["uid", "channel", "message"]) {
    if (!Object.hasOwn(fields, key)) {
      throw new BodyError(`the ${key} is missing`);
    }
  }
  if (!reader.done) {
    throw new BodyError("something follows the message");
  }
  return fields;
}

/** Reads one item after the other. */
class Reader {
  #bytes;
  #at = 0;

  constructor(bytes) {
    this.#bytes = bytes;
  }

  get done() {
    return this.#at === this.#bytes.length;
  }

  /** The count in the head of an item, which has to be of type `major`. */
  head(major, what) {
    const [first] = this.#take(1);
    if (first >> 5 !== major) {
      throw new BodyError(`${what} is of another type`);
    }
    const info = first & 0x1f;
    if (info < 24) {
      return info;
    }
    if (info > 27) {
      throw new BodyError(`${what} has no definite length`);
    }
    // Up to 8 bytes: what does not fit into a body anyway need not be exact.
    return this.#take(2 ** (info - 24)).reduce((count, byte) => count * 0x100 + byte, 0);
  }

  /** The content of a string of type `major`; it shares the memory of the body. */
  bytes(major, what) {
    return this.#take(this.head(major, what));
  }

  text(what) {
    const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
    const bytes = this.bytes(TEXT, what);
    try {
      return utf8.decode(bytes);
    } catch {
      throw new BodyError(`${what} is not UTF-8`);
    }
  }

  #take(count) {
    if (count > this.#bytes.length - this.#at) {
      throw new BodyError("the message ends too early");
    }
    this.#at += count;
    return this.#bytes.subarray(this.#at - count, this.#at);
  }
}
