// Columns that several tables have.

import { make, setBar, setName, setText } from "./dom.js";
import { byteRate, bytes, duration, number, rate, UNKNOWN } from "./format.js";
import { figure, text } from "./table.js";

/** The largest `value` of the rows. */
function most(rows, value) {
  return rows.reduce((largest, row) => Math.max(largest, value(row) ?? 0), 0);
}

/** A column of figures with bars. */
export function bars(title, value, format, more = {}) {
  const show = (cell, row, rows) => setBar(cell, format(value(row)), value(row), most(rows, value));
  return { title, show, isNumber: true, ...more };
}

/** The address of the view of a channel. */
export function channelHref(name) {
  return `#/channel/${encodeURIComponent(name)}`;
}

/** A column with the name of a channel as a link to what there is to know of it. */
export function channelName(name, more = {}) {
  const show = (cell, row) => {
    if (!cell.firstElementChild) cell.append(make("a", {}, make("bdi")));
    const link = cell.firstElementChild;
    const href = channelHref(name(row));
    if (link.getAttribute("href") !== href) link.setAttribute("href", href);
    setText(link.firstElementChild, name(row));
    link.title = name(row);
  };
  return { title: "Channel", show, ...more };
}

/** A column with a button that acts on the row as it is when it is pressed. */
export function button(label, title, onpress) {
  const show = (cell, row) => {
    if (!cell.firstElementChild) {
      const pressed = () => onpress(cell.row);
      cell.append(make("button", { type: "button", class: "small row-action", onclick: pressed }, label));
    }
    cell.row = row;
    cell.firstElementChild.setAttribute("aria-label", title(row));
  };
  return { title: "Action", show, isAction: true };
}

/** What keeps a channel back, in a word or two. */
function channelState(stalled, paused) {
  const parts = [];
  if (paused) parts.push("paused");
  if (stalled > 0) parts.push(`${number(stalled)} stalled`);
  return parts.join(", ") || "ok";
}

/** Columns of channels. */
export const CHANNEL_COLUMNS = [
  channelName(({ name }) => name, { rowHeader: true, sort: "name" }),
  bars("Messages/s", (channel) => channel.rate, rate, { sort: "rate" }),
  bars("Bytes/s", ({ byte_rate }) => byte_rate, byteRate, { sort: "bytes" }),
  figure("Members", ({ members }) => number(members), { sort: "members" }),
  figure("Queued", ({ queued_bytes }) => bytes(queued_bytes), { sort: "queued" }),
  figure("History", ({ history_bytes }) => bytes(history_bytes), { sort: "history", isMinor: true }),
  figure("Shard", ({ owner }) => String(owner), { isMinor: true }),
  text("State", ({ stalled, paused }) => channelState(stalled, paused), { isMinor: true }),
];

/** What keeps a session from getting what is queued for it, in a word. */
function stateOf({ stalled, stalled_seconds, paused, phase }) {
  const words = [];
  if (stalled) words.push(`stalled ${duration(stalled_seconds)}`);
  if (paused) words.push("paused");
  return words.length > 0 ? words.join(", ") : (phase ?? UNKNOWN);
}

/** Columns of sessions that publish. */
export function publisherColumns(onend) {
  return [
    { title: "Uid", show: (cell, { uid }) => setName(cell, uid), rowHeader: true },
    channelName(({ channel }) => channel),
    bars("Messages/s", (session) => session.rate, rate),
    text("State", stateOf),
    text("Address", ({ address }) => address, { isMinor: true }),
    text("By", ({ transport }) => transport, { isMinor: true }),
    text("Key", ({ key }) => key ?? UNKNOWN, { isMinor: true }),
    figure("Age", ({ age_seconds }) => duration(age_seconds), { isMinor: true }),
    button("End", ({ uid, channel }) => `End the publishing session of ${uid} in ${channel}`, onend),
  ];
}

/** Columns of sessions. */
export function sessionColumns(onend) {
  return [
    { title: "Uid", show: (cell, { uid }) => setName(cell, uid), rowHeader: true },
    channelName(({ channel }) => channel),
    bars("Queued", ({ queued_bytes }) => queued_bytes, bytes, { sort: "queued" }),
    {
      title: "State",
      show: (cell, session) => {
        setText(cell, stateOf(session));
        cell.classList.toggle("worry", Boolean(session.stalled));
      },
    },
    text("Address", ({ address }) => address, { isMinor: true }),
    text("By", ({ transport }) => transport, { isMinor: true }),
    text("Key", ({ key }) => key ?? UNKNOWN, { isMinor: true }),
    figure("Age", ({ age_seconds }) => duration(age_seconds), { sort: "age" }),
    button("End", ({ uid, channel }) => `End the session of ${uid} in ${channel}`, onend),
  ];
}
