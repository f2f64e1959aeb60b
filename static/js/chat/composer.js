/** The box where people write: keys, height, draft, Send and Stop in one place, and a key that makes a second try harmless. */

const DRAFT_MS = 300;

/**
 * @param {HTMLFormElement} form
 * @param {{draftName: string, onSend: (data: FormData, text: string) => void, onStop: () => void}} options
 */
export function createComposer(form, { draftName, onSend, onStop }) {
  const box = /** @type {HTMLTextAreaElement} */ (form.elements.namedItem("text"));
  const halt = /** @type {HTMLButtonElement} */ (form.querySelector(".halt"));
  const go = /** @type {HTMLButtonElement} */ (form.querySelector(".go"));
  const refusal = /** @type {HTMLElement} */ (document.getElementById("refusal"));
  const isTouch = matchMedia("(pointer: coarse)").matches;
  let saving = 0;
  /** What was sent last, should it have to be sent again. @type {{text: string, model: string, key: string} | null} */
  let last = null;

  function save() {
    clearTimeout(saving);
    if (box.value.trim()) localStorage.setItem(draftName, box.value);
    else localStorage.removeItem(draftName);
  }

  function fit() {
    if (CSS.supports("field-sizing", "content")) return;
    box.style.setProperty("height", "auto");
    box.style.setProperty("height", `${box.scrollHeight}px`);
  }

  function getData() {
    const data = new FormData(form);
    const text = box.value;
    const model = String(data.get("model") ?? "");
    if (last?.text !== text || last.model !== model) last = { text, model, key: createKey() };
    data.set("idempotency_key", last.key);
    return data;
  }

  function submit() {
    if (go.disabled || "busy" in form.dataset || !box.value.trim()) return;
    onSend(getData(), box.value);
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
  });
  halt.addEventListener("click", (event) => {
    event.preventDefault();
    onStop();
    box.focus();
  });
  box.addEventListener("input", () => {
    fit();
    clearTimeout(saving);
    saving = setTimeout(save, DRAFT_MS);
  });
  box.addEventListener("keydown", (event) => {
    const breaksLine = event.shiftKey || (isTouch && !event.ctrlKey && !event.metaKey);
    if (event.key !== "Enter" || event.isComposing || breaksLine) return;
    event.preventDefault();
    submit();
  });
  addEventListener("pagehide", save);

  box.value ||= localStorage.getItem(draftName) ?? "";
  fit();
  if (!isTouch) box.focus({ preventScroll: true });
  box.setSelectionRange(box.value.length, box.value.length);

  return {
    focus: () => box.focus(),

    /** @param {string} text */
    fill(text) {
      box.value = text;
      fit();
      save();
      box.focus();
    },

    /** Emptied while the message is on its way; the draft stays until it has arrived. */
    empty() {
      box.value = "";
      fit();
      box.focus();
    },

    /** The message has arrived. */
    arrived() {
      last = null;
      save();
    },

    /** Nothing is lost: the text comes back, above what was typed meanwhile. @param {string} text @param {string} reason */
    giveBack(text, reason) {
      box.value = [text, box.value].filter(Boolean).join("\n\n");
      fit();
      save();
      this.refuse(reason);
    },

    /** @param {string} reason empty: nothing is wrong any more */
    refuse(reason) {
      /** @type {HTMLElement} */ (refusal.querySelector("span")).textContent = reason;
      refusal.hidden = !reason;
    },

    /** Stop stands where Send was. @param {boolean} isBusy @param {boolean} mayStop */
    setBusy(isBusy, mayStop) {
      const hadFocus = form.contains(document.activeElement) && document.activeElement !== box;
      form.toggleAttribute("data-busy", isBusy);
      halt.disabled = !mayStop;
      if (hadFocus) box.focus();
    },
  };
}

/** `randomUUID` exists only where the page came over https or from this machine. */
function createKey() {
  if (crypto.randomUUID) return crypto.randomUUID();
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
