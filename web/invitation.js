// What a channel without messages shows: how to fill it.

/** `word` as one word of a shell. */
function quoted(word) {
  return /^[\w.:@%+,/-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

/** A term and a text to copy, with a button for that; `what` is the text in a word. */
function row(term, text, what) {
  const dt = document.createElement("dt");
  dt.textContent = term;
  const dd = document.createElement("dd");
  const code = document.createElement("code");
  code.textContent = text;
  const button = document.createElement("button");
  button.type = "button";
  button.className = "plain";
  button.textContent = "Copy";
  button.setAttribute("aria-label", `Copy ${what}`);
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      // Not allowed, as on a page without TLS: it can be copied by hand.
      getSelection().selectAllChildren(code);
    }
  });
  dd.append(code, button);
  return [dt, dd];
}

/** What publishes to `channel`. The page knows its own server, but not the port for TLS. */
function command(channel) {
  const { hostname } = location;
  const isHere = hostname === "127.0.0.1" || hostname === "localhost";
  const server = isHere ? "" : `--server ${hostname} `;
  const end = channel.startsWith("-") ? "-- " : ""; // of the options
  return `mles pub ${server}${end}${quoted(channel)} hello`;
}

/** The element for `channel`. */
export function invitation(channel) {
  const element = document.createElement("div");
  element.className = "empty";
  const title = document.createElement("strong");
  title.textContent = "No messages yet";
  const lead = document.createElement("p");
  lead.textContent = "Write one below, or invite others.";
  const list = document.createElement("dl");
  const link = new URL(`#${encodeURIComponent(channel)}`, location.href).href;
  list.append(...row("Share this link", link, "link"));
  if (location.protocol === "http:") {
    list.append(...row("Send from a terminal, if the server is on port 8077 too", command(channel), "command"));
  }
  element.append(title, lead, list);
  return element;
}
