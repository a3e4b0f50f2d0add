// A stand-in for the admin listener: its answers are those of tests/data/admin, with counters that grow. It refuses,
// breaks off and restarts on command.

import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { once } from "node:events";

const ROOT = new URL("../../../", import.meta.url);
const TYPES = { html: "text/html", css: "text/css", js: "text/javascript", svg: "image/svg+xml" };
const POLICY = [
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'",
  "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
].join("; ");

/** The answer that tests/data/admin has under `name`. */
export function answer(name) {
  return JSON.parse(readFileSync(new URL(`tests/data/admin/${name}.json`, ROOT), "utf8"));
}

/** Starts one on a port of the system's choice. */
export async function startAdmin() {
  const admin = new Admin();
  await admin.start(0);
  return admin;
}

const ANSWERS = ["server", "shards", "channels", "sessions", "links", "bans"];

class Admin {
  #http;
  /** What each path below /api/ answers; a test may change it. */
  answers = Object.fromEntries(ANSWERS.map((name) => [name, answer(name)]));
  channel = answer("channel");
  /** How much each counter grows from one answer to the next. */
  growth = { frames_in: 250, deliveries: 9_000, bytes_in: 20_000 };
  /** The token that is asked for; empty for none. */
  token = "";
  /** The requests that change something: `METHOD path`. */
  done = [];
  /** The requests that read something: path and query. */
  asked = [];
  /** What an action answers: a status, or 0 for the usual. */
  refuses = 0;

  async start(port) {
    this.#http = createServer((request, response) => this.#serve(request, response));
    this.#http.listen(port, "127.0.0.1");
    await once(this.#http, "listening");
    this.port = this.#http.address().port;
  }

  get address() {
    return `127.0.0.1:${this.port}`;
  }

  #serve(request, response) {
    const { pathname, search } = new URL(request.url, "http://localhost");
    if (!pathname.startsWith("/api/")) {
      serveFile(pathname, response);
    } else if (this.token && request.headers.authorization !== `Bearer ${this.token}`) {
      fail(response, 401, "the token is wrong");
    } else if (request.method === "GET") {
      this.#read(pathname.slice("/api/".length), search, response);
    } else {
      this.#act(`${request.method} ${pathname}`, response);
    }
  }

  #read(path, search, response) {
    this.asked.push(path + search);
    const [collection, name] = path.split("/");
    if (path === "server") this.#grow();
    if (collection === "channels" && name !== undefined) {
      if (decodeURIComponent(name) === this.channel.name) give(response, this.channel);
      else fail(response, 404, "there is no such channel");
    } else if (path in this.answers) {
      give(response, this.answers[path]);
    } else {
      fail(response, 404, "there is nothing here");
    }
  }

  #grow() {
    const { server, shards } = this.answers;
    const lists = [server.totals, ...(shards.shards ?? shards).map(({ counters }) => counters)];
    for (const counters of lists) {
      for (const [name, by] of Object.entries(this.growth)) counters[name] += by;
    }
  }

  #act(what, response) {
    this.done.push(what);
    if (this.refuses) fail(response, this.refuses, "line 3 of /etc/mles/mles.toml: unknown key");
    else if (what === "POST /api/reload") give(response, answer("reload"));
    else response.writeHead(204).end();
  }

  /** Breaks everything off and no longer listens. */
  async stop() {
    const closed = once(this.#http, "close");
    this.#http.close();
    this.#http.closeAllConnections();
    await closed;
  }
}

function give(response, value) {
  response.writeHead(200, { "content-type": "application/json" });
  response.end(JSON.stringify(value));
}

function fail(response, status, detail) {
  response.writeHead(status, { "content-type": "application/problem+json" });
  response.end(JSON.stringify({ title: "refused", status, detail }));
}

function serveFile(pathname, response) {
  const name = pathname === "/" ? "admin/index.html" : pathname.slice(1);
  try {
    const content = readFileSync(new URL(`web/${name}`, ROOT));
    const type = TYPES[name.split(".").pop()];
    response.writeHead(200, { "content-type": type, "content-security-policy": POLICY });
    response.end(content);
  } catch {
    response.writeHead(404).end();
  }
}
