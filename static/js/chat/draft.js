/**
 * The draft of one box: on the server, where other devices find it, and in this browser as the copy for when the server is
 * away. A save names a revision above the one known; a lower one than the server's came too late. One save at a time.
 *
 * The local copy counts only while nobody has written to the server since: what was sent elsewhere does not come back.
 */

import { post } from "../http.js";

const SAVE_MS = 600;
const LOCAL_MS = 300;
const LONGEST = 64_000;

/**
 * @param {HTMLFormElement} form
 * @param {{name: string, read: () => string}} options  `name`: of the local copy
 */
export function createDraft(form, { name, read }) {
  const field = /** @type {HTMLInputElement} */ (form.elements.namedItem("draft_revision"));
  const url = form.dataset.draft ?? "";
  let revision = Number(field.value);
  let isDirty = false;
  let isSaving = false;
  let saving = 0;
  let keeping = 0;

  /** @param {number} known */
  function know(known) {
    revision = Math.max(revision, known);
    field.value = String(revision + 1); // the highest this page may have named
  }

  function keep() {
    clearTimeout(keeping);
    const text = read();
    if (isDirty && text.trim()) localStorage.setItem(name, JSON.stringify({ text, revision }));
    else localStorage.removeItem(name);
  }

  /** Should another device have written in between, ours is later all the same. @param {boolean} isLast */
  async function save(isLast = true) {
    clearTimeout(saving);
    if (!isDirty || isSaving) return;
    const text = read();
    if (text.length > LONGEST) return;
    isDirty = false;
    isSaving = true;
    const answer = await post(url, build(text, revision + 1));
    isSaving = false;
    const isLate = answer.ok && !answer.data.is_kept;
    if (answer.ok) know(answer.data.revision);
    if (isDirty) schedule();
    else if (!answer.ok || isLate) isDirty = read() === text;
    else keep();
    if (isLate && isLast && isDirty) await save(false);
  }

  /** @param {string} text @param {number} named */
  function build(text, named) {
    const data = new FormData();
    for (const [key, value] of Object.entries({ text, revision: String(named) })) data.set(key, value);
    data.set("csrfmiddlewaretoken", String(new FormData(form).get("csrfmiddlewaretoken")));
    return data;
  }

  function schedule() {
    clearTimeout(saving);
    saving = setTimeout(save, SAVE_MS);
  }

  function hold() {
    clearTimeout(saving);
    clearTimeout(keeping);
    isDirty = false;
  }

  /** On the way out there is no waiting for an answer, nor for a save under way. */
  function leave() {
    if (!isDirty) return;
    keep();
    const text = read();
    if (text.length <= LONGEST) void post(url, build(text, revision + (isSaving ? 2 : 1)), { keepalive: true });
  }

  addEventListener("pagehide", leave);
  document.addEventListener("chat:leaving", hold);
  know(revision);

  return {
    /** The local copy, if it is newer than what the server gave. */
    find() {
      try {
        const copy = JSON.parse(localStorage.getItem(name) ?? "null");
        return copy && copy.revision >= revision ? String(copy.text) : "";
      } catch {
        return "";
      }
    },

    typed() {
      isDirty = true;
      clearTimeout(keeping);
      keeping = setTimeout(keep, LOCAL_MS);
      schedule();
    },

    hold,

    /** It was sent, and the server has emptied its copy with a higher revision. What was typed since is a new draft. */
    sent() {
      hold();
      localStorage.removeItem(name);
      know(revision + 2);
      if (read().trim()) this.typed();
    },
  };
}
