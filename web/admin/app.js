// The dashboard: which view is shown, when the server is asked, and what is done to it.

import { $ } from "../elements.js";
import { watchInput } from "../input.js";
import { adminToken } from "../store.js";
import { setUpTheme } from "../theme.js";
import { ApiError, get } from "./api.js";
import { Bans } from "./bans.js";
import { ChannelView, Channels } from "./channels.js";
import { confirm, setUpConfirm } from "./confirm.js";
import { make, setText } from "./dom.js";
import { duration } from "./format.js";
import { Links } from "./links.js";
import { Overview } from "./overview.js";
import { Samples } from "./samples.js";
import { Sessions } from "./sessions.js";

const PERIOD = 1_000; // milliseconds from one question to the next
const PERIOD_WHEN_GONE = 3_000;

const samples = new Samples();
const views = {
  overview: new Overview(samples),
  channels: new Channels(refresh),
  sessions: new Sessions(refresh),
  links: new Links(),
  bans: new Bans(),
};
let view = null;
let timer = null;
let isAsking = false;
let isAskedAgain = false;

/** Shows what the URL says. */
function route() {
  const [name, ...rest] = location.hash.replace(/^#\/?/, "").split("/");
  const isChannel = name === "channel" && rest.length > 0;
  view = isChannel ? new ChannelView(decoded(rest.join("/"))) : (views[name] ?? views.overview);
  $("view").replaceChildren(view.element);
  setText($("title"), view.title);
  document.title = `${view.title} · Mles`;
  for (const link of document.querySelectorAll("nav a")) {
    const isHere = link.dataset.view === (isChannel ? "channels" : (name || "overview"));
    if (isHere) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  $("main").scrollTop = 0;
  refresh();
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // not encoded, and with a percent sign
  }
}

/** Asks the server at once, or once more when the answer is there that is being waited for. */
function refresh() {
  if (isAsking) isAskedAgain = true;
  else ask();
}

async function ask() {
  clearTimeout(timer);
  isAsking = true;
  isAskedAgain = false;
  const begun = performance.now();
  let period = PERIOD;
  try {
    await update();
    showProblem(null);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    showProblem(error);
    if (error.status === 0) period = PERIOD_WHEN_GONE;
  } finally {
    isAsking = false;
  }
  if (isAskedAgain) {
    ask();
  } else if (document.visibilityState === "visible" && !document.body.classList.contains("locked")) {
    timer = setTimeout(ask, Math.max(0, period - (performance.now() - begun)));
  }
}

async function update() {
  const asked = view;
  const [server, shards] = await Promise.all([get("server"), get("shards")]);
  samples.add(performance.now(), server, shards);
  showServer(server);
  asked.show?.(server, shards);
  await asked.load();
}

function showServer({ version, state, uptime_seconds, pid, listeners, certificate }) {
  $("state").dataset.state = state;
  setText($("state-text"), state);
  setText($("about"), `mles ${version}, up ${duration(uptime_seconds)}, pid ${pid}`);
  const addresses = listeners.map(({ kind, address }) => `${kind} ${address}`).join(", ");
  setText($("listeners"), addresses || "no listeners");
  const left = certificate?.expires ? certificate.expires - Date.now() / 1000 : null;
  $("certificate").hidden = left === null;
  if (left !== null) {
    setText($("certificate"), left > 0 ? `certificate expires in ${duration(left)}` : "the certificate has expired");
    $("certificate").classList.toggle("worry", left < 14 * 86_400);
  }
}

/** Says what is wrong, or that nothing is. A token that is missing or wrong is asked for. */
function showProblem(error) {
  const isLocked = error?.status === 401;
  document.body.classList.toggle("locked", isLocked);
  $("token-form").hidden = !isLocked;
  $("dashboard").hidden = isLocked;
  $("banner").hidden = error === null || isLocked;
  document.body.classList.toggle("stale", error !== null && !isLocked);
  if (isLocked) {
    setText($("token-problem"), adminToken.get() ? error.message : "");
    if (document.activeElement !== $("token")) $("token").focus();
  } else if (error !== null) {
    setText($("banner-text"), `${error.message}${error.status === 0 ? " What is shown is from before; trying again." : ""}`);
    if (error.status === 0) {
      $("state").dataset.state = "gone";
      setText($("state-text"), "not reached");
    }
  }
}

/** What a reload has changed, for people. */
function reloadSaid({ changed, opened, closed, needs_restart, sessions_ended }) {
  const list = (title, items) =>
    items.length > 0 ? [make("p", {}, title), make("ul", {}, ...items.map((item) => make("li", {}, item)))] : [];
  const addresses = (listeners) => listeners.map(({ kind, address }) => `${kind} ${address}`);
  const said = [
    ...list("Changed:", changed),
    ...list("Opened:", addresses(opened)),
    ...list("Closed:", addresses(closed)),
    ...list("Needs a restart:", needs_restart),
    ...(sessions_ended > 0 ? [make("p", {}, `Sessions ended that have lost their rights: ${sessions_ended}`)] : []),
  ];
  return said.length > 0 ? said : [make("p", {}, "Nothing has changed.")];
}

function listen() {
  addEventListener("hashchange", route);
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible") refresh();
    else clearTimeout(timer);
  });
  $("skip").addEventListener("click", (event) => {
    event.preventDefault(); // the fragment names a view
    $("main").focus();
  });
  $("token-form").addEventListener("submit", (event) => {
    event.preventDefault();
    adminToken.set($("token").value.trim());
    refresh();
  });
  $("reload").addEventListener("click", () =>
    confirm({
      title: "Reload the settings?",
      lead: "The configuration file, keys and certificates are read again. Sessions stay. If something is wrong, the old settings stay in force.",
      does: "Reload",
      path: "reload",
      done: reloadSaid,
    }),
  );
  $("drain").addEventListener("click", () =>
    confirm({
      title: "Drain and stop the server?",
      lead: "It takes no new clients, lets all sessions go with what is queued for them, and ends. This cannot be undone.",
      does: "Drain and stop",
      path: "drain",
      done: () => [make("p", {}, "The server is draining.")],
    }),
  );
}

watchInput();
setUpTheme($("theme"));
setUpConfirm();
$("host").textContent = location.host;
listen();
route();
