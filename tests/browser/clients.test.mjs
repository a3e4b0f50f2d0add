// Programs in JavaScript as clients of the server.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { noServer, serve } from "./support/server.mjs";

/** A server that is stopped when the test is over. */
async function server(t, options = [], env = {}) {
  const running = await serve(["--ws", "127.0.0.1:0", ...options], env);
  t.after(() => running.stop());
  await running.says(/https?:\/\/\S+ in a browser/);
  return running;
}

test("the module and its types are served to everyone", { skip: noServer }, async (t) => {
  const { web } = await server(t);
  for (const [path, type] of [["mles.js", /^text\/javascript/], ["mles.d.ts", /^application\/typescript/]]) {
    const response = await fetch(`http://${web}/${path}`);
    assert.match(response.headers.get("content-type"), type);
    assert.equal(response.headers.get("access-control-allow-origin"), "*");
    assert.equal(response.headers.get("cache-control"), "no-cache");
    assert.equal(await response.text(), readFileSync(new URL(`../../web/${path}`, import.meta.url), "utf8"));
  }
  const page = await fetch(`http://${web}/app.js`);
  assert.equal(page.headers.get("access-control-allow-origin"), null);
});
