// The `loadgen` program, as it makes reports for tests.

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const TARGET = process.env.CARGO_TARGET_DIR ?? `${ROOT}target`;

/** The program under test: `LOADGEN_BIN`, else what `cargo build` made. */
const PROGRAM = process.env.LOADGEN_BIN ?? `${TARGET}/debug/loadgen`;
const DONE_WITHIN = 120_000; // milliseconds; generous, since machines that test are busy

/** Why tests with this program cannot run here, or false: the `skip` of a test. */
export const noLoadgen = existsSync(PROGRAM) ? false : `no program at ${PROGRAM}: cargo build first`;

/** Results of a real run that are kept with the documentation. */
export const KEPT = `${ROOT}docs/results/fan-out-2026-11-24.json`;

/**
 * Runs `loadgen` with `args` to its end. Runs that do not count, as on a machine that is busy, are
 * no failure: their report is shown too.
 */
export function loadgen(args) {
  return new Promise((resolve, reject) => {
    const child = spawn(PROGRAM, args, { stdio: ["ignore", "ignore", "pipe"], timeout: DONE_WITHIN });
    let said = "";
    child.stderr.on("data", (bytes) => (said += bytes));
    child.on("error", reject);
    child.on("close", (code) => {
      const isDone = code === 0 || (code === 1 && !said.includes("loadgen: "));
      if (isDone) resolve();
      else reject(new Error(`loadgen ${args.join(" ")} ended with ${code}: ${said}`));
    });
  });
}
