// The elements of the page by the ids that index.html gives them.
//
// A browser goes to the element that the fragment of the URL names, and takes the focus along. Here the
// fragment is a channel, which may be called like any id: so the ids in the page become others, which
// nobody can guess.

const REFERENCES = ["for", "aria-labelledby", "aria-describedby"];

const tag = Array.from(crypto.getRandomValues(new Uint32Array(2)), (part) => part.toString(36)).join("");
const elements = new Map();

for (const element of document.querySelectorAll("[id]")) {
  elements.set(element.id, element);
  element.dataset.id = element.id;
  element.id = `${element.id}-${tag}`;
}

for (const attribute of REFERENCES) {
  for (const element of document.querySelectorAll(`[${attribute}]`)) {
    const ids = element.getAttribute(attribute).split(" ");
    element.setAttribute(attribute, ids.map((id) => elements.get(id).id).join(" "));
  }
}

for (const link of document.querySelectorAll('a[href^="#"]')) {
  const target = elements.get(link.getAttribute("href").slice(1));
  if (target) {
    link.setAttribute("href", `#${target.id}`);
  }
}

/** The element that has `id` in index.html. */
export const $ = (id) => elements.get(id);
