// What of a channel's messages is to be shown, and how: as history, or as it happens.
//
// A server sends the history of a channel first, without saying where it ends. It is taken to end
// with the first pause. After a reconnection it is held back until then, and compared with what is
// shown. Messages without content tell that someone has joined and are never part of a history.

import { unseen } from "./history.js";

const PAUSE = 250; // milliseconds without a message that end a history
const LONGEST = 2_000; // milliseconds after which a busy channel is taken to be past its history
const MOST_HELD = 20_000; // messages

/** How many messages of a channel are kept. */
export const KEPT = 1_000;
/** How many bytes of messages are kept, if that is less: long ones are large in the page. */
export const KEPT_BYTES = 8 << 20;

const size = (entries) => entries.reduce((sum, { message }) => sum + message.length, 0);

/** The messages of one channel. */
export class Feed {
  #show;
  #settled;
  #mine = new Set();
  #shown = [];
  #shownBytes = 0;
  #trimmed = false;
  /** What has come of a history so far; null when it is over. */
  #held = null;
  #heldBytes = 0;
  #pause;
  /** The pause that ends it: longer where the server is far. */
  #patience = PAUSE;
  #since;

  /**
   * `show(entries, isHistory)` gets what is to be shown; `settled()` is called when the history
   * of a new connection is over.
   */
  constructor(show, settled) {
    this.#show = show;
    this.#settled = settled;
  }

  /** A session as `uid` has begun, which took `took` milliseconds: what comes now is history. */
  begin(uid, took) {
    this.#mine.add(uid);
    this.#patience = PAUSE + Math.min(took, LONGEST);
    this.#held = [];
    this.#heldBytes = 0;
    this.#since = Date.now();
    this.#wait();
  }

  /** A message has come. */
  take(entry) {
    if (this.#held === null) {
      this.#give([entry], false);
      return;
    }
    this.#held.push(entry);
    this.#heldBytes += entry.message.length;
    const late = Date.now() - this.#since > LONGEST + this.#patience;
    if (late || this.#held.length >= MOST_HELD || this.#heldBytes > KEPT_BYTES) {
      this.#compare({ partial: true });
    } else {
      this.#wait();
    }
  }

  /** A message of one's own was sent. */
  sent(entry) {
    this.#give([entry], false);
  }

  /** The session is over; what was held back is shown now. */
  end() {
    clearTimeout(this.#pause);
    if (this.#held !== null) {
      this.#give(this.#news({ partial: true }), true);
      this.#held = null;
    }
  }

  #wait() {
    clearTimeout(this.#pause);
    this.#pause = setTimeout(() => this.#compare({ partial: false }), this.#patience);
  }

  #news({ partial }) {
    const messages = this.#held.filter((entry) => entry.message.length > 0);
    const news = new Set(
      unseen(this.#shown, messages, { mine: this.#mine, trimmed: this.#trimmed, partial }),
    );
    return this.#held.filter((entry) => entry.message.length === 0 || news.has(entry));
  }

  #compare({ partial }) {
    const news = this.#news({ partial });
    if (partial && news.length === 0) {
      // Nothing but what is known: a long history that is still on its way.
      this.#since = Date.now();
      this.#wait();
      return;
    }
    clearTimeout(this.#pause);
    this.#held = null;
    this.#give(news, true);
    this.#settled();
  }

  #give(entries, isHistory) {
    const messages = entries.filter(({ message }) => message.length > 0);
    this.#shown.push(...messages);
    this.#shownBytes += size(messages);
    let excess = 0;
    while (this.#shown.length - excess > KEPT || this.#shownBytes > KEPT_BYTES) {
      this.#shownBytes -= this.#shown[excess].message.length;
      excess += 1;
    }
    if (excess > 0) {
      this.#shown.splice(0, excess);
      this.#trimmed = true;
    }
    if (entries.length > 0) {
      this.#show(entries, isHistory);
    }
  }
}
