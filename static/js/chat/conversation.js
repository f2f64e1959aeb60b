/** A conversation's page: joins socket, reducer, view and composer. What people do there is in `actions.js`. */

import { getHtml, goToLogin, urls } from "../http.js";
import { createActions } from "./actions.js";
import { createComposer } from "./composer.js";
import { isWaiting, listLive, reduce, start } from "./reducer.js";
import { isWriting } from "./reply.js";
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

/** @param {HTMLFormElement} form @param {string} conversation @param {string} draftName */
export function openConversation(form, conversation, draftName) {
  const thread = /** @type {HTMLElement} */ (document.getElementById("thread"));
  const scroll = /** @type {HTMLElement} */ (document.getElementById("scroll"));
  const view = createView(thread);
  const place = follow(scroll, thread, /** @type {HTMLElement} */ (document.getElementById("jump")));
  const composer = createComposer(form, {
    draftName,
    onSend: (data, text) => void actions.send(data, text),
    onStop: () => void actions.stop(),
    onRecall: () => actions.recall(),
  });
  let state = start();
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
      const [writing, waiting] = [isWriting(known), isWaiting(state, reply)];
      view.setState(reply, { state: known.state, isWriting: writing, isWaiting: waiting, hasText: known.text !== 0 });
    },
    footer: ({ reply }) => void showFooter(reply),
    place: ({ reply }) => void showTurn(reply),
    send: ({ frame }) => socket.send(frame),
    title: ({ title }) => view.setTitle(conversation, title),
    live: showBanner,
  };

  function showBusy() {
    const live = listLive(state);
    const isBusy = Boolean(live.length || state.sending);
    composer.setBusy({ isBusy, mayStop: actions.mayStop(live), isSending: Boolean(state.sending) });
    view.setRunning(conversation, isBusy);
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

  /** A reply that was asked for elsewhere; nothing comes of one on a branch that is not shown. @param {string} reply */
  async function showTurn(reply) {
    const html = await getHtml(urls.turn(conversation, reply));
    if (html === null) return void setTimeout(showTurn, RETRY_MS, reply);
    if (html.trim()) put(html);
    else dispatch({ type: "page.aside", reply });
  }

  /** @param {string} html */
  function put(html) {
    const change = view.place(html);
    if (change) tell(change);
    else location.reload();
    return change?.placed ?? [];
  }

  /** @param {import("./view.js").Change} change */
  function tell({ placed, removed }) {
    for (const { reply } of removed) dispatch({ type: "page.aside", reply });
    for (const reply of placed) dispatch({ type: "page.placed", ...reply });
  }

  const actions = createActions({
    form,
    thread,
    scroll,
    view,
    place,
    composer,
    dispatch,
    put,
    tell,
    listLive: () => listLive(state),
    showBusy,
  });
  setInterval(() => listLive(state).forEach((reply) => view.tellWaiting(reply)), 1_000);

  const socket = connect(urls.socket(conversation), {
    onOpen: () => dispatch({ type: "socket.opened" }),
    onFrame: dispatch,
    onAway(away) {
      isAway = away;
      showBanner();
    },
    onEnd: (why) => (why === "signed-out" ? goToLogin() : location.assign("/chat/")),
  });
  tell({ placed: view.listReplies(), removed: [] });
  place.toEnd();
}
