/** What people do in a conversation: send, stop, withdraw, write again, continue, edit, and choose among branches. */

import { post, urls } from "../http.js";
import { openAgainMenu } from "./again.js";
import { openEditor } from "./edit.js";

/**
 * @param {{
 *   form: HTMLFormElement, thread: HTMLElement, scroll: HTMLElement,
 *   view: ReturnType<import("./view.js").createView>, place: ReturnType<import("./scroll.js").follow>,
 *   composer: ReturnType<import("./composer.js").createComposer>, dispatch: (event: any) => void,
 *   put: (html: string) => import("./view.js").Placed[], tell: (change: import("./view.js").Change) => void,
 *   listLive: () => string[], showBusy: () => void}} page
 */
export function createActions({ form, thread, scroll, view, place, composer, dispatch, put, tell, listLive, showBusy }) {
  /** Replies whose stop is on its way. @type {Set<string>} */
  const stopping = new Set();

  /** @param {FormData} data @param {string} text */
  async function send(data, text) {
    const isQueued = listLive().length > 0;
    const [sent, waiting] = view.showSending(text, isQueued);
    composer.empty();
    if (isQueued) place.toEnd();
    else place.makeRoom(sent, waiting);
    const isSent = await ask(form.action, data, (reason) => composer.giveBack(text, reason));
    if (isSent) composer.arrived();
  }

  /** @param {string} url @param {FormData} data @param {(reason: string) => void} onRefused */
  async function ask(url, data, onRefused) {
    dispatch({ type: "page.sending" });
    composer.refuse("");
    view.say("Writing a reply");
    const answer = await post(url, data);
    if (answer.ok) show(answer.data);
    else {
      view.dropSending();
      onRefused(answer.message);
    }
    dispatch({ type: "page.sent" });
    return answer.ok;
  }

  /** @param {{message: string, html: string}} answer */
  function show({ message, html }) {
    const [reply] = put(html);
    const [sent, turn] = [view.find(message), reply && view.find(reply.reply)?.closest("#thread > *")];
    if (!sent || !turn) return;
    if (reply.after) place.toEnd();
    else place.makeRoom(sent, /** @type {HTMLElement} */ (turn));
  }

  /** @param {HTMLFormElement} action a form of a reply @param {Record<string, string>} [fields] */
  function askBy(action, fields = {}) {
    const data = new FormData(action);
    for (const [name, value] of Object.entries(fields)) data.set(name, value);
    return ask(action.action, data, (reason) => composer.refuse(reason));
  }

  const getModel = () => String(new FormData(form).get("model") ?? "");

  /** @param {string} url @param {string} model "" for the same */
  function writeAgain(url, model) {
    const data = getToken();
    data.set("model", model);
    return ask(url, data, (reason) => composer.refuse(reason));
  }

  function getToken() {
    const data = new FormData();
    data.set("csrfmiddlewaretoken", String(new FormData(form).get("csrfmiddlewaretoken")));
    return data;
  }

  /** Each reply being written; what waits behind them is asked next. */
  async function stop() {
    await Promise.all(listLive().map(stopOne));
  }

  /** @param {string} reply */
  async function stopOne(reply) {
    if (stopping.has(reply)) return;
    stopping.add(reply);
    showBusy();
    const answer = await post(urls.stop(reply), getToken());
    if (answer.ok) return;
    stopping.delete(reply);
    composer.refuse(answer.message);
    showBusy();
  }

  /** The message comes back into the box, and what was queued behind it goes with it. @param {HTMLFormElement} action */
  async function withdraw(action) {
    const turn = /** @type {HTMLElement} */ (action.closest("#thread > *"));
    const sent = view.find(turn.dataset.parent ?? "");
    const answer = await post(action.action, new FormData(action));
    if (!answer.ok) return composer.refuse(answer.message);
    if (!sent || !answer.data.withdrawn) return;
    const text = sent.querySelector(".bubble")?.textContent ?? "";
    const removed = view.dropAfter(sent);
    sent.remove();
    tell({ placed: [], removed });
    composer.giveBack(text, "");
  }

  /** The thread along another branch; what was clicked stays where it is on the screen. @param {HTMLFormElement} action */
  async function select(action) {
    const way = /** @type {HTMLElement} */ (action.querySelector("button")).dataset.way;
    const turn = /** @type {HTMLElement} */ (action.closest(".turn"));
    const top = turn.getBoundingClientRect().top;
    const answer = await post(action.action, new FormData(action));
    if (!answer.ok) return composer.refuse(answer.message);
    tell(view.renew(answer.data.html));
    const chosen = view.find(action.dataset.select ?? "");
    if (!chosen) return;
    scroll.scrollTop += chosen.getBoundingClientRect().top - top;
    const buttons = /** @type {HTMLButtonElement[]} */ ([...chosen.querySelectorAll(".branches button:enabled")]);
    (buttons.find((button) => button.dataset.way === way) ?? buttons[0])?.focus({ preventScroll: true });
  }

  /** @param {HTMLAnchorElement} link */
  function edit(link) {
    const turn = /** @type {HTMLElement} */ (link.closest(".turn"));
    openEditor(turn, link.href, {
      onSave(data, onRefused) {
        data.set("model", getModel());
        return ask(link.href, data, onRefused);
      },
      onClose: () => composer.focus(),
    });
  }

  /** The last message: back into the box while it waits, else opened for editing. */
  function recall() {
    const waiting = [...thread.querySelectorAll("[data-waiting] [data-withdraw]")].at(-1);
    const link = [...thread.querySelectorAll("[data-edit]")].at(-1);
    if (waiting) void withdraw(/** @type {HTMLFormElement} */ (waiting));
    else if (link) edit(/** @type {HTMLAnchorElement} */ (link));
  }

  thread.addEventListener("submit", (event) => {
    const action = /** @type {HTMLFormElement} */ (event.target);
    if (action.matches("[data-retry]")) void askBy(action, { model: getModel() });
    else if (action.matches("[data-continue]")) void askBy(action);
    else if (action.matches("[data-select]")) void select(action);
    else if (action.matches("[data-withdraw]")) void withdraw(action);
    else return;
    event.preventDefault();
  });
  thread.addEventListener("click", (event) => {
    const link = /** @type {HTMLAnchorElement | null} */ (/** @type {HTMLElement} */ (event.target).closest("[data-edit]"));
    if (!link || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    edit(link);
  });
  addEventListener("keydown", (event) => {
    const isElsewhere = document.querySelector("dialog[open], :popover-open, details.menu[open]");
    if (event.key === "Escape" && !event.shiftKey && !event.isComposing && !isElsewhere) void stop();
  });
  openAgainMenu(thread, writeAgain);

  return { send, stop, recall, mayStop: (/** @type {string[]} */ live) => live.some((reply) => !stopping.has(reply)) };
}
