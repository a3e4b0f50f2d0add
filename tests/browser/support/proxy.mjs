// A TCP proxy that cuts connections off, at once or after so many bytes, as bad networks do.

import { once } from "node:events";
import { connect, createServer } from "node:net";

/**
 * Starts a proxy in front of `target` (`host:port`). The first connection is cut off when `cuts[0]` bytes have come from the
 * server, and so on; those behind the last live on. It is stopped when the test is over.
 */
export async function cuttingProxy(t, target, cuts) {
  const { hostname, port } = new URL(`tcp://${target}`);
  const left = [...cuts];
  const proxy = { accepted: 0, cut: 0 };
  const sockets = new Set();
  const server = createServer((client) => {
    proxy.accepted += 1;
    let budget = left.shift() ?? Infinity;
    const upstream = connect(Number(port), hostname);
    const end = () => [client, upstream].forEach((socket) => socket.destroy());
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on("error", end);
      socket.on("close", () => {
        sockets.delete(socket);
        end();
      });
    }
    client.on("data", (bytes) => upstream.write(bytes));
    upstream.on("data", (bytes) => {
      if (bytes.length < budget) {
        budget -= bytes.length;
        client.write(bytes);
        return;
      }
      proxy.cut += 1;
      const rest = bytes.subarray(0, budget);
      budget = 0;
      upstream.removeAllListeners("data");
      client.write(rest, end);
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  proxy.address = `127.0.0.1:${server.address().port}`;
  t.after(() => {
    server.close();
    sockets.forEach((socket) => socket.destroy());
  });
  return proxy;
}
