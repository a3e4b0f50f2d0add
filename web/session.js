// One channel's connection: a WebSocket of its own that joins, is refused, breaks and comes back.

import { decodeBody, encodeBody, joinKey } from "./mles.js";

/** The largest body that a frame can carry, in bytes. */
const MAX_BODY = 0xff_ffff;
const SUBPROTOCOL = "mles-websocket";
const FIRST_WAIT = 500; // milliseconds
const LONGEST_WAIT = 30_000;
/** How long a session has to last until a break of it is not counted with the ones before. */
const STABLE = 10_000;
/** A server says nothing to a join it takes: silence for so long is a yes, in milliseconds. */
const ACCEPTED_AFTER = 400;

const CLOSE = { LEAVING: 1000, STOPPING: 1001, POLICY: 1008, TOO_BIG: 1009 };
const REFUSED = { KEY: 4401, SLOW: 4408, DUPLICATE: 4409 };

/** What closes tell a person, where a server gives no reason. */
const REASONS = {
  [CLOSE.STOPPING]: "The server is stopping.",
  [CLOSE.POLICY]: "The server does not accept this.",
  [CLOSE.TOO_BIG]: "The message was too large for the server.",
  [REFUSED.SLOW]: "This browser could not keep up with the channel.",
  [REFUSED.DUPLICATE]: "This name is already in the channel.",
};

/** Trying again changes nothing about these. */
const FINAL = new Set([1002, 1003, 1007, CLOSE.POLICY, REFUSED.KEY]);

/**
 * A session of one uid in one channel. `on` has what is told about it:
 * `state({ name, reason, until, needsKey })`, where `name` is joining, joined, waiting or refused
 * and `until` is when the next attempt is made; `begin(took)` and `end()` around each connection,
 * which took so many milliseconds to open; and `message({ uid, message })`.
 */
export class Session {
  #address;
  #identity;
  #on;
  #socket = null;
  /** Whether `begin` was called for it. */
  #open = false;
  #timer;
  #attempts = 0;
  #joinedAt = null;
  #everJoined = false;
  #state = { name: "joining" };

  /** `address` is the ws: or wss: URL of the server, a string. */
  constructor(address, identity, on) {
    this.#address = address;
    this.#identity = identity;
    this.#on = on;
  }

  get state() {
    return this.#state;
  }

  /** Connects now, whatever was planned. */
  start() {
    this.#drop();
    // Why the one before is gone stays true until this one is there.
    this.#tell({ name: "joining", reason: this.#state.reason });
    const { uid, channel, key } = this.#identity;
    const address = key ? `${this.#address}?auth=${joinKey(uid, channel, key)}` : this.#address;
    const socket = new WebSocket(address, SUBPROTOCOL);
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    this.#joinedAt = null;
    const begun = Date.now();
    const current = (react) => (event) => {
      if (socket === this.#socket) {
        react(event);
      }
    };
    socket.addEventListener("open", current(() => this.#opened(Date.now() - begun)));
    socket.addEventListener("message", current(({ data }) => this.#take(data)));
    socket.addEventListener("close", current(({ code, reason }) => this.#closed(code, reason)));
  }

  /** Leaves the channel for good. */
  stop() {
    this.#drop();
  }

  /** Connects at once if it is waiting to. */
  hurry() {
    if (this.#state.name === "waiting") {
      this.start();
    }
  }

  /** The network is gone: it is not waited for until the connection notices. */
  interrupt() {
    if (this.#socket !== null) {
      this.#drop();
      this.#wait("This device is offline.");
    }
  }

  /** Publishes `message`, bytes. Throws an Error that says why it cannot. */
  send(message) {
    if (this.#state.name !== "joined") {
      throw new Error("Not connected. Your message stays here until you are back.");
    }
    const { uid, channel } = this.#identity;
    const body = encodeBody({ uid, channel, message });
    if (body.length > MAX_BODY) {
      throw new Error("The message is too long: the limit is 16 MiB.");
    }
    this.#socket.send(body);
  }

  /** `took` is how long that was: at least two ways to the server and back. */
  #opened(took) {
    this.#open = true;
    this.#on.begin(took);
    const { uid, channel } = this.#identity;
    this.#socket.send(encodeBody({ uid, channel, message: new Uint8Array() }));
    this.#timer = setTimeout(() => this.#accepted(), ACCEPTED_AFTER + took);
  }

  #take(data) {
    let body;
    try {
      if (typeof data === "string") {
        throw new Error("text instead of bytes");
      }
      body = decodeBody(new Uint8Array(data));
    } catch (error) {
      console.warn(`left out what the server sent: ${error.message}`);
      return;
    }
    this.#accepted();
    if (body.channel === this.#identity.channel) {
      this.#on.message({ uid: body.uid, message: body.message });
    }
  }

  #accepted() {
    clearTimeout(this.#timer);
    if (this.#joinedAt === null) {
      this.#joinedAt = Date.now();
      this.#everJoined = true;
      this.#tell({ name: "joined" });
    }
  }

  #closed(code, said) {
    const reason = this.#reason(code, said);
    this.#drop();
    // The session before this one may linger until the server notices that it is gone.
    const taken = code === REFUSED.DUPLICATE && !this.#everJoined;
    if (FINAL.has(code) || taken) {
      this.#tell({ name: "refused", reason, needsKey: code === REFUSED.KEY });
    } else {
      this.#wait(reason);
    }
  }

  /** Why the server has closed the connection, for a person. */
  #reason(code, said) {
    if (code === REFUSED.KEY) {
      // A server says it in the words of the protocol.
      return this.#identity.key ? "The server does not accept this key." : "This server needs a key.";
    }
    return said || REASONS[code] || this.#failure();
  }

  /** Why a connection is gone of which nothing is known. */
  #failure() {
    if (this.#open) {
      return "The connection broke.";
    }
    // A browser does not tell a refusal to speak WebSocket from a server that is not there.
    const orNot = this.#everJoined ? "" : ", or does not accept connections from this page";
    return `The server cannot be reached${orNot}.`;
  }

  #wait(reason) {
    if (this.#joinedAt !== null && Date.now() - this.#joinedAt > STABLE) {
      this.#attempts = 0;
    }
    const most = Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** this.#attempts);
    this.#attempts += 1;
    // Between half and all of it, so that not everyone comes back in the same moment.
    const wait = most * (0.5 + Math.random() / 2);
    this.#timer = setTimeout(() => this.start(), wait);
    this.#tell({ name: "waiting", reason, until: Date.now() + wait });
  }

  /** Forgets the connection and what is planned. */
  #drop() {
    clearTimeout(this.#timer);
    this.#socket?.close(CLOSE.LEAVING);
    this.#socket = null;
    if (this.#open) {
      this.#open = false;
      this.#on.end();
    }
  }

  #tell(state) {
    this.#state = state;
    this.#on.state(state);
  }
}
