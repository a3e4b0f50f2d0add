// A client of Mles for browsers, and for Node from version 22 on.
//
//     import { join } from "http://127.0.0.1:8076/mles.js"; // in Node from a copy
//
//     const channel = await join({ url: "http://127.0.0.1:8076", channel: "room", uid: "alice" });
//     await channel.publish("hello");
//     for await (const event of channel) {
//       if (event.type === "message") console.log(event.uid, event.text);
//     }
//
// It speaks v1 over WebSocket and asks the server for positions: after a break it gets what it missed, or is told how
// much is gone, and sends again what has not taken its place. mles.d.ts says what each part is for.

const SUBPROTOCOL = "mles-websocket";
const FIRST_WAIT = 500; // milliseconds
const LONGEST_WAIT = 30_000;
/** How long a session has to last until a break of it is not counted with the ones before. */
const STABLE = 10_000;
const CONNECTED_WITHIN = 15_000;
/** A server without positions says nothing to a join it takes: silence for so long is a yes, in milliseconds. */
const SILENCE = 1_000;
/** How long a server that is known to give positions may take for its welcome. */
const WELCOME_WITHIN = 15_000;
/** How long before a token expires another one is asked for: at most that, and at most a quarter of its time. */
const TOKEN_LEAD = 60_000;
/** The shortest time between two times that a function is asked that has no other token. */
const TOKEN_WAIT = 200;
/** The longest time that timers can wait. */
const LONGEST_TIMER = 2 ** 31 - 1;

/** The largest body that a frame can carry, in bytes. */
const MAX_BODY = 0xff_ffff;
/** What is kept for a reader that is slow, and of messages that have no receipt. */
const MAX_KEPT = 10_000;
const MAX_KEPT_BYTES = 32 << 20;

const CLOSE = { LEAVING: 1000, STOPPING: 1001, POLICY: 1008, TOO_BIG: 1009 };
const REFUSED = { KEY: 4401, RIGHT: 4403, SLOW: 4408, DUPLICATE: 4409 };
/** Trying again changes nothing about these. */
const FINAL = new Set([1002, 1003, 1007, CLOSE.POLICY, REFUSED.KEY, REFUSED.RIGHT]);

/** What closes tell a person, where a server gives no reason. */
const REASONS = {
  [CLOSE.STOPPING]: "The server is stopping.",
  [CLOSE.POLICY]: "The server does not accept this.",
  [CLOSE.TOO_BIG]: "The message was too large for the server.",
  [REFUSED.RIGHT]: "A right is missing in this channel.",
  [REFUSED.SLOW]: "This client could not keep up with the channel.",
  [REFUSED.DUPLICATE]: "This name is already in the channel.",
};

/** What a server that stops says in its close about when to come back. */
const RETRY_AFTER = /retry after (\d+) ms/;

const utf8 = new TextEncoder();
const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export class MlesError extends Error {
  name = "MlesError";

  constructor(code, message, closeCode = null) {
    super(message);
    this.code = code;
    this.closeCode = closeCode;
  }
}

/** Joins a channel; rejects if the first attempt fails. */
export async function join(options) {
  const channel = new Channel(options);
  try {
    await channel.joined;
  } catch (error) {
    channel.close();
    throw error;
  }
  return channel;
}

class Message {
  type = "message";

  constructor(uid, data, position, replayed, own) {
    Object.assign(this, { uid, data, position, replayed, own });
  }

  get text() {
    try {
      return strictUtf8.decode(this.data);
    } catch {
      return null;
    }
  }
}

export class Channel {
  #url;
  #uid;
  #channel;
  #key;
  #limit;
  #WebSocket;
  #publisher = crypto.getRandomValues(new Uint8Array(8));
  #events = new Events();
  #outbox = new Outbox();
  #state = "connecting";
  #settleFirst;
  #socket = null;
  #timer;
  #attempts = 0;
  #joinedAt = null;
  #everJoined = false;
  /** Whether the server gives positions, as far as is known. */
  #isCounting = false;
  /** Where the client stands, as { epoch, offset }, and from where it goes on. */
  #position = null;
  /** Number of messages of a replay that are still to come. */
  #replay = 0;
  #afterGap = false;
  #members = null;
  /** The option, the token that was shown last, and the timer that asks for the next one. */
  #token;
  #shownToken = null;
  #tokenTimer;
  /** Whether names were left out because this client was too slow for them. */
  #missesNames = false;
  #online = () => this.reconnect();
  #offline = () => this.#socket && this.#retry("This device is offline.", null);

  constructor({ url, channel, uid, key = "", since = null, members = 0, token = null, WebSocket = globalThis.WebSocket }) {
    if (typeof WebSocket !== "function") {
      throw new TypeError("there is no WebSocket here: Node has it from version 22 on; or give the option `WebSocket`");
    }
    for (const [what, text] of Object.entries({ channel, uid })) {
      if (typeof text !== "string" || text === "") throw new TypeError(`\`${what}\` has to be a string that is not empty`);
    }
    if (!Number.isInteger(members) || members < 0 || members > 0xffff_ffff) {
      throw new TypeError("`members` has to be a number of names");
    }
    if (token !== null && typeof token !== "string" && typeof token !== "function") {
      throw new TypeError("`token` has to be a string, or a function that returns one");
    }
    this.#token = token;
    this.#url = new URL(url, globalThis.location?.href);
    this.#url.protocol = this.#url.protocol.replace(/^http/, "ws");
    this.#url.hash = "";
    if (key) this.#url.searchParams.append("auth", joinKey(uid, channel, key));
    this.#key = key;
    this.#channel = channel;
    this.#uid = uid;
    this.#limit = members;
    this.#WebSocket = WebSocket;
    this.#position = since === null ? null : parsePosition(since);
    this.joined = new Promise((resolve, reject) => {
      this.#settleFirst = { resolve, reject };
    });
    this.joined.catch(() => {}); // who does not wait for it reads the events
    globalThis.addEventListener?.("online", this.#online);
    globalThis.addEventListener?.("offline", this.#offline);
    this.#connect();
  }

  get state() {
    return this.#state;
  }

  get position() {
    return this.#isCounting ? positionText(this.#position) : null;
  }

  get members() {
    return this.#members && { ...this.#members, uids: [...this.#members.uids] };
  }

  [Symbol.asyncIterator]() {
    return { next: () => this.#events.next(), return: async () => ({ done: true, value: undefined }) };
  }

  async publish(data) {
    const message = bytesOf(data);
    if (message.length === 0) {
      throw new TypeError("a message must not be empty: an empty one only tells that somebody has joined");
    }
    if (this.#state === "closed") {
      throw new MlesError("closed", "the channel is closed");
    }
    const body = encodeBody({ uid: this.#uid, channel: this.#channel, message });
    if (body.length > MAX_BODY) {
      throw new MlesError("too-large", "The message is too long: the limit is 16 MiB.");
    }
    // Without receipts nothing else tells that the network is slower than the publisher.
    if (this.#socket?.bufferedAmount > MAX_KEPT_BYTES) throw full();
    const placed = this.#outbox.add(body.subarray(body.length - message.length), body);
    this.#flush();
    return placed;
  }

  reconnect() {
    if (this.#state === "waiting") this.#connect();
  }

  close() {
    this.#end(new MlesError("closed", "the channel was closed before the server confirmed the message"));
    this.#events.end(null);
  }

  #connect() {
    this.#drop();
    this.#state = "connecting";
    this.#events.push({ type: "connecting" });
    const socket = new this.#WebSocket(this.#url.href, SUBPROTOCOL);
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    const begun = Date.now();
    let isOpen = false;
    const on = (name, react) =>
      socket.addEventListener(name, (event) => {
        if (socket === this.#socket) react(event);
      });
    on("open", () => {
      isOpen = true;
      this.#opened(Date.now() - begun);
    });
    on("message", ({ data }) => (typeof data === "string" ? this.#takeText(data) : this.#takeBody(new Uint8Array(data))));
    on("error", () => {}); // a close follows
    on("close", ({ code, reason }) => this.#closed(code, reason, isOpen));
    this.#timer = setTimeout(() => this.#retry("The server does not answer.", null), CONNECTED_WITHIN);
  }

  /** `took` is how long that was: at least two ways to the server and back. */
  #opened(took) {
    if (this.#token === null) {
      this.#sendJoin(took, null);
      return;
    }
    const socket = this.#socket;
    this.#askForToken().then(
      (token) => {
        if (socket === this.#socket) this.#sendJoin(took, token);
      },
      (error) => {
        if (socket === this.#socket) this.#retry(`There is no token: ${error?.message ?? error}`, null);
      },
    );
  }

  async #askForToken() {
    const token = typeof this.#token === "function" ? await this.#token() : this.#token;
    if (typeof token !== "string") throw new TypeError("what `token` returned is no string");
    return token;
  }

  #sendJoin(took, token) {
    this.#shownToken = token;
    const since = this.#position && positionText(this.#position);
    const resume = { since, publisher: this.#publisher, members: this.#limit };
    const join = { uid: this.#uid, channel: this.#channel, message: new Uint8Array(), resume, token };
    this.#socket.send(encodeBody(join));
    clearTimeout(this.#timer);
    this.#timer = this.#isCounting
      ? setTimeout(() => this.#retry("The server does not answer.", null), WELCOME_WITHIN)
      : setTimeout(() => this.#joinPlainly(), SILENCE + took);
  }

  #takeText(text) {
    let notice;
    try {
      notice = JSON.parse(text);
    } catch {
      notice = {};
    }
    const { welcome, receipt, gap, members, changes, rights, token, stopping } = notice ?? {};
    if (welcome) this.#welcomed(welcome);
    else if (receipt) this.#receipt(receipt);
    else if (gap) this.#gap(gap);
    else if (members) this.#nameMembers(members);
    else if (changes) this.#changeMembers(changes);
    else if (rights) this.#events.push({ type: "rights", allowed: rights.allowed });
    else if (token) this.#tokenCounts(token);
    else if (!stopping) console.warn("mles: left out a text of the server that is no notice");
    // A receipt behind a gap gives the position of its last message only.
    this.#afterGap = Boolean(gap);
  }

  #tokenCounts({ ttl = null, refused = null }) {
    const end = ttl === null ? null : Date.now() + ttl;
    this.#events.push({ type: "token", expiresAt: end, refused });
    clearTimeout(this.#tokenTimer);
    if (end !== null && typeof this.#token === "function") {
      this.#refreshTokenIn(ttl - Math.min(ttl / 4, TOKEN_LEAD), end);
    }
  }

  #refreshTokenIn(wait, end) {
    this.#tokenTimer = setTimeout(() => this.#refreshToken(end), Math.min(wait, LONGEST_TIMER));
  }

  /** Shows another token in the place of the one that ends then, as soon as there is one. */
  async #refreshToken(end) {
    const socket = this.#socket;
    let token = this.#shownToken;
    try {
      token = await this.#askForToken();
    } catch (error) {
      console.warn(`mles: there is no new token: ${error?.message ?? error}`);
    }
    if (socket === null || socket !== this.#socket || this.#state !== "joined") return;
    if (token !== this.#shownToken) {
      this.#shownToken = token;
      // Bodies are binary: the server cannot take this for one. It answers with how long the token counts.
      socket.send(JSON.stringify({ token }));
      return;
    }
    const left = end - Date.now();
    if (left > 0) this.#refreshTokenIn(Math.max(left / 4, TOKEN_WAIT), end);
  }

  #welcomed(welcome) {
    if (this.#joinedAt !== null) {
      // It was taken for a server without positions, since it was slow. Now it is known, and begins anew.
      if (!this.#isCounting) this.#connect();
      this.#isCounting = true;
      return;
    }
    this.#isCounting = true;
    const { replay, recovered, missed = null, published = null } = welcome;
    const { epoch, offset } = parsePosition(welcome.position);
    this.#position = welcome.start ? parsePosition(welcome.start) : { epoch, offset: offset - replay };
    this.#replay = replay;
    this.#outbox.resume(epoch, published);
    this.#enter({ position: this.position, replay, recovered, missed });
    this.#caughtUp();
  }

  /** Goes on with a server that gives no positions. */
  #joinPlainly() {
    if (this.#joinedAt === null) {
      this.#isCounting = false;
      this.#outbox.resume(null, null);
      this.#enter({ position: null, replay: null, recovered: null, missed: null });
    }
  }

  #enter(joined) {
    clearTimeout(this.#timer);
    this.#joinedAt = Date.now();
    this.#everJoined = true;
    this.#state = "joined";
    this.#events.push({ type: "joined", ...joined });
    this.#settleFirst.resolve();
    this.#flush();
  }

  #flush() {
    if (this.#state === "joined") {
      this.#outbox.send(this.#isCounting ? this.#position.epoch : null, (body) => this.#socket.send(body));
    }
  }

  #takeBody(bytes) {
    this.#joinPlainly(); // a welcome would have come first
    this.#afterGap = false;
    let body = null;
    try {
      body = decodeBody(bytes);
    } catch (error) {
      console.warn(`mles: left out what the server sent: ${error.message}`);
    }
    if (body?.message.length === 0) {
      this.#events.push({ type: "presence", uid: body.uid });
      return;
    }
    const replayed = this.#isCounting ? this.#replay > 0 : null;
    this.#move(1);
    if (body !== null && body.channel === this.#channel) {
      const { uid, message } = body;
      const own = Boolean(replayed) && uid === this.#uid && this.#outbox.isReplayed(message, this.position);
      this.#events.push(new Message(uid, message, this.position, replayed, own));
    }
    if (replayed) this.#caughtUp();
  }

  /** Counts on by so many messages. */
  #move(count) {
    if (this.#isCounting) this.#position.offset += count;
    this.#replay = Math.max(0, this.#replay - count);
  }

  #caughtUp() {
    if (this.#replay === 0) {
      this.#outbox.replayIsOver();
      this.#events.push({ type: "live", position: this.position });
    }
  }

  #receipt({ count, position }) {
    this.#position = parsePosition(position);
    if (count === 0) return; // it only says where the next message is
    this.#outbox.confirm(count, this.#position, !this.#afterGap);
  }

  #gap({ missed, members = false }) {
    const isReplay = this.#replay > 0;
    this.#move(missed);
    this.#missesNames ||= members;
    // Without either, it only says that what the next receipt confirms does not follow one another.
    if (missed > 0 || members) this.#events.push({ type: "gap", missed, members, position: this.position });
    if (isReplay) this.#caughtUp();
  }

  #nameMembers({ count, uids }) {
    this.#missesNames = false;
    this.#setMembers(count, uids, { joined: uids, left: [] });
  }

  #changeMembers({ count, joined, left }) {
    const uids = [...(this.#members?.uids ?? [])];
    for (const uid of left) {
      const at = uids.indexOf(uid);
      if (at >= 0) uids.splice(at, 1);
    }
    // Not more than were asked for, however many come.
    uids.push(...joined.slice(0, Math.max(0, this.#limit - uids.length)));
    this.#setMembers(count, uids, { joined, left });
  }

  #setMembers(count, uids, changes) {
    this.#members = { count, uids, complete: uids.length === count && !this.#missesNames };
    this.#events.push({ type: "members", ...this.members, ...changes });
  }

  #closed(code, said, isOpen) {
    const reason = this.#explain(code, said, isOpen);
    // The session before this one may linger until the server notices that it is gone.
    const isTaken = code === REFUSED.DUPLICATE && !this.#everJoined;
    // It has counted until now, and the next one may do so again.
    const isOver = code === REFUSED.KEY && this.#joinedAt !== null && typeof this.#token === "function";
    if ((FINAL.has(code) && !isOver) || isTaken) {
      const error = new MlesError("refused", reason, code);
      this.#end(error);
      this.#events.end(error);
      return;
    }
    if (code === CLOSE.TOO_BIG) this.#outbox.wasTooLarge();
    const hint = code === CLOSE.STOPPING && RETRY_AFTER.exec(said);
    this.#retry(reason, code, hint ? Number(hint[1]) : null);
  }

  /** Why the server has closed the connection, for a person. */
  #explain(code, said, isOpen) {
    if (code === REFUSED.KEY && this.#token !== null) {
      return said ? `The server says: ${said}.` : "The server does not accept this token.";
    }
    if (code === REFUSED.KEY) {
      // A server says it in the words of the protocol.
      return this.#key ? "The server does not accept this key." : "This server needs a key.";
    }
    if (code === CLOSE.STOPPING) return REASONS[code];
    if (said || REASONS[code]) return said || REASONS[code];
    if (isOpen) return "The connection broke.";
    // A browser does not tell a refusal to speak WebSocket from a server that is not there.
    const orNot = this.#everJoined ? "" : ", or does not accept connections from this page";
    return `The server cannot be reached${globalThis.location ? orNot : ""}.`;
  }

  /**
   * Waits for the next attempt: as long as the server has asked for and up to a quarter more, else exponentially longer
   * and for a random part of that, so that not all come at once.
   */
  #retry(reason, code, after = null) {
    if (this.#joinedAt !== null && Date.now() - this.#joinedAt > STABLE) {
      this.#attempts = 0;
    }
    this.#drop();
    let wait = Math.random() * Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** this.#attempts);
    if (after === null) this.#attempts += 1;
    else wait = Math.min(LONGEST_WAIT, after * (1 + Math.random() / 4));
    this.#timer = setTimeout(() => this.#connect(), wait);
    this.#state = "waiting";
    this.#events.push({ type: "disconnected", reason, code, retryAt: Date.now() + wait });
    this.#settleFirst.reject(new MlesError("unreachable", reason, code));
  }

  /** Leaves for good; what has no receipt is rejected with `error`. */
  #end(error) {
    this.#drop();
    this.#state = "closed";
    globalThis.removeEventListener?.("online", this.#online);
    globalThis.removeEventListener?.("offline", this.#offline);
    this.#outbox.fail(error);
    this.#settleFirst.reject(error);
  }

  /** Forgets the connection and what is planned. */
  #drop() {
    clearTimeout(this.#timer);
    clearTimeout(this.#tokenTimer);
    this.#socket?.close(CLOSE.LEAVING);
    this.#socket = null;
    this.#joinedAt = null;
    this.#members = null;
  }
}

/** The events of a channel until they are read. What does not fit is left out, oldest first, and told as a gap. */
class Events {
  #queue = [];
  #bytes = 0;
  #readers = [];
  #isOver = false;
  #error = null;

  push(event) {
    if (this.#isOver) return;
    const reader = this.#readers.shift();
    if (reader) {
      reader.resolve({ done: false, value: event });
      return;
    }
    this.#queue.push(event);
    this.#bytes += event.data?.length ?? 0;
    if (this.#queue.length > MAX_KEPT || this.#bytes > MAX_KEPT_BYTES) this.#makeRoom();
  }

  /** Leaves out the older half. */
  #makeRoom() {
    const gap = { type: "gap", missed: 0, members: false, position: null };
    const count = Math.max(1, this.#queue.length >> 1);
    for (const event of this.#queue.splice(0, count)) {
      this.#bytes -= event.data?.length ?? 0;
      gap.position = event.position ?? gap.position;
      gap.members ||= event.type === "members" || Boolean(event.members);
      const missed = event.type === "message" ? 1 : event.missed;
      // The sum is not known if one of its parts is not.
      if (missed === null && event.recovered !== true) gap.missed = null;
      else if (gap.missed !== null) gap.missed += missed ?? 0;
    }
    this.#queue.unshift(gap);
  }

  next() {
    if (this.#queue.length > 0) {
      const event = this.#queue.shift();
      this.#bytes -= event.data?.length ?? 0;
      return Promise.resolve({ done: false, value: event });
    }
    if (!this.#isOver) {
      return new Promise((resolve, reject) => this.#readers.push({ resolve, reject }));
    }
    return this.#error ? Promise.reject(this.#error) : Promise.resolve({ done: true, value: undefined });
  }

  /** Nothing follows what is there already; then `error`, if there is one. */
  end(error) {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#error = error;
    for (const { resolve, reject } of this.#readers.splice(0)) {
      if (error) reject(error);
      else resolve({ done: true, value: undefined });
    }
  }
}

/** What was published and has no receipt yet, in order. */
class Outbox {
  /** Each with its `epoch` once it was sent: the order in which it may have its place. */
  #entries = [];
  #bytes = 0;
  /** How many of the entries were sent on this connection. */
  #sent = 0;
  /** How many messages of this publisher have their place, as far as is known. */
  #count = 0;
  /** Those that have their place, which is to be seen in the replay. */
  #placed = [];
  #wasTooLarge = false;

  /** Returns a promise of the position. */
  add(message, body) {
    if (this.#entries.length >= MAX_KEPT || this.#bytes + body.length > MAX_KEPT_BYTES) {
      throw full();
    }
    this.#bytes += body.length;
    return new Promise((resolve, reject) => this.#entries.push({ message, body, resolve, reject, epoch: undefined }));
  }

  /** Sends what was not sent. Without an epoch there will be no receipts. */
  send(epoch, send) {
    for (; this.#sent < this.#entries.length; this.#sent += 1) {
      const entry = this.#entries[this.#sent];
      entry.epoch = epoch;
      send(entry.body);
    }
    if (epoch === null) this.#take(this.#sent).forEach(({ resolve }) => resolve(null));
  }

  /** The next receipt has come, for `count` messages of which the last is at `position`. */
  confirm(count, { epoch, offset }, followOneAnother) {
    this.#count += count;
    const entries = this.#take(Math.min(count, this.#sent));
    entries.forEach(({ resolve }, at) => {
      const behind = entries.length - 1 - at;
      const isKnown = behind === 0 || followOneAnother;
      resolve(isKnown ? positionText({ epoch, offset: offset - behind }) : null);
    });
  }

  /** A new session has begun; `published` of this publisher's messages have their place, null if that is not known. */
  resume(epoch, published) {
    const old = this.#entries.filter((entry) => entry.epoch !== undefined);
    const isKnown = published !== null && published >= this.#count && old.every((entry) => entry.epoch === epoch);
    this.#sent = 0;
    if (isKnown) {
      this.#placed.push(...this.#take(Math.min(published - this.#count, old.length)));
    } else {
      this.#take(old.length).forEach(({ reject }) => reject(unconfirmed()));
    }
    if (this.#placed.some((entry) => entry.epoch !== epoch)) this.replayIsOver();
    this.#count = published ?? 0;
    this.#dropTooLarge();
  }

  /** Whether a replayed message of the same uid is one of those that had no receipt. */
  isReplayed(message, position) {
    const at = this.#placed.findIndex((entry) => isSame(entry.message, message));
    if (at < 0) return false;
    // Those before it are not in the replay.
    this.#placed.splice(0, at).forEach(({ resolve }) => resolve(null));
    this.#placed.shift().resolve(position);
    return true;
  }

  /** What was not in the replay has its place, but nobody knows which. */
  replayIsOver() {
    this.#placed.splice(0).forEach(({ resolve }) => resolve(null));
  }

  /** One of those that were sent has made the server close the connection. */
  wasTooLarge() {
    this.#wasTooLarge = true;
  }

  /** The server does not say which it was, and would close the connection again. The longest is too long for sure. */
  #dropTooLarge() {
    const sent = this.#wasTooLarge ? this.#entries.filter((entry) => entry.epoch !== undefined) : [];
    this.#wasTooLarge = false;
    if (sent.length === 0) return;
    const longest = sent.reduce((most, entry) => (entry.body.length > most.body.length ? entry : most));
    this.#entries.splice(this.#entries.indexOf(longest), 1);
    this.#bytes -= longest.body.length;
    longest.reject(new MlesError("too-large", REASONS[CLOSE.TOO_BIG], CLOSE.TOO_BIG));
  }

  fail(error) {
    this.#sent = 0;
    [...this.#placed.splice(0), ...this.#take(this.#entries.length)].forEach(({ reject }) => reject(error));
  }

  /** Takes out the first `count` entries. */
  #take(count) {
    const entries = this.#entries.splice(0, count);
    this.#sent = Math.max(0, this.#sent - entries.length);
    this.#bytes -= entries.reduce((sum, { body }) => sum + body.length, 0);
    return entries;
  }
}

/** `data` as bytes, which it may share. */
function bytesOf(data) {
  if (typeof data === "string") return utf8.encode(data);
  if (data instanceof Uint8Array) return data;
  if (data instanceof ArrayBuffer) return new Uint8Array(data);
  throw new TypeError("a message has to be a string, a Uint8Array or an ArrayBuffer");
}

const isSame = (a, b) => a.length === b.length && a.every((byte, at) => byte === b[at]);

const full = () => new MlesError("full", "too many messages wait for the server to take them");

function unconfirmed() {
  return new MlesError(
    "unconfirmed",
    "the connection broke before the message was confirmed, and the server does not know any more whether it got it",
  );
}

/** A position is an epoch and an offset; counting on in an epoch is right until the server gives a new one. */
function parsePosition(text) {
  const [, epoch, offset] = /^([0-9a-f]{16}):(\d+)$/.exec(text) ?? [];
  if (epoch === undefined) throw new TypeError(`not a position: ${text}`);
  return { epoch, offset: Number(offset) };
}

const positionText = ({ epoch, offset }) => `${epoch}:${offset}`;

// The CBOR of a body: a map of exactly `uid` (text), `channel` (text) and `message` (bytes), and `resume` (a map) and
// `token` (text) in the first one. Anything else is refused, so that nothing is shown that other members do not see too.

const BYTES = 2;
const TEXT = 3;
const MAP = 5;

/** The body of a message; `message` is a Uint8Array. With `resume` it asks for positions, with `token` it shows one. */
export function encodeBody({ uid, channel, message, resume = null, token = null }) {
  const parts = [head(MAP, 3 + (resume ? 1 : 0) + (token === null ? 0 : 1))];
  const item = (major, bytes) => parts.push(head(major, bytes.length), bytes);
  const text = (value) => item(TEXT, utf8.encode(value));
  text("uid");
  text(uid);
  text("channel");
  text(channel);
  text("message");
  item(BYTES, message);
  if (resume) {
    const { since, publisher, members } = resume;
    text("resume");
    parts.push(head(MAP, 1 + (since ? 1 : 0) + (members ? 1 : 0)));
    if (since) {
      text("since");
      text(since);
    }
    text("publisher");
    parts.push([0x1b], publisher); // an unsigned number of 8 bytes
    if (members) {
      text("members");
      parts.push(head(0, members));
    }
  }
  if (token !== null) {
    text("token");
    text(token);
  }
  return concatenate(parts);
}

/** The head of an item, in the shortest of its encodings. */
function head(major, count) {
  const first = major << 5;
  if (count < 24) return [first | count];
  if (count < 0x100) return [first | 24, count];
  if (count < 0x1_0000) return [first | 25, count >> 8, count & 0xff];
  return [first | 26, count >>> 24, (count >> 16) & 0xff, (count >> 8) & 0xff, count & 0xff];
}

function concatenate(parts) {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/**
 * The message in `bytes` (a Uint8Array), whose memory it shares. The keys come in any order and lengths in any
 * encoding of a definite length, as servers take them. Throws an Error that says what is wrong.
 */
export function decodeBody(bytes) {
  const reader = new Reader(bytes);
  const fields = {};
  const count = reader.head(MAP, "a map");
  for (let done = 0; done < count; done += 1) {
    const key = reader.text("a key");
    if (Object.hasOwn(fields, key)) {
      throw new Error(`the key "${key}" comes twice`);
    }
    if (key === "message") {
      fields[key] = reader.bytes(BYTES, "the message");
    } else if (key === "uid" || key === "channel") {
      fields[key] = reader.text(`the ${key}`);
    } else {
      throw new Error(`there is no key "${key.slice(0, 40)}" in a message`);
    }
  }
  for (const key of ["uid", "channel", "message"]) {
    if (!Object.hasOwn(fields, key)) {
      throw new Error(`the ${key} is missing`);
    }
  }
  if (!reader.done) {
    throw new Error("something follows the message");
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
      throw new Error(`${what} is of another type`);
    }
    const info = first & 0x1f;
    if (info < 24) {
      return info;
    }
    if (info > 27) {
      throw new Error(`${what} has no definite length`);
    }
    // Up to 8 bytes: what does not fit into a body anyway need not be exact.
    return this.#take(2 ** (info - 24)).reduce((count, byte) => count * 0x100 + byte, 0);
  }

  bytes(major, what) {
    return this.#take(this.head(major, what));
  }

  text(what) {
    const bytes = this.bytes(TEXT, what);
    try {
      return strictUtf8.decode(bytes);
    } catch {
      throw new Error(`${what} is not UTF-8`);
    }
  }

  #take(count) {
    if (count > this.#bytes.length - this.#at) {
      throw new Error("the message ends too early");
    }
    this.#at += count;
    return this.#bytes.subarray(this.#at - count, this.#at);
  }
}

// SipHash-2-4 with the all-zero key that Mles uses, over BigInts: a name and a key are short, so speed does not
// matter here.

const MASK = 0xffff_ffff_ffff_ffffn;

const add = (a, b) => (a + b) & MASK;
const rotate = (word, bits) => ((word << bits) | (word >> (64n - bits))) & MASK;

/** Rounds over the four words of the state. */
function rounds(v, count) {
  for (let done = 0; done < count; done += 1) {
    v[0] = add(v[0], v[1]);
    v[1] = rotate(v[1], 13n) ^ v[0];
    v[0] = rotate(v[0], 32n);
    v[2] = add(v[2], v[3]);
    v[3] = rotate(v[3], 16n) ^ v[2];
    v[0] = add(v[0], v[3]);
    v[3] = rotate(v[3], 21n) ^ v[0];
    v[2] = add(v[2], v[1]);
    v[1] = rotate(v[1], 17n) ^ v[2];
    v[2] = rotate(v[2], 32n);
  }
}

/** The hash of `bytes` (a Uint8Array), as 16 lower-case hex digits. */
export function siphash(bytes) {
  const v = [0x736f_6d65_7073_6575n, 0x646f_7261_6e64_6f6dn, 0x6c79_6765_6e65_7261n, 0x7465_6462_7974_6573n];
  // Whole words of eight bytes, the last one filled with zeros and the length modulo 256.
  const padded = new Uint8Array((Math.floor(bytes.length / 8) + 1) * 8);
  padded.set(bytes);
  padded[padded.length - 1] = bytes.length & 0xff;
  const words = new DataView(padded.buffer);
  for (let at = 0; at < padded.length; at += 8) {
    const word = words.getBigUint64(at, true);
    v[3] ^= word;
    rounds(v, 2);
    v[0] ^= word;
  }
  v[2] ^= 0xffn;
  rounds(v, 4);
  return (v[0] ^ v[1] ^ v[2] ^ v[3]).toString(16).padStart(16, "0");
}

/**
 * What a server with a shared key wants to see of someone who joins `channel` as `uid`, in `?auth=` of a URL: the
 * session key of Mles v1, the hash of the three, each with a byte 0xff behind it.
 */
export function joinKey(uid, channel, sharedKey) {
  const end = [0xff];
  const parts = [sharedKey, uid, channel].flatMap((part) => [utf8.encode(part), end]);
  return siphash(concatenate(parts));
}
