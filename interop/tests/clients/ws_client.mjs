// A WebSocket client made of Node's `ws`, driven line by line. Arguments, commands and what it
// prints are those of ws_client.py.

import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";

// The tests in the browser have it installed.
const WebSocket = createRequire(new URL("../../../tests/browser/package.json", import.meta.url))("ws");

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    protocols: { type: "string" },
    ca: { type: "string" },
    authorization: { type: "string" },
  },
});

const tell = (...words) => console.log(words.join(" "));
const listed = (header) => String(header ?? "").replaceAll(" ", "") || "-";

const EXTENSIONS = "sec-websocket-extensions";
let [offered, agreed] = ["-", "-"];

const protocols = values.protocols ? values.protocols.split(",") : [];
const socket = new WebSocket(positionals[0], protocols, {
  ca: values.ca && readFileSync(values.ca),
  headers: values.authorization ? { Authorization: values.authorization } : {},
  finishRequest: (request) => {
    offered = listed(request.getHeader(EXTENSIONS));
    request.end();
  },
});

const commands = {
  text: (rest) => socket.send(rest),
  binary: (rest) => socket.send(Buffer.from(rest, "hex")),
  fragments: (rest) => {
    const [kind, ...parts] = rest.split(" ");
    parts.forEach((part, at) =>
      socket.send(Buffer.from(part, "hex"), {
        binary: kind === "binary",
        fin: at === parts.length - 1,
      }),
    );
  },
  ping: () => socket.ping("are you there?"),
  close: (rest) => {
    const [code, ...reason] = rest.split(" ");
    socket.close(Number(code), reason.join(" "));
  },
};

socket.on("upgrade", (response) => {
  agreed = listed(response.headers[EXTENSIONS]);
});
socket.on("open", () => {
  tell("open", socket.protocol || "-", offered, agreed);
  createInterface({ input: process.stdin }).on("line", (line) => {
    const at = line.includes(" ") ? line.indexOf(" ") : line.length;
    commands[line.slice(0, at)](line.slice(at + 1));
  });
});
socket.on("message", (data, isBinary) =>
  tell(isBinary ? "binary" : "text", isBinary ? data.toString("hex") : data.toString()),
);
socket.on("ping", () => tell("ping"));
socket.on("pong", () => tell("pong"));
socket.on("unexpected-response", (_request, response) => {
  tell("refused", response.statusCode);
  process.exit();
});
socket.on("error", (error) => {
  tell("failed", error.message);
  process.exit();
});
socket.on("close", (code, reason) => {
  tell("closed", code, reason.toString());
  process.exit();
});
