// Whether the reader uses the keyboard, which the style sheets show the focus by.

/** Notes it at the root of the document from now on. */
export function watchInput() {
  const note = (input) => () => {
    document.documentElement.dataset.input = input;
  };
  const keyboard = note("keyboard");
  const TYPED = new Set(["Tab", "ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight", "Escape"]);
  addEventListener("keydown", (event) => TYPED.has(event.key) && keyboard(), true);
  addEventListener("pointerdown", note("pointer"), true);
}
