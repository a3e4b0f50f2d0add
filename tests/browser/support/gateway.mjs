// A stand-in for the server that does on command what the real one does rarely: refuse for a
// reason, break off in the middle, replay whatever is wanted. It serves the files of web/ under the
// same policy.

import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { once } from "node:events";
import { WebSocketServer } from "ws";
import { decode, encode } from "../../../web/cbor.js";

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

class Gateway {
  #http;
  #sessions = new Set();
  /** Bodies that a new member of a channel gets first. */
  history = new Map();
  /** Gets the joining body and the URL; returns [code, reason] to refuse it. */
  refuse = () => null;

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
    socket.on("message", (bytes) => {
      const body = decode(new Uint8Array(bytes));
      if (session === null) {
        const refusal = this.refuse(body, url);
        if (refusal) {
          socket.close(...refusal);
          return;
        }
        session = { socket, channel: body.channel };
        for (const old of this.history.get(body.channel) ?? []) {
          socket.send(old);
        }
        this.#sessions.add(session);
      }
      this.#pass(body, session);
    });
    socket.on("close", () => this.#sessions.delete(session));
  }

  #pass(body, sender) {
    const bytes = encode(body);
    if (body.message.length > 0) {
      const kept = [...(this.history.get(body.channel) ?? []), bytes];
      this.history.set(body.channel, kept.slice(-100));
    }
    for (const session of this.#sessions) {
      if (session !== sender && session.channel === body.channel) {
        session.socket.send(bytes);
      }
    }
  }

  /** How many sessions a channel has. */
  members(channel) {
    return [...this.#sessions].filter((session) => session.channel === channel).length;
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
    this.#pass({ uid, channel, message: new Uint8Array(Buffer.from(message)) }, null);
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

  /** Breaks everything off and no longer listens. */
  async stop() {
    for (const { socket } of this.#sessions) {
      socket.terminate();
    }
    const closed = once(this.#http, "close");
    this.#http.close();
    this.#http.closeAllConnections();
    await closed;
  }
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
