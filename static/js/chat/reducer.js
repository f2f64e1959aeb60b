/**
 * What the page knows of its replies. Pure: `reduce(state, event)` gives the next state and what has to be done about it.
 * Events are the frames of the socket and a few of the page's own. A reply's text only grows, so a delta is applied only
 * when it starts where we are; anything else asks the server for a snapshot. Of replies on other branches the state is kept
 * too, though nothing of them is shown.
 *
 * @typedef {import("./reply.js").Reply} Reply
 * @typedef {{replies: Record<string, Reply>, sending: number, isLive: boolean}} State
 * @typedef {{do: string, reply?: string, changed?: number[] | "all", frame?: object, title?: string, isLive?: boolean}} Effect
 * @typedef {{state: State, effects: Effect[]}} Step
 */

import { applyOps } from "./ops.js";
import { countCharacters, create, isStranger, isWriting } from "./reply.js";

/** @returns {State} */
export const start = () => ({ replies: {}, sending: 0, isLive: true });

/** It is queued until the reply before it has ended. @param {State} state @param {string} id */
export function isWaiting(state, id) {
  const { state: word, after } = state.replies[id];
  return word === "queued" && isWriting(state.replies[after]);
}

/** The replies being written on this page. @param {State} state @returns {string[]} */
export function listLive(state) {
  return Object.keys(state.replies).filter((id) => {
    const reply = state.replies[id];
    return reply.isPlaced && isWriting(reply) && !isWaiting(state, id);
  });
}

/**
 * @param {State} state
 * @param {any} event
 * @returns {Step}
 */
export function reduce(state, event) {
  const handle = handlers[event.type];
  return handle ? handle(state, event) : { state, effects: [] };
}

/** @type {Record<string, (state: State, event: any) => Step>} */
const handlers = {
  "page.placed": place,
  "page.aside": (state, { reply }) => ({ state: setAside(state, reply), effects: [] }),
  "page.sending": (state) => ({ state: { ...state, sending: state.sending + 1 }, effects: [] }),
  "page.sent": settle,
  "socket.opened": reopen,
  "reply.started": begin,
  "reply.delta": grow,
  "reply.snapshot": replace,
  "reply.finished": finish,
  "heartbeat": compare,
  "conversation.changed": (state, { title }) => ({ state, effects: [{ do: "title", title }] }),
};

/**
 * A reply's turn is on the page now, as the server wrote it. `isEmpty`: without any text yet. What the socket told us of it
 * meanwhile is newer, unless that was only that it exists, or the server knows already that it has ended.
 * @returns {Step}
 */
function place(state, { reply: id, state: word, isEmpty, after = "" }) {
  const known = state.replies[id];
  const length = isEmpty ? 0 : null;
  const written = { ...create(word, { text: length, reasoning: length }), isPlaced: true, after };
  if (!known || known.text === null || !isWriting(written)) {
    const reply = { ...written, isResuming: known?.isResuming ?? false };
    return { state: put(state, id, reply), effects: [{ do: "state", reply: id }] };
  }
  const next = put(state, id, { ...known, isPlaced: true, isAside: false, after });
  return { state: next, effects: [...paintAll(id), ...(isWriting(known) ? [] : [{ do: "footer", reply: id }])] };
}

/** Another branch is shown instead. @param {State} state @param {string} id @returns {State} */
function setAside(state, id) {
  const known = state.replies[id] ?? create("queued", { text: null, reasoning: null });
  return put(state, id, { ...known, isPlaced: false, isAside: true });
}

/** A send has been answered; replies that were first heard of meanwhile and are not its own come from elsewhere. @returns {Step} */
function settle(state) {
  const next = { ...state, sending: Math.max(0, state.sending - 1) };
  const strangers = next.sending ? [] : Object.keys(next.replies).filter((id) => isStranger(next.replies[id]));
  return { state: next, effects: strangers.map((reply) => ({ do: "place", reply })) };
}

/** A new connection: what was asked on the old one is forgotten, what was missed meanwhile is asked for. @returns {Step} */
function reopen(state) {
  const live = Object.keys(state.replies).filter((id) => isWriting(state.replies[id]));
  return resume(live.reduce((next, id) => put(next, id, { ...next.replies[id], isResuming: false }), state), live);
}

/** @returns {Step} */
function begin(state, { reply: id }) {
  const known = state.replies[id];
  if (known) return { state, effects: [] };
  return meet(state, id, { text: 0, reasoning: 0 });
}

/** @returns {Step} */
function grow(state, { reply: id, part, at, length, ops, text }) {
  const known = state.replies[id];
  if (!known) return resumeAfter(meet(state, id, { text: null, reasoning: null }), id);
  if (!isWriting(known)) return { state, effects: [] };
  if (known[part] !== at) return resume(state, [id]);
  if (part === "reasoning") {
    const reply = { ...known, state: "streaming", reasoning: length, thought: known.thought + text };
    return { state: put(state, id, reply), effects: [{ do: "think", reply: id }, ...turned(known, id)] };
  }
  const { blocks, changed } = applyOps(known.blocks, ops);
  const reply = { ...known, state: "streaming", text: length, blocks };
  return { state: put(state, id, reply), effects: [{ do: "paint", reply: id, changed }, ...turned(known, id)] };
}

/** @returns {Step} */
function replace(state, { reply: id, state: word, parts, lengths, html }) {
  const known = state.replies[id];
  const told = { state: word, ...lengths, thought: parts.reasoning, blocks: html, isResuming: false };
  const reply = { ...(known ?? create(word, lengths)), ...told };
  const next = put(state, id, reply);
  if (!reply.isPlaced) return { state: next, effects: state.sending || known ? [] : [{ do: "place", reply: id }] };
  const hasEnded = !isWriting(reply) && (!known || isWriting(known));
  const ending = hasEnded ? [{ do: "footer", reply: id }, ...follow(next, id)] : [];
  return { state: next, effects: [...paintAll(id), ...ending] };
}

/** @returns {Step} */
function finish(state, { reply: id, state: word, length, ops }) {
  const known = state.replies[id];
  if (!known || !isWriting(known)) return { state, effects: [] };
  if (countCharacters(known) !== length) return resume(state, [id]);
  const { blocks, changed } = applyOps(known.blocks, ops ?? []);
  const next = put(state, id, { ...known, state: word, blocks });
  const effects = [{ do: "paint", reply: id, changed }, { do: "state", reply: id }, { do: "footer", reply: id }];
  return { state: next, effects: known.isPlaced ? [...effects, ...follow(next, id)] : [] };
}

/** What waited for this reply begins now. @param {State} state @param {string} id @returns {Effect[]} */
const follow = (state, id) =>
  Object.keys(state.replies).flatMap((other) => (state.replies[other].after === id ? [{ do: "state", reply: other }] : []));

/** Finds the lost last delta, the lost end and the lost beginning. @returns {Step} */
function compare(state, { replies, live }) {
  const behind = Object.keys(state.replies).filter((id) => {
    const own = state.replies[id];
    return isWriting(own) && !(replies[id] <= /** @type {number} */ (countCharacters(own)));
  });
  const news = Object.keys(replies).filter((id) => !state.replies[id]);
  const met = news.reduce((step, id) => then(step, meet(step.state, id, { text: null, reasoning: null })), {
    state: { ...state, isLive: live },
    effects: live === state.isLive ? [] : [{ do: "live", isLive: live }],
  });
  return then(met, resume(met.state, [...behind, ...news]));
}

/** A reply that this page did not ask for, or not yet. @returns {Step} */
function meet(state, id, { text, reasoning }) {
  return { state: put(state, id, create("queued", { text, reasoning })), effects: state.sending ? [] : [{ do: "place", reply: id }] };
}

/** Asks for a snapshot, once until it comes. @returns {Step} */
function resume(state, ids) {
  const open = ids.filter((id) => !state.replies[id].isResuming);
  const next = open.reduce((all, id) => put(all, id, { ...all.replies[id], isResuming: true }), state);
  const frame = (id) => ({ type: "resume", reply: id, at: countCharacters(state.replies[id]) ?? 0 });
  return { state: next, effects: open.map((id) => ({ do: "send", frame: frame(id) })) };
}

/** @param {Step} step @param {string} id */
const resumeAfter = (step, id) => then(step, resume(step.state, [id]));

/** @param {Step} first @param {Step} second @returns {Step} */
const then = (first, second) => ({ state: second.state, effects: [...first.effects, ...second.effects] });

/** @param {State} state @param {string} id @param {Reply} reply @returns {State} */
const put = (state, id, reply) => ({ ...state, replies: { ...state.replies, [id]: reply } });

/** @param {string} reply @returns {Effect[]} */
const paintAll = (reply) => [{ do: "paint", reply, changed: "all" }, { do: "think", reply }, { do: "state", reply }];

/** The first piece of all, and the first of the text after thinking, change more than the text. @returns {Effect[]} */
const turned = (before, reply) => (before.state === "streaming" && before.text !== 0 ? [] : [{ do: "state", reply }]);
