// The types of the module are those of what is in it.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import * as module from "../../web/mles.js";
import { Reader, joining } from "./support/channels.mjs";
import { startGateway } from "./support/gateway.mjs";

const DECLARATIONS = readFileSync(new URL("../../web/mles.d.ts", import.meta.url), "utf8");
const TSC = createRequire(import.meta.url).resolve("typescript/bin/tsc");
const USE = fileURLToPath(new URL("support/types.ts", import.meta.url));

test("the compiler takes what users write, and refuses mistakes", () => {
  const options = ["--noEmit", "--strict", "--target", "es2022", "--module", "nodenext", "--lib", "es2022,dom"];
  try {
    execFileSync(process.execPath, [TSC, ...options, USE], { stdio: "pipe" });
  } catch (error) {
    assert.fail(`${error.stdout}${error.stderr}`);
  }
});

test("what is exported has types, and nothing else has", () => {
  const declared = [...DECLARATIONS.matchAll(/^export (?:function|class) (\w+)/gm)].map(([, name]) => name);
  assert.deepEqual(declared.sort(), Object.keys(module).sort());
});

/** The names in an interface or a class. */
function namesIn(type) {
  const [, body] = new RegExp(`^export (?:interface|class) ${type}\\b[^{]*\\{\\n([^]*?)^\\}`, "m").exec(DECLARATIONS);
  return [...body.matchAll(/^ {2}(?:readonly )?(\w+)[(?:]/gm)].map(([, name]) => name).filter((name) => name !== "constructor");
}

test("events have what their types say", { timeout: 60_000 }, async (t) => {
  const gateway = await startGateway();
  t.after(() => gateway.stop());
  gateway.say("bob", "room", "hello");
  const alice = new Reader(joining(t, gateway.address, { members: 10 }));
  await alice.nth("members", 1);
  gateway.say("bob", "room", "");
  gateway.notify("room", { gap: { missed: 1 } });
  gateway.cut();
  await alice.nth("disconnected", 1);
  const types = {
    connecting: ["ConnectingEvent"],
    joined: ["JoinedEvent"],
    message: ["ChannelMessage"],
    gap: ["GapEvent"],
    live: ["LiveEvent"],
    presence: ["PresenceEvent"],
    members: ["MembersEvent", "Members"],
    disconnected: ["DisconnectedEvent"],
  };
  for (const [type, parts] of Object.entries(types)) {
    const event = await alice.nth(type, 1);
    const has = [...Object.keys(event), ...(type === "message" ? ["text"] : [])];
    assert.deepEqual(has.sort(), parts.flatMap(namesIn).sort(), type);
  }
  for (const name of namesIn("Channel")) assert.ok(name in alice.channel, name);
});
