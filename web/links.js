// Addresses in a text become links. Nothing else does, whatever it looks like.

// Only these schemes: others may run something. No quotes and brackets, which stand around addresses.
const ADDRESS = /\bhttps?:\/\/[^\s<>"'`{}|\\^]+/gi;
/** Belongs to the sentence, not to the address, at its end. */
const BEHIND = /[.,;:!?*_]+$/;

/** The address without what follows it in a sentence: a full stop, or a bracket that was opened before it. */
function trimmed(found) {
  let address = found.replace(BEHIND, "");
  for (const [open, close] of ["()", "[]"]) {
    const excess = () => address.split(close).length > address.split(open).length;
    while (address.endsWith(close) && excess()) {
      address = address.slice(0, -1).replace(BEHIND, "");
    }
  }
  return address;
}

/** `text` as strings and links, to be put into an element. */
export function linked(text) {
  const parts = [];
  let end = 0;
  for (const { 0: found, index } of text.matchAll(ADDRESS)) {
    const address = trimmed(found);
    if (!URL.canParse(address)) {
      continue;
    }
    const link = document.createElement("a");
    link.href = address;
    link.rel = "noopener noreferrer nofollow";
    link.target = "_blank";
    link.textContent = address;
    parts.push(text.slice(end, index), link);
    end = index + address.length;
  }
  return [...parts, text.slice(end)];
}
