// The `mles` program as a server of the tests.

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const TARGET = process.env.CARGO_TARGET_DIR ?? `${ROOT}target`;

/** The program under test: `MLES_BIN`, else what `cargo build` made. */
export const PROGRAM = process.env.MLES_BIN ?? `${TARGET}/debug/mles`;

/** Why tests with a server cannot run here, or false: the `skip` of a test. */
export const noServer = existsSync(PROGRAM) ? false : `no program at ${PROGRAM}: cargo build first`;

const READY_WITHIN = 20_000; // milliseconds; generous, since machines that test are busy
const STOPPED_WITHIN = 20_000;

/**
 * Starts `mles serve` with `options` and waits until it listens. Ports are the system's choice
 * unless `options` say otherwise; `env` comes on top of the environment, in which settings of
 * mles are left out.
 */
export async function serve(options = [], env = {}) {
  const listen = options.includes("--listen") ? [] : ["--listen", "127.0.0.1:0"];
  const server = run(["serve", ...listen, ...options], env);
  await server.says(/listens on (\S+)/);
  return server;
}

/** Starts `mles` with `args`; what it prints can be waited for. */
export function run(args, env = {}) {
  const clean = Object.entries(process.env).filter(([name]) => !name.startsWith("MLES_"));
  const child = spawn(PROGRAM, args, {
    env: { ...Object.fromEntries(clean), ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  return new Program(child);
}

/** A running `mles`. Whoever started it stops it. */
class Program {
  #child;
  #output = "";
  #ended;

  constructor(child) {
    this.#child = child;
    this.#ended = new Promise((resolve) => {
      child.once("error", (error) => {
        this.#output += `\n${error.message}\n`;
        resolve(null);
      });
      child.once("close", (code, signal) => resolve(code ?? signal));
    });
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8");
      stream.on("data", (text) => {
        this.#output += text;
      });
    }
  }

  /** Everything it has printed. */
  get output() {
    return this.#output;
  }

  /** `address:port` of its TCP listener, with the port that the system chose. */
  get tcp() {
    return this.#printed(/listens on ([0-9.]+:\d+|\[[0-9a-f:]+\]:\d+)/);
  }

  /** `address:port` of its WebSocket listener, from the URL of the page that it prints. */
  get web() {
    return this.#printed(/https?:\/\/([0-9.]+:\d+|\[[0-9a-f:]+\]:\d+)/);
  }

  #printed(pattern) {
    const found = pattern.exec(this.#output);
    if (!found) {
      throw new Error(`mles did not print ${pattern}, but:\n${this.#output}`);
    }
    return found[1];
  }

  /** Waits until it has printed `pattern` and returns the match. */
  async says(pattern, within = READY_WITHIN) {
    const deadline = Date.now() + within;
    let running = true;
    this.#ended.then(() => {
      running = false;
    });
    for (;;) {
      const alive = running;
      const found = pattern.exec(this.#output);
      if (found) {
        return found;
      }
      if (!alive || Date.now() > deadline) {
        await this.stop();
        const why = alive ? "in time" : "before it ended";
        throw new Error(`mles did not print ${pattern} ${why}, but:\n${this.#output}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  /** Lets it drain, or kills it when that takes too long; returns its exit code or signal. */
  async stop(signal = "SIGTERM") {
    this.#child.kill(signal);
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), STOPPED_WITHIN);
    const code = await this.#ended;
    clearTimeout(timer);
    return code;
  }
}
