/** Editing a message where it stands. The page's link to do it elsewhere is for those without scripts. */

/**
 * @param {HTMLElement} turn
 * @param {string} url
 * @param {{onSave: (data: FormData, onRefused: (reason: string) => void) => Promise<boolean>, onClose: () => void}} options
 */
export function openEditor(turn, url, { onSave, onClose }) {
  if (turn.querySelector(".editing")) return;
  const template = /** @type {HTMLTemplateElement} */ (document.getElementById("editing"));
  const form = /** @type {HTMLFormElement} */ (document.importNode(template.content, true).firstElementChild);
  const box = /** @type {HTMLTextAreaElement} */ (form.elements.namedItem("text"));
  const reason = /** @type {HTMLElement} */ (form.querySelector("[role=alert]"));
  const isTouch = matchMedia("(pointer: coarse)").matches;
  form.action = url;
  box.value = turn.querySelector(".bubble")?.textContent ?? "";
  turn.dataset.editing = "";
  turn.append(form);
  fit();
  box.focus();
  box.setSelectionRange(box.value.length, box.value.length);

  function fit() {
    if (CSS.supports("field-sizing", "content")) return;
    box.style.setProperty("height", "auto");
    box.style.setProperty("height", `${box.scrollHeight}px`);
  }

  function close() {
    delete turn.dataset.editing;
    form.remove();
    onClose();
  }

  /** @param {string} words */
  function refuse(words) {
    reason.textContent = words;
    reason.hidden = false;
    form.inert = false;
    box.focus();
  }

  async function save() {
    if (form.inert || !box.value.trim()) return;
    form.inert = true;
    if (await onSave(new FormData(form), refuse)) onClose();
  }

  form.querySelector("[data-cancel]")?.addEventListener("click", close);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void save();
  });
  box.addEventListener("input", fit);
  box.addEventListener("keydown", (event) => {
    const breaksLine = event.shiftKey || (isTouch && !event.ctrlKey && !event.metaKey);
    if (event.key === "Enter" && !event.isComposing && !breaksLine) {
      event.preventDefault();
      void save();
    } else if (event.key === "Escape" && !event.shiftKey) {
      event.stopPropagation();
      close();
    }
  });
}
