// A stand-in for the server that does on command what the real one does rarely: refuse for a
// reason, break off in the middle, forget, keep receipts back. It serves the files of web/ under the
// same policy.

import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { once } from "node:events";
import { WebSocketServer } from "ws";
import { parse } from "./cbor.mjs";
import { body } from "./v1.mjs";

const WEB = new URL("../../../web/", import.meta.url);
const TYPES = { html: "text/html", css: "text/css", js: "text/javascript", svg: "image/svg+xml" };
const POLICY = [
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:",
  "connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
].join("; ");

/** Starts one on `port`, or on one of the system's choice. */
export async function startGateway(port = 0) {
  const gateway = new Gateway();
  await gateway.start(port);
  return gateway;
}

/** A channel: its last messages, and how many there have been. */
class Log {
  epoch = randomBytes(8).toString("hex");
  offset = 0;
  /** Bodies that a new member gets first. */
  kept = [];
  /** How many messages of a publisher have their place. */
  publishers = new Map();

  position(offset = this.offset) {
    return `${this.epoch}:${offset}`;
  }

  take(bytes, most) {
    this.offset += 1;
    this.kept = [...this.kept, bytes].slice(-most);
  }

  /** What a member gets that asks for what is behind `since`. */
  after(since) {
    const [epoch, offset] = since?.split(":") ?? [];
    const isKnown = epoch === this.epoch && Number(offset) <= this.offset;
    const wanted = isKnown ? this.offset - Number(offset) : Infinity;
    const replayed = this.kept.slice(-wanted || this.kept.length);
    if (!isKnown) return { replayed, recovered: since === undefined, missed: since === undefined ? 0 : undefined };
    const missed = wanted - replayed.length;
    return { replayed, recovered: missed === 0, missed };
  }
}

class Gateway {
  #http;
  #sessions = new Set();
  #logs = new Map();
  /** Gets the joining body and the URL; returns [code, reason] to refuse it. */
  refuse = () => null;
  /** Whether it gives positions to those who ask. */
  hasPositions = true;
  /** Whether it sends receipts. */
  hasReceipts = true;
  /** A promise that welcomes wait for. */
  delay = null;
  /** How many messages of a channel are kept. */
  keeps = 100;
  /** Messages that are longer make it close the connection. */
  longest = Infinity;

  async start(port) {
    this.#http = createServer((request, response) => serveFile(request.url, response));
    const sockets = new WebSocketServer({
      server: this.#http,
      handleProtocols: (offered) => offered.has("mles-websocket") && "mles-websocket",
    });
    sockets.on("connection", (socket, request) => this.#serve(socket, request.url));
    this.#http.listen(port, "127.0.0.1");
    await once(this.#http, "listening");
    this.port = this.#http.address().port;
  }

  get address() {
    return `127.0.0.1:${this.port}`;
  }

  #serve(socket, url) {
    let session = null;
    socket.on("message", async (bytes) => {
      if (socket.readyState !== socket.OPEN) return;
      const { resume, ...joining } = parse(bytes);
      if (session === null) {
        const refusal = this.refuse(joining, url);
        if (refusal) {
          socket.close(...refusal);
          return;
        }
        session = { socket, uid: joining.uid, channel: joining.channel, resume: this.hasPositions ? resume : null };
        await this.#join(session);
        this.#sessions.add(session);
        this.#tellMembers(session, { joined: [session.uid], left: [] });
      } else if (joining.message.length > this.longest) {
        socket.close(1009, "");
        return;
      }
      this.#pass(joining, session);
    });
    socket.on("close", () => {
      if (this.#sessions.delete(session)) this.#tellMembers(session, { joined: [], left: [session.uid] });
    });
  }

  async #join(session) {
    const { resume, channel } = session;
    const log = this.#log(channel);
    const { replayed, recovered, missed } = log.after(resume?.since);
    if (resume) {
      await this.delay;
      const published = log.publishers.get(resume.publisher);
      log.publishers.set(resume.publisher, published ?? 0);
      notify(session, { welcome: { position: log.position(), replay: replayed.length, recovered, missed, published } });
    }
    for (const old of replayed) session.socket.send(old);
    if (resume?.members) {
      const uids = [...this.#in(channel).map(({ uid }) => uid), session.uid];
      notify(session, { members: { count: uids.length, uids: uids.slice(0, Number(resume.members)) } });
    }
  }

  #tellMembers(who, changes) {
    const members = this.#in(who.channel);
    for (const session of members) {
      if (session !== who && session.resume?.members) {
        notify(session, { changes: { count: members.length, ...changes } });
      }
    }
  }

  #log(channel) {
    if (!this.#logs.has(channel)) this.#logs.set(channel, new Log());
    return this.#logs.get(channel);
  }

  #in(channel) {
    return [...this.#sessions].filter((session) => session.channel === channel);
  }

  #pass({ uid, channel, message }, sender) {
    const bytes = body(uid, channel, message);
    const log = this.#log(channel);
    if (message.length > 0) {
      log.take(bytes, this.keeps);
      const publisher = sender?.resume?.publisher;
      if (publisher !== undefined) {
        log.publishers.set(publisher, (log.publishers.get(publisher) ?? 0) + 1);
        if (this.hasReceipts) notify(sender, { receipt: { count: 1, position: log.position() } });
      }
    }
    for (const session of this.#in(channel)) {
      if (session !== sender) session.socket.send(bytes);
    }
  }

  /** How many sessions a channel has. */
  members(channel) {
    return this.#in(channel).length;
  }

  /** The texts of the messages that a channel keeps. */
  kept(channel) {
    return this.#log(channel).kept.map((bytes) => parse(bytes).message.toString());
  }

  /** Waits until `condition()` holds. */
  async until(condition, within = 10_000) {
    const deadline = Date.now() + within;
    while (!condition()) {
      if (Date.now() > deadline) {
        throw new Error(`not within ${within} ms: ${condition}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  /** Says something in a channel; `message` is a string or bytes. */
  say(uid, channel, message) {
    this.#pass({ uid, channel, message: Buffer.from(message) }, null);
  }

  /** Sends a notice to everyone in a channel that asks for positions, without a reason. */
  notify(channel, notice) {
    this.#in(channel).forEach((session) => notify(session, notice));
  }

  /** Forgets all channels, as a server that was restarted. */
  forget() {
    this.#logs.clear();
  }

  /** Forgets who has published how much. */
  forgetPublishers() {
    this.#logs.forEach((log) => log.publishers.clear());
  }

  /** Sends bytes as they are to everyone. */
  sendRaw(bytes) {
    for (const { socket } of this.#sessions) {
      socket.send(bytes);
    }
  }

  /** Ends all sessions with a code, and a reason if there is one. */
  closeAll(code, reason) {
    for (const { socket } of this.#sessions) {
      socket.close(code, reason);
    }
  }

  /** Breaks all connections off. */
  cut() {
    for (const { socket } of this.#sessions) {
      socket.terminate();
    }
  }

  /** Breaks everything off and no longer listens. */
  async stop() {
    this.cut();
    const closed = once(this.#http, "close");
    this.#http.close();
    this.#http.closeAllConnections();
    await closed;
  }
}

function notify({ socket, channel }, notice) {
  socket.send(JSON.stringify({ channel, ...notice }));
}

function serveFile(url, response) {
  const { pathname } = new URL(url, "http://localhost");
  const name = pathname === "/" ? "index.html" : pathname.slice(1);
  const type = TYPES[name.split(".").pop()];
  try {
    const content = readFileSync(new URL(name, WEB));
    response.writeHead(200, { "content-type": type, "content-security-policy": POLICY });
    response.end(content);
  } catch {
    response.writeHead(404).end();
  }
}
