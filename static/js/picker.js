/** The model picker: one model to talk to, and up to three more that are asked the same. */

const MODELS_AT_ONCE = 4;

/** @param {HTMLElement} picker a <details> */
export function openPicker(picker) {
  const summary = /** @type {HTMLElement} */ (picker.querySelector("summary"));
  const more = /** @type {HTMLElement} */ (summary.querySelector("[data-more]"));
  const list = () => /** @type {HTMLInputElement[]} */ ([...picker.querySelectorAll("[name=models]")]);

  function show() {
    const chosen = /** @type {HTMLInputElement} */ (picker.querySelector("[name=model]:checked"));
    const others = list().filter((box) => box.checked && box.value !== chosen.value);
    const label = chosen.dataset.label ?? "";
    /** @type {HTMLElement} */ (summary.querySelector("[data-chosen]")).textContent = label;
    /** @type {HTMLElement} */ (summary.querySelector("[data-demo]")).hidden = !("isDemo" in chosen.dataset);
    summary.setAttribute("aria-label", `Model: ${label}${others.length ? ` and ${others.length} more` : ""}`);
    more.hidden = !others.length;
    more.textContent = `+${others.length}`;
    const isFull = others.length >= MODELS_AT_ONCE - 1;
    for (const box of list()) box.disabled = box.value === chosen.value || (isFull && !box.checked);
  }

  picker.addEventListener("change", show);
  /** A pointer chooses and closes; arrow keys walk through the models first, and adding one leaves the list open. */
  picker.addEventListener("click", (event) => {
    const label = /** @type {HTMLElement} */ (event.target).closest("label");
    if (event.detail > 0 && label && !label.matches(".also")) setTimeout(() => picker.removeAttribute("open"));
  });
  show();
}
