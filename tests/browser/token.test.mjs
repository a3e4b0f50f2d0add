// Members of web/mles.js that show tokens, with the real server.

import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join as inFolder } from "node:path";
import { test } from "node:test";
import { Reader, joining, member } from "./support/channels.mjs";
import { noServer, serve } from "./support/server.mjs";

const README = readFileSync(new URL("../../README.md", import.meta.url), "utf8");
const SECRET = "a secret of more than thirty-two bytes";

const base64 = (bytes) => Buffer.from(bytes).toString("base64url");

/** A token for `uid` that is good for so many seconds. */
function token(uid, seconds, channels = ["*"]) {
  const claims = { sub: uid, exp: Date.now() / 1000 + seconds, channels };
  const signed = [{ alg: "HS256", typ: "JWT" }, claims].map((part) => base64(JSON.stringify(part))).join(".");
  return `${signed}.${createHmac("sha256", SECRET).update(signed).digest("base64url")}`;
}

/** A test with a server that accepts tokens until the very time at which they expire. */
function withServer(name, body) {
  test(name, { skip: noServer, timeout: 120_000 }, async (t) => {
    const folder = mkdtempSync(inFolder(tmpdir(), "mles-token-"));
    t.after(() => rmSync(folder, { recursive: true }));
    const key = inFolder(folder, "key");
    writeFileSync(key, SECRET, { mode: 0o600 });
    const config = inFolder(folder, "mles.toml");
    writeFileSync(config, `[token]\nkeys = [${JSON.stringify(key)}]\nleeway = "0s"\n`);
    const server = await serve(["--config", config, "--ws", "127.0.0.1:0"]);
    t.after(() => server.stop());
    await server.says(/https?:\/\/\S+ in a browser/);
    await body(server, t);
  });
}

withServer("a member stays beyond its first token, with the next ones that its function returns", async ({ web }, t) => {
  let asked = 0;
  const next = async () => {
    asked += 1;
    return token("alice", 2);
  };
  const alice = new Reader(await member(t, web, { token: next }));
  // Another one without a function shows that time passes.
  const bob = new Reader(await member(t, web, { uid: "bob", token: token("bob", 6) }));
  await bob.until(({ isOver }) => isOver);
  assert.equal(bob.error.closeCode, 4401);
  assert.equal(bob.error.message, "The server says: the token has expired.");
  assert.ok(asked >= 3, `asked ${asked} times`);
  const told = alice.all("token");
  assert.ok(told.length >= 3 && told.every(({ refused }) => refused === null), JSON.stringify(told));
  assert.deepEqual(alice.all("disconnected"), []);
  const carol = new Reader(await member(t, web, { uid: "carol", token: token("carol", 60) }));
  assert.notEqual(await alice.channel.publish("still here"), null);
  await carol.nth("message", 1);
  assert.deepEqual(carol.messages, ["alice: still here"]);
});

withServer("a token that comes too late is shown when the member joins again", async ({ web }, t) => {
  let late = token("alice", 1.5);
  const alice = new Reader(await member(t, web, { token: () => late }));
  const { code } = await alice.nth("disconnected", 1);
  assert.equal(code, 4401);
  late = token("alice", 60);
  const again = async () => {
    await alice.until(({ channel }) => {
      if (channel.state === "waiting") channel.reconnect();
      return channel.state === "joined";
    });
    return alice.all("joined").at(-1);
  };
  assert.equal((await again()).recovered, true);
});

withServer("a token that is refused is told, and the one before counts on", async ({ web }, t) => {
  const tokens = [token("alice", 6), token("bob", 60), token("alice", 60)];
  let at = 0;
  const next = () => tokens[Math.min(at++, tokens.length - 1)];
  const alice = new Reader(await member(t, web, { token: next }));
  const { refused, expiresAt } = await alice.nth("token", 2);
  assert.equal(refused, "the token is for another uid (sub)");
  assert.ok(expiresAt < Date.now() + 6000);
  const third = await alice.nth("token", 3);
  assert.ok(third.refused === null && third.expiresAt > Date.now() + 30_000);
  assert.deepEqual(alice.all("disconnected"), []);
});

withServer("a first token that is no good is final, and one that cannot be had is asked for again", async ({ web }, t) => {
  for (const [wrong, closeCode] of [
    ["garbage", 4401],
    [token("bob", 60), 4401],
    [token("alice", -60), 4401],
    [() => token("alice", -60), 4401],
    [() => token("alice", 60, ["elsewhere"]), 4403],
  ]) {
    await assert.rejects(member(t, web, { token: wrong }), { name: "MlesError", code: "refused", closeCode });
  }
  let fails = 2;
  const alice = new Reader(
    joining(t, web, {
      token: async () => {
        fails -= 1;
        if (fails >= 0) throw new Error("the login service is down");
        return token("alice", 60);
      },
    }),
  );
  const { reason } = await alice.nth("disconnected", 1);
  assert.equal(reason, "There is no token: the login service is down");
  await alice.nth("joined", 1);
  for (const wrong of [7, {}, true]) {
    assert.throws(() => joining(t, web, { token: wrong }), TypeError);
  }
});

withServer("README's program with a token joins", async ({ web }, t) => {
  const [, [, program]] = README.matchAll(/^```js\n([^]*?)^```$/gm);
  const AsyncFunction = (async () => {}).constructor;
  const run = new AsyncFunction("fetch", "join", `${program} return channel;`);
  const login = async () => ({ text: async () => token("alice", 60) });
  const channel = await run(login, (options) => member(t, web, { ...options, url: `http://${web}` }));
  assert.equal(channel.state, "joined");
});
