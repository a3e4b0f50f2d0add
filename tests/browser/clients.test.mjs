// Programs in JavaScript as clients of the server: Node with the module, as the documentation shows it, and pages of
// others.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { launch, noBrowser, open } from "./support/browser.mjs";
import { noNode, runModule } from "./support/node.mjs";
import { noServer, serve } from "./support/server.mjs";
import { V1Client } from "./support/v1.mjs";

/** A server that is stopped when the test is over. */
async function server(t, options = [], env = {}) {
  const running = await serve(["--ws", "127.0.0.1:0", ...options], env);
  t.after(() => running.stop());
  await running.says(/https?:\/\/\S+ in a browser/);
  return running;
}

const README = readFileSync(new URL("../../README.md", import.meta.url), "utf8");

test("README's program in JavaScript runs in Node, with the module as it is served", { skip: noNode || noServer }, async (t) => {
  const { web, tcp } = await server(t);
  const bob = await V1Client.join(tcp, "bob", "room");
  t.after(() => bob.close());
  const [, program] = /^```js\n([^]*?)^```$/m.exec(README);
  const served = await (await fetch(`http://${web}/mles.js`)).text();
  const running = runModule(t, program.replaceAll("127.0.0.1:8076", web), { "mles.js": served });
  await bob.receives("alice", "room", "hello");
  bob.publish("hello, alice");
  await running.says(/^bob: hello, alice$/m);
});

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

/** A server elsewhere of the page that `html` returns. Returns its origin. */
async function elsewhere(t, html) {
  const http = createServer((_, response) => response.setHeader("content-type", "text/html").end(html()));
  http.listen(0, "127.0.0.1");
  await once(http, "listening");
  t.after(() => http.close());
  return `http://127.0.0.1:${http.address().port}`;
}

const PAGE = (web) => `<!doctype html><title>elsewhere</title><link rel="icon" href="data:,">
<script type="module">
  import { join } from "http://${web}/mles.js";
  const channel = await join({ url: "http://${web}", channel: "room", uid: "page" });
  for await (const event of channel) if (event.type === "message") document.title = event.text;
</script>`;

test("a page of another origin imports the module and joins, if it may", { skip: noBrowser || noServer }, async (t) => {
  let html = "";
  const origin = await elsewhere(t, () => html);
  const { web, tcp } = await server(t, ["--ws-origin", origin]);
  html = PAGE(web);
  const browser = await launch();
  t.after(() => browser.close());
  const bob = await V1Client.join(tcp, "bob", "room");
  t.after(() => bob.close());
  bob.publish("to all");
  const { page, trouble } = await open(browser, origin);
  await page.waitForFunction(() => document.title === "to all");
  assert.deepEqual(trouble, []);
});
