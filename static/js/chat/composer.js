/** The box where people write: keys, height, draft, Send and Stop in one place, and a key that makes a second try harmless. */

import { createDraft } from "./draft.js";

/**
 * `onRecall`: Up arrow in an empty box.
 * @param {HTMLFormElement} form
 * @param {{draftName: string, onSend: (data: FormData, text: string) => void, onStop?: () => void, onRecall?: () => void}} options
 */
export function createComposer(form, { draftName, onSend, onStop, onRecall }) {
  const box = /** @type {HTMLTextAreaElement} */ (form.elements.namedItem("text"));
  const halt = /** @type {HTMLButtonElement} */ (form.querySelector(".halt"));
  const go = /** @type {HTMLButtonElement} */ (form.querySelector(".go"));
  const refusal = /** @type {HTMLElement} */ (document.getElementById("refusal"));
  const isTouch = matchMedia("(pointer: coarse)").matches;
  const draft = createDraft(form, { name: draftName, read: () => box.value });
  /** What was sent last, should it have to be sent again. @type {{asked: string, key: string} | null} */
  let last = null;

  function fit() {
    if (CSS.supports("field-sizing", "content")) return;
    box.style.setProperty("height", "auto");
    box.style.setProperty("height", `${box.scrollHeight}px`);
  }

  function getData() {
    const data = new FormData(form);
    const asked = JSON.stringify([box.value, data.get("model"), data.getAll("models")]);
    if (last?.asked !== asked) last = { asked, key: createKey() };
    data.set("idempotency_key", last.key);
    return data;
  }

  function submit() {
    if (go.disabled || "sending" in form.dataset || !box.value.trim()) return;
    onSend(getData(), box.value);
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
  });
  halt.addEventListener("click", (event) => {
    event.preventDefault();
    onStop?.();
    box.focus();
  });
  box.addEventListener("input", () => {
    fit();
    draft.typed();
  });
  box.addEventListener("keydown", (event) => {
    if (event.key === "ArrowUp" && !box.value && onRecall) {
      event.preventDefault();
      return onRecall();
    }
    const breaksLine = event.shiftKey || (isTouch && !event.ctrlKey && !event.metaKey);
    if (event.key !== "Enter" || event.isComposing || breaksLine) return;
    event.preventDefault();
    submit();
  });

  const copy = draft.find();
  if (copy && copy !== box.value) {
    box.value = copy;
    draft.typed();
  }
  fit();
  if (!isTouch) box.focus({ preventScroll: true });
  box.setSelectionRange(box.value.length, box.value.length);

  return {
    focus: () => box.focus(),

    /** @param {string} text */
    fill(text) {
      box.value = text;
      fit();
      draft.typed();
      box.focus();
    },

    /** Emptied while the message is on its way; the draft stays until it has arrived. */
    empty() {
      draft.hold();
      box.value = "";
      fit();
      box.focus();
    },

    /** The message has arrived. */
    arrived() {
      last = null;
      draft.sent();
    },

    /** Nothing is lost: the text comes back, above what was typed meanwhile. @param {string} text @param {string} reason */
    giveBack(text, reason) {
      box.value = [text, box.value].filter(Boolean).join("\n\n");
      fit();
      draft.typed();
      this.refuse(reason);
    },

    /** @param {string} reason empty: nothing is wrong any more */
    refuse(reason) {
      /** @type {HTMLElement} */ (refusal.querySelector("span")).textContent = reason;
      refusal.hidden = !reason;
    },

    /**
     * Stop stands where Send was, until something is typed: that is sent to wait for its turn.
     * @param {{isBusy: boolean, mayStop?: boolean, isSending?: boolean}} now
     */
    setBusy({ isBusy, mayStop = false, isSending = false }) {
      const hadFocus = form.contains(document.activeElement) && document.activeElement !== box;
      form.toggleAttribute("data-busy", isBusy);
      form.toggleAttribute("data-sending", isSending);
      go.title = isBusy ? "Send when the reply has ended" : "Send";
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
