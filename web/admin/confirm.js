// Nothing is done before the reader has been asked, and what came of it is said.

import { act } from "./api.js";
import { make, setText } from "./dom.js";

const title = make("h2", { id: "confirm-title" });
const lead = make("p", { class: "lead" });
const outcome = make("div", { class: "outcome", role: "status" });
const go = make("button", { type: "submit", class: "primary danger" });
const leave = make("button", { type: "button", class: "plain", onclick: () => dialog.close() }, "Cancel");
const form = make("form", { method: "dialog" }, title, lead, outcome, make("p", { class: "buttons" }, leave, go));
const dialog = make("dialog", { "aria-labelledby": "confirm-title" }, form);
let asked = null;

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const question = asked;
  go.disabled = true;
  outcome.replaceChildren("Asking the server…");
  let said;
  let isDone = true;
  try {
    said = question.done(await act(question.method ?? "POST", question.path));
  } catch ({ message }) {
    isDone = false;
    said = [make("p", { class: "problem" }, message)];
  }
  if (question !== asked || !dialog.open) return; // another one by now
  outcome.replaceChildren(...said);
  go.disabled = false;
  go.hidden = isDone;
  setText(leave, "Close");
  if (isDone) leave.focus();
  question.after?.(isDone);
});

/** Puts the dialog into the page. */
export function setUpConfirm() {
  document.body.append(dialog);
}

/**
 * Asks, and has it done if the reader says so. `question` has a `title`, a `lead`, what the button `does`, the `path` and
 * `method` of the action, and `done(answer)`: nodes that say what came of it.
 */
export function confirm(question) {
  asked = question;
  setText(title, question.title);
  setText(lead, question.lead);
  setText(go, question.does);
  setText(leave, "Cancel");
  go.hidden = false;
  go.disabled = false;
  outcome.replaceChildren();
  dialog.showModal();
  leave.focus();
}

/** Asks whether a session is to be ended. */
export function confirmEnd({ id, uid, channel }) {
  confirm({
    title: "End this session?",
    lead: `${uid} in ${channel}. A client that reconnects by itself will be back in a moment.`,
    does: "End the session",
    path: `sessions/${encodeURIComponent(id)}/end`,
    done: () => [make("p", {}, "The session was ended.")],
  });
}
