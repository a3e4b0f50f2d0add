/** What is needed to join a channel. */
export interface JoinOptions {
  /** The server, as `http://`, `https://`, `ws://` or `wss://`. In a page it may be relative to the page. */
  url: string | URL;
  channel: string;
  /** The name that the others see. */
  uid: string;
  /** The server's shared key, if it has one. Only a hash of it is sent. */
  key?: string;
  /**
   * A token (JWT) that says who the member is and what it may do, in the place of a key; or a function that returns one.
   *
   * The function is called for each join, those after a break included, and some time before a token expires: when it
   * returns another one, the server is shown that, and the member stays without a break. It may fetch the token from a
   * login service. If it fails at a join, that is tried again later, like any break.
   */
  token?: string | (() => string | Promise<string>) | null;
  /** A position from before, to go on behind it. Without it the channel's whole history comes first. */
  since?: string | null;
  /** The largest number of members to be told by name; 0, the default, to be told nothing about members. */
  members?: number;
  /** Another implementation than the global one, such as that of `ws` in versions of Node before 22. */
  WebSocket?: unknown;
}

/**
 * Joins a channel, and stays in it until `close()`: after a break it joins again by itself, waiting longer and longer
 * and for a random part of that, or as long as a server that stops has asked for.
 *
 * Rejects with a `MlesError` if the first attempt fails, and with a `TypeError` if the options are wrong. To go on trying
 * from the beginning, use `new Channel(options)`.
 */
export function join(options: JoinOptions): Promise<Channel>;

/**
 * A member of a channel.
 *
 * Its events are read with `for await`, by one reader. Up to 10,000 events or 32 MiB are kept for a reader that is slow;
 * then the oldest are left out, and a `gap` in their place says how many messages they were. Ending the loop does not
 * leave the channel. The loop ends after `close()`, and throws a `MlesError` if the server refuses the member for good.
 */
export class Channel implements AsyncIterable<ChannelEvent> {
  constructor(options: JoinOptions);

  /** Settled by the first attempt to join. Whatever it was, the channel goes on trying unless it was refused for good. */
  readonly joined: Promise<void>;

  readonly state: "connecting" | "joined" | "waiting" | "closed";

  /** How far the channel has been received; null if the server gives no positions, as older ones do not. */
  readonly position: string | null;

  /** Who is there; null unless it was asked for, and is known. */
  readonly members: Members | null;

  /**
   * Publishes a message that is not empty. Messages are sent in the order of the calls, at once or after the next
   * join.
   *
   * Resolves once the message has its place in the channel, with its position. After a break that may not be known: then
   * it resolves with null. A server without positions confirms nothing: there it resolves with null when the message
   * was sent.
   *
   * Rejects with a `MlesError`: see `MlesErrorCode`. A message is never published twice, and one that is rejected as
   * `full` or `too-large` was not published.
   */
  publish(message: string | Uint8Array | ArrayBuffer): Promise<string | null>;

  /** Joins at once if it is waiting to. */
  reconnect(): void;

  /** Leaves the channel. What was published and has no receipt is rejected. */
  close(): void;

  [Symbol.asyncIterator](): AsyncIterator<ChannelEvent, undefined>;
}

export type ChannelEvent =
  | ConnectingEvent
  | JoinedEvent
  | ChannelMessage
  | GapEvent
  | LiveEvent
  | PresenceEvent
  | MembersEvent
  | RightsEvent
  | TokenEvent
  | DisconnectedEvent;

/** An attempt to join begins. */
export interface ConnectingEvent {
  readonly type: "connecting";
}

/** The member has joined, for the first time or again. */
export interface JoinedEvent {
  readonly type: "joined";
  /** The position behind which the next message is; null if the server gives no positions. */
  readonly position: string | null;
  /** How many messages come before those that are published from now on; null if it is not known. */
  readonly replay: number | null;
  /** `true` if they are all that was missed; null if it is not known. */
  readonly recovered: boolean | null;
  /** How many messages were missed and cannot be had; null if it is not known. */
  readonly missed: number | null;
}

/** A message of another member, or of this one when the history is replayed. */
export interface ChannelMessage {
  readonly type: "message";
  readonly uid: string;
  readonly data: Uint8Array;
  /** The data as text; null if it is not UTF-8. */
  readonly text: string | null;
  /** The position of this message, to be given as `since`; null if the server gives no positions. */
  readonly position: string | null;
  /** `true` if it was published before this member joined; null if it is not known. */
  readonly replayed: boolean | null;
  /** `true` if this channel has published it, and its receipt was lost in a break. */
  readonly own: boolean;
}

/** Messages were left out here, because this member was too slow for them. */
export interface GapEvent {
  readonly type: "gap";
  /** How many; null if it is not known. */
  readonly missed: number | null;
  /** `true` if changes of members were left out too. */
  readonly members: boolean;
  /** The position of the last one; null if it is not known. */
  readonly position: string | null;
}

/** All that was published before this member joined has come. Not told by servers without positions. */
export interface LiveEvent {
  readonly type: "live";
  readonly position: string | null;
}

/** Somebody has joined, and says so with an empty message. For `members` that say who is there, ask for them. */
export interface PresenceEvent {
  readonly type: "presence";
  readonly uid: string;
}

export interface Members {
  /** How many members there are, this one included. */
  readonly count: number;
  /** Their uids, as many as were asked for at most. */
  readonly uids: readonly string[];
  /** `true` if these are all of them. */
  readonly complete: boolean;
}

/** This member may not do everything in the channel, or what it may do has changed. */
export interface RightsEvent {
  readonly type: "rights";
  /** Of `publish`, `subscribe`, `history` and `presence`. Without `subscribe` no messages come. */
  readonly allowed: readonly string[];
}

/** Members have come or left. The first one after a join has all in `joined`. */
export interface MembersEvent extends Members {
  readonly type: "members";
  readonly joined: readonly string[];
  readonly left: readonly string[];
}

/** How the member stands by its token: after a join, and after each further token that was shown. */
export interface TokenEvent {
  readonly type: "token";
  /** When the server ends the session unless another token is shown, in milliseconds as of `Date.now()`. */
  readonly expiresAt: number | null;
  /** Why the server does not take the token that was shown last, in its words: the one before counts until it expires. */
  readonly refused: string | null;
}

/** The connection is gone, or an attempt has failed; the next one is planned. */
export interface DisconnectedEvent {
  readonly type: "disconnected";
  /** Why, in a sentence. */
  readonly reason: string;
  /** The code with which the WebSocket was closed; null if it was not closed by the server. */
  readonly code: number | null;
  /** When the next attempt is made, in milliseconds as of `Date.now()`. */
  readonly retryAt: number;
}

/**
 * - `refused`: the server does not take this member, and trying again would not help
 * - `unreachable`: the first attempt of `join` has failed
 * - `unconfirmed`: the connection broke before the message was confirmed, and the server no longer knows whether it
 *   got it: it may be published, or not
 * - `too-large`: the server does not take a message of this length
 * - `full`: 10,000 messages or 32 MiB wait to be confirmed
 * - `closed`: the channel was closed; a message that was not confirmed may be published, or not
 */
export type MlesErrorCode = "refused" | "unreachable" | "unconfirmed" | "too-large" | "full" | "closed";

export class MlesError extends Error {
  constructor(code: MlesErrorCode, message: string, closeCode?: number | null);
  readonly code: MlesErrorCode;
  /** The code with which the server closed the WebSocket, such as 4401 for a wrong key and 4403 for a missing right; null without one. */
  readonly closeCode: number | null;
}

/** The hash that a server with a shared key wants in `?auth=` of a URL, also of its HTTP API. */
export function joinKey(uid: string, channel: string, sharedKey: string): string;

/** A message as v1 has it on the wire. */
export interface Body {
  uid: string;
  channel: string;
  message: Uint8Array;
}

/** What the first body of a session asks for. */
export interface Resume {
  since?: string | null;
  /** An unsigned number of 8 bytes. */
  publisher: Uint8Array;
  members?: number;
}

/** Encodes a body, for programs that speak the protocol themselves. */
export function encodeBody(body: Body & { resume?: Resume | null; token?: string | null }): Uint8Array;

/** Decodes a body without `resume` and `token`. Throws an `Error` that says what is wrong with it. */
export function decodeBody(bytes: Uint8Array): Body;

/** SipHash-2-4 with a key of zeros, as 16 hexadecimal digits. */
export function siphash(bytes: Uint8Array): string;
