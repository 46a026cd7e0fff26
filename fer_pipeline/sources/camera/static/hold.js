// Which class is held: by its button (mouse, finger, Space or Enter) or by its key 1 to 9. One at a time.
export function watchHolds(list, onHold, onRelease) {
  const buttonOf = (target) => (target instanceof Element ? target.closest(".hold") : null);
  const byKey = (key) => list.querySelector(`.hold[data-key="${key}"]`);
  // The key itself, not what it writes: Shift and other layouts change that between down and up.
  const nameOf = (event) => event.code || event.key;
  let held = null; // {label, by}

  const hold = (button, by) => {
    if (held !== null || button === null) return;
    held = { label: button.dataset.class, by };
    onHold(held.label);
  };
  const release = (by) => {
    if (held === null || (by !== undefined && held.by !== by)) return;
    held = null;
    onRelease();
  };

  list.addEventListener("pointerdown", (event) => {
    if (event.button === 0) hold(buttonOf(event.target), "pointer");
  });
  addEventListener("pointerup", () => release("pointer"));
  addEventListener("pointercancel", () => release("pointer"));
  list.addEventListener("contextmenu", (event) => event.preventDefault()); // a long press is a hold
  addEventListener("keydown", (event) => {
    if (event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
    const own = buttonOf(event.target);
    if (own && (event.key === " " || event.key === "Enter")) hold(own, nameOf(event));
    else {
      const number = /^(?:Digit|Numpad)?([1-9])$/.exec(nameOf(event))?.[1];
      if (number) hold(byKey(number), nameOf(event));
    }
  });
  addEventListener("keyup", (event) => release(nameOf(event)));
  addEventListener("blur", () => release());
  document.addEventListener("visibilitychange", () => document.hidden && release());
  return () => held?.label ?? null;
}
