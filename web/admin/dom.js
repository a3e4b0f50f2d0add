// Elements made and changed in place: what does not change is not touched, so that focus and hover stay.

const SVG = "http://www.w3.org/2000/svg";

function filled(element, attributes, content) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null) element.setAttribute(name, value);
  }
  element.append(...content);
  return element;
}

/** A new element with attributes, listeners (`onclick`) and content: strings and nodes. */
export function make(tag, attributes = {}, ...content) {
  return filled(document.createElement(tag), attributes, content);
}

/** A new element of SVG. */
export function svg(tag, attributes = {}, ...content) {
  return filled(document.createElementNS(SVG, tag), attributes, content);
}

/** Makes `text` all that is in `element`. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Shows `text` in a cell of a table, in full when pointed at. */
export function setName(element, text) {
  if (!element.firstElementChild) element.append(make("bdi"));
  setText(element.firstElementChild, text);
  element.title = text;
}

/** Shows how much `value` is of `most` as a bar behind the text. */
export function setBar(element, text, value, most) {
  setText(element, text);
  const share = most > 0 && value > 0 ? Math.min(1, value / most) : 0;
  element.classList.add("bar");
  element.style.setProperty("--share", share.toFixed(3));
}
