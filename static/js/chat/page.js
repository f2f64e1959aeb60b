/** The chat page: joins socket, reducer, view and composer. */

import { getHtml, goToLogin, post, urls } from "../http.js";
import { createComposer } from "./composer.js";
import { findLive, isWriting, reduce, start } from "./reducer.js";
import { follow } from "./scroll.js";
import { connect } from "./socket.js";
import { createView } from "./view.js";

const RETRY_MS = 3_000;
const AWAY = "Reconnecting…";
/** @type {Record<string, string>} */
const ENDINGS = {
  done: "Reply finished.",
  stopped: "Reply stopped.",
  interrupted: "The reply was interrupted.",
  failed: "The reply failed.",
};
const FROM_CHECKPOINTS = "Live updates are slow at the moment. No text is lost.";

const main = /** @type {HTMLElement} */ (document.querySelector(".main"));
const form = /** @type {HTMLFormElement | null} */ (document.getElementById("composer"));
const conversation = main.dataset.conversation ?? "";
const draftName = `draft:${document.body.dataset.user}:${conversation || "new"}`;

if (form && conversation) openConversation(form);
else if (form) openFirstPage(form);

/** @param {HTMLFormElement} form */
function openFirstPage(form) {
  const composer = createComposer(form, { draftName, onSend: begin, onStop() {} });

  /** @param {FormData} data */
  async function begin(data) {
    composer.setBusy(true, false);
    composer.refuse("");
    const answer = await post(form.action, data);
    if (!answer.ok) {
      composer.setBusy(false, false);
      return composer.refuse(answer.message);
    }
    composer.empty();
    composer.arrived();
    location.assign(answer.data.url);
  }

  document.getElementById("starters")?.addEventListener("click", (event) => {
    const starter = /** @type {HTMLElement} */ (event.target).closest("a");
    if (!starter) return;
    event.preventDefault();
    composer.fill(starter.dataset.text ?? "");
  });
}

/** @param {HTMLFormElement} form */
function openConversation(form) {
  const thread = /** @type {HTMLElement} */ (document.getElementById("thread"));
  const scroll = /** @type {HTMLElement} */ (document.getElementById("scroll"));
  const view = createView(thread);
  const place = follow(scroll, thread, /** @type {HTMLElement} */ (document.getElementById("jump")));
  const composer = createComposer(form, { draftName, onSend: send, onStop: stop });
  let state = start();
  let isStopping = false;
  let isAway = false;

  /** @param {any} event */
  function dispatch(event) {
    const step = reduce(state, event);
    state = step.state;
    for (const effect of step.effects) act[effect.do](effect);
    if (step.effects.some((effect) => effect.do !== "send")) place.grew();
    showBusy();
  }

  /** @type {Record<string, (effect: any) => void>} */
  const act = {
    paint: ({ reply, changed }) => view.paint(reply, state.replies[reply].blocks, changed),
    think: ({ reply }) => view.think(reply, state.replies[reply].thought),
    state: ({ reply }) => {
      const known = state.replies[reply];
      view.setState(reply, { state: known.state, isWriting: isWriting(known), hasText: known.text !== 0 });
    },
    footer: ({ reply }) => void showFooter(reply),
    place: ({ reply }) => void showTurn(reply),
    send: ({ frame }) => socket.send(frame),
    title: ({ title }) => view.setTitle(conversation, title),
    live: showBanner,
  };

  function showBusy() {
    const live = findLive(state);
    if (!live) isStopping = false;
    composer.setBusy(Boolean(live || state.sending), Boolean(live) && !isStopping);
    view.setRunning(conversation, Boolean(live || state.sending));
  }

  function showBanner() {
    view.setBanner(isAway ? AWAY : state.isLive ? "" : FROM_CHECKPOINTS);
  }

  /** @param {string} reply */
  async function showFooter(reply) {
    const html = await getHtml(urls.footer(reply));
    if (html === null) return void setTimeout(showFooter, RETRY_MS, reply);
    view.setFooter(reply, html);
    place.grew();
    view.say(`${ENDINGS[state.replies[reply].state]} ${view.getFirstSentence(reply)}`);
  }

  /** A reply that was asked for elsewhere. @param {string} reply */
  async function showTurn(reply) {
    const html = await getHtml(urls.turn(conversation, reply));
    if (html === null) return void setTimeout(showTurn, RETRY_MS, reply);
    put(html);
  }

  /** @param {string} html */
  function put(html) {
    const replies = view.place(html);
    if (!replies) return location.reload();
    for (const reply of replies) dispatch({ type: "page.placed", ...reply });
    return replies;
  }

  /** @param {FormData} data @param {string} text */
  async function send(data, text) {
    const [sent, waiting] = view.showSending(text);
    composer.empty();
    place.makeRoom(sent, waiting);
    const isSent = await ask(form.action, data, (reason) => composer.giveBack(text, reason));
    if (isSent) composer.arrived();
  }

  /** @param {HTMLFormElement} retry */
  async function writeAgain(retry) {
    const data = new FormData(retry);
    data.set("model", String(new FormData(form).get("model") ?? ""));
    await ask(retry.action, data, (reason) => composer.refuse(reason));
  }

  /** @param {string} url @param {FormData} data @param {(reason: string) => void} onRefused */
  async function ask(url, data, onRefused) {
    dispatch({ type: "page.sending" });
    composer.refuse("");
    view.say("Writing a reply");
    const answer = await post(url, data);
    if (answer.ok) {
      const [reply] = put(answer.data.html) ?? [];
      const sent = reply && view.find(reply.element.dataset.parent ?? "");
      if (sent) place.makeRoom(sent, reply.element);
    } else {
      view.dropSending();
      onRefused(answer.message);
    }
    dispatch({ type: "page.sent" });
    return answer.ok;
  }

  async function stop() {
    const live = findLive(state);
    if (!live || isStopping) return;
    isStopping = true;
    showBusy();
    const stopForm = /** @type {HTMLFormElement} */ (document.getElementById("stop"));
    const answer = await post(urls.stop(live), new FormData(stopForm));
    if (answer.ok) return;
    isStopping = false;
    composer.refuse(answer.message);
    showBusy();
  }

  thread.addEventListener("submit", (event) => {
    const retry = /** @type {HTMLFormElement} */ (event.target);
    if (!retry.matches("[data-retry]")) return;
    event.preventDefault();
    void writeAgain(retry);
  });
  addEventListener("keydown", (event) => {
    const isElsewhere = document.querySelector("dialog[open], :popover-open, details.menu[open]");
    if (event.key === "Escape" && !event.shiftKey && !event.isComposing && !isElsewhere) void stop();
  });
  setInterval(() => view.tellWaiting(findLive(state)), 1_000);

  const socket = connect(urls.socket(conversation), {
    onOpen: () => dispatch({ type: "socket.opened" }),
    onFrame: dispatch,
    onAway(away) {
      isAway = away;
      showBanner();
    },
    onEnd: (why) => (why === "signed-out" ? goToLogin() : location.assign("/chat/")),
  });
  for (const reply of view.listReplies()) dispatch({ type: "page.placed", ...reply });
  place.toEnd();
}
