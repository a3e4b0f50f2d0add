// What users of the module write, for the compiler: it is never run.

import { Channel, MlesError, join, joinKey } from "../../../web/mles.js";
import type { ChannelEvent, ChannelMessage, Members } from "../../../web/mles.js";

async function read(channel: Channel): Promise<ChannelMessage[]> {
  const messages: ChannelMessage[] = [];
  for await (const event of channel) {
    if (event.type === "message") messages.push(event);
    else if (event.type === "gap") console.log(`${event.missed ?? "some"} messages are gone`);
    else if (event.type === "members") console.log(event.joined.join(), event.left.join(), event.count);
  }
  return messages;
}

function isOver(event: ChannelEvent): boolean {
  return event.type === "disconnected" && event.retryAt > Date.now();
}

export async function main(): Promise<void> {
  const channel = await join({ url: new URL("http://127.0.0.1:8076"), channel: "room", uid: "alice", members: 10 });
  const position: string | null = await channel.publish("hello");
  await channel.publish(new Uint8Array([1, 2]));
  const members: Members | null = channel.members;
  try {
    await read(channel);
  } catch (error) {
    if (error instanceof MlesError && error.code === "refused") console.error(error.closeCode, error.message);
  }
  const other = new Channel({ url: "wss://localhost", channel: "room", uid: "bob", since: position, key: "secret" });
  const login = async (): Promise<string> => (await fetch("/token")).text();
  const third = new Channel({ url: "wss://localhost", channel: "room", uid: "carol", token: login });
  for await (const event of third) {
    if (event.type === "token") console.log(event.expiresAt, event.refused?.length);
  }
  other.reconnect();
  other.close();
  console.log(members?.uids, joinKey("alice", "room", "secret"), isOver);
  // @ts-expect-error: a channel has a name
  await join({ url: "ws://localhost", uid: "alice" });
  // @ts-expect-error: numbers are no messages
  await channel.publish(12);
  // @ts-expect-error: what the server says stays as it is
  channel.position = "";
}
