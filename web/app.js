// The page: which channel is shown, what is typed, and what is remembered.

import { $ } from "./elements.js";
import { watchInput } from "./input.js";
import { Room, describe } from "./room.js";
import * as store from "./store.js";
import { count, nameOf } from "./text.js";
import { setUpTheme } from "./theme.js";

/** The server of the page is the server of the channels. */
function serverAddress() {
  return new URL("./", location.href).href;
}

/** What the first view says: to who comes, and to who has to give a key. */
const JOIN = {
  title: "Join a channel",
  lead: "Everyone in a channel sees each message as it is sent. New members first see recent messages.",
};

const rooms = new Map();
let identity = { uid: store.uid.get(), key: store.key.get() };
let current = null;

/** The channel that the URL names; empty without one. */
function channelInUrl() {
  const fragment = location.hash.slice(1);
  try {
    return decodeURIComponent(fragment);
  } catch {
    return fragment; // not encoded, and with a percent sign
  }
}

function enter(channel) {
  const room = new Room(channel, roomChanged, leave);
  room.draft = store.drafts.get(channel);
  rooms.set(channel, room);
  $("channels").append(room.item);
  $("logs").append(room.log.element);
  room.join(serverAddress(), identity);
  store.channels.set([...rooms.keys()]);
}

/** Shows what the URL says. */
function route() {
  const channel = channelInUrl();
  if (channel && identity.uid) {
    if (!rooms.has(channel)) {
      enter(channel);
    }
    showRoom(rooms.get(channel));
  } else {
    showWelcome(channel);
  }
}

function setCurrent(room) {
  current?.setCurrent(false);
  current = room;
  $("room").hidden = room === null;
  $("welcome").hidden = room !== null;
  if (room === null) {
    $("add").setAttribute("aria-current", "page");
  } else {
    $("add").removeAttribute("aria-current");
  }
}

function showRoom(room) {
  if (room === current) {
    return;
  }
  setCurrent(room);
  $("room-name").textContent = room.channel;
  $("text-label").textContent = `Message to ${room.channel}`;
  $("text").value = room.draft;
  fitText();
  hint("");
  room.setCurrent(true);
  $("here").open = false;
  showState();
  showMembers();
  showNewer();
  showTitle();
  if (matchMedia("(pointer: fine)").matches) {
    $("text").focus();
  } else {
    $("main").focus({ preventScroll: true }); // no keyboard over half of a phone
  }
}

/** Asks for a name, a channel and a key; `words` has the `title` and the `lead` above. */
function showWelcome(channel, words = JOIN) {
  setCurrent(null);
  $("welcome-title").textContent = words.title;
  $("welcome-lead").textContent = words.lead;
  $("key-optional").hidden = words !== JOIN;
  $("key").required = words !== JOIN;
  $("uid").value = identity.uid;
  $("key").value = identity.key;
  $("channel").value = channel;
  showTitle();
  $(identity.uid ? "channel" : "uid").focus({ preventScroll: true });
}

/** Asks for the key of the channel that is shown, which was missing or wrong. */
function askForKey() {
  const { channel } = current;
  showWelcome(channel, {
    title: "Enter the key",
    lead: `You need it to join ${channel}. Whoever runs the server can tell you.`,
  });
  $("key").value = "";
  $("key").focus();
}

function roomChanged(room, what) {
  if (what === "state") {
    announce(room);
  }
  if (room === current) {
    if (what === "state" && room.state.name === "joined") {
      hint(""); // what could not be sent can be
    }
    showState();
    showMembers();
    showNewer();
    if (document.visibilityState === "visible" && room.unread > 0) {
      room.read();
    }
  }
  showTitle();
}

/** Tells those who do not see it how a channel stands; not every second. */
function announce(room) {
  const { name, reason = "" } = room.state;
  const words = { joined: "joined.", waiting: "connection lost, trying again.", refused: "could not join." };
  if (words[name] && rooms.get(room.channel) === room) {
    $("announcement").textContent = `${room.channel}: ${words[name]} ${reason}`.trim();
  }
}

function showState() {
  const { state } = current;
  $("state").dataset.state = state.name;
  const words = describe(state, Date.now());
  if ($("state-text").textContent !== words) {
    $("state-text").textContent = words;
  }
  $("banner").dataset.state = state.name;
  if (!state.reason && $("banner").contains(document.activeElement)) {
    $("text").focus(); // the button that was pressed goes away
  }
  $("banner").hidden = !state.reason;
  $("banner-text").textContent = state.reason ?? "";
  $("enter-key").hidden = !state.needsKey;
  $("send").setAttribute("aria-disabled", String(state.name !== "joined"));
}

/** Shows who is there, if it is known: how many, and their names when asked. */
function showMembers() {
  const { members } = current;
  $("here").hidden = members === null;
  if (members === null) {
    return;
  }
  $("here-count").textContent = members.count === 1 ? "Only you here" : `${count(members.count)} here`;
  const uids = [...new Set(members.uids)].sort((a, b) => a.localeCompare(b));
  const names = uids.map((uid) => {
    const name = document.createElement("bdi");
    name.textContent = nameOf(uid);
    return [name, uid === identity.uid ? " (you)" : ""];
  });
  const unnamed = members.count - members.uids.length;
  if (unnamed > 0) {
    names.push([`and ${count(unnamed)} more`]);
  }
  const items = names.map((content) => {
    const item = document.createElement("li");
    item.append(...content);
    return item;
  });
  $("here-names").replaceChildren(...items);
}

function showNewer() {
  $("newer").hidden = current.log.newer === 0;
  $("newer").textContent = `${count(current.log.newer, "new message")} ↓`;
}

function showTitle() {
  const unread = [...rooms.values()].reduce((sum, room) => sum + room.unread, 0);
  const where = current === null ? "Mles" : `${current.channel} · Mles`;
  document.title = unread > 0 ? `(${unread}) ${where}` : where;
}

function showIdentity() {
  $("me").hidden = !identity.uid;
  $("me").setAttribute("aria-label", `You are ${identity.uid}. Change your name`);
  $("my-uid").textContent = identity.uid;
}

/** Says something below the text that is typed; the empty string brings the usual back. */
function hint(words) {
  const usual = "Enter to send, Shift+Enter for a new line.";
  $("text-hint").textContent = words || usual;
  $("text-hint").classList.toggle("problem", words !== "");
  if (words) {
    $("announcement").textContent = words;
  }
}

/** Makes the field as high as its text. */
function fitText() {
  const text = $("text");
  text.style.height = "auto";
  text.style.height = `${text.scrollHeight + text.offsetHeight - text.clientHeight}px`;
}

function join(event) {
  event.preventDefault();
  const channel = $("channel").value.trim();
  const next = { uid: $("uid").value.trim(), key: $("key").value };
  const other = next.uid !== identity.uid || next.key !== identity.key;
  identity = next;
  store.uid.set(identity.uid);
  store.key.set(identity.key);
  showIdentity();
  if (other) {
    rooms.forEach((room) => room.join(serverAddress(), identity));
  } else if (rooms.get(channel)?.state.name === "refused") {
    rooms.get(channel).retry();
  }
  location.hash = encodeURIComponent(channel);
  route(); // the URL may have named it already
}

/** Leaves the channel that is shown. */
function leave() {
  const room = current;
  const names = [...rooms.keys()];
  const at = names.indexOf(room.channel);
  const next = names[at + 1] ?? names[at - 1];
  setCurrent(null);
  room.leave();
  rooms.delete(room.channel);
  store.drafts.set(room.channel, "");
  store.channels.set([...rooms.keys()]);
  location.hash = next === undefined ? "" : encodeURIComponent(next);
  route();
}

function send(event) {
  event?.preventDefault();
  const text = $("text").value;
  if (text.trim() === "") {
    return;
  }
  try {
    current.send(text);
  } catch (error) {
    hint(error.message);
    return;
  }
  $("text").value = "";
  wrote();
  hint("");
  $("text").focus();
}

/** The text has changed: it stays with its channel, when the page is loaded again as well. */
function wrote() {
  fitText();
  current.draft = $("text").value;
  store.drafts.set(current.channel, current.draft);
}

function typed(event) {
  const phone = matchMedia("(pointer: coarse)").matches;
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing && !phone) {
    send(event);
  }
}

function listen() {
  addEventListener("hashchange", route);
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible") {
      rooms.forEach((room) => room.hurry());
      current?.read();
    }
  });
  // The link of the channel that the URL names already changes nothing else.
  $("channels").addEventListener("click", () => setTimeout(route));
  $("join").addEventListener("submit", join);
  $("composer").addEventListener("submit", send);
  $("text").addEventListener("keydown", typed);
  $("text").addEventListener("input", wrote);
  $("leave").addEventListener("click", leave);
  $("retry").addEventListener("click", () => current.retry());
  $("enter-key").addEventListener("click", askForKey);
  $("me").addEventListener("click", () => {
    showWelcome(current?.channel ?? $("channel").value);
    $("uid").select();
  });
  $("newer").addEventListener("click", () => {
    current.log.toEnd();
    $("text").focus();
  });
  document.addEventListener("click", ({ target }) => {
    if (!$("here").contains(target)) {
      $("here").open = false;
    }
  });
  $("here").addEventListener("keydown", ({ key }) => {
    if (key === "Escape" && $("here").open) {
      $("here").open = false;
      $("here").firstElementChild.focus();
    }
  });
  $("skip").addEventListener("click", (event) => {
    event.preventDefault(); // a channel could be called like that
    $("main").focus();
  });
  setInterval(() => {
    if (current?.state.name === "waiting") {
      showState();
    }
  }, 500);
}

function start() {
  watchInput();
  setUpTheme($("theme"));
  $("host").textContent = location.host;
  showIdentity();
  listen();
  if (identity.uid) {
    store.channels.get().forEach(enter);
  }
  const [first] = rooms.values();
  if (first && !channelInUrl()) {
    history.replaceState(null, "", first.href);
  }
  route();
}

start();
