// Run by `node --test tests/js`. The reducer is pure, so these need neither a browser nor a server.
import assert from "node:assert/strict";
import { test } from "node:test";

import { applyOps } from "../../static/js/chat/ops.js";
import { isWaiting, listLive, reduce, start } from "../../static/js/chat/reducer.js";
import { isWriting } from "../../static/js/chat/reply.js";

const placed = (reply, state = "queued", isEmpty = true) => ({ type: "page.placed", reply, state, isEmpty });
const started = (reply) => ({ type: "reply.started", reply, parent: "q", model: "M" });
const delta = (reply, at, text, ops) => ({ type: "reply.delta", reply, part: "text", at, length: at + text.length, ops });
const thought = (reply, at, text) => ({ type: "reply.delta", reply, part: "reasoning", at, length: at + text.length, text });
const finished = (reply, length, state = "done", ops = []) => ({ type: "reply.finished", reply, state, length, ops, usage: null, error: null });
const snapshot = (reply, text, { reasoning = "", state = "streaming" } = {}) => ({
  type: "reply.snapshot",
  reply,
  state,
  parts: { text, reasoning },
  lengths: { text: text.length, reasoning: reasoning.length },
  html: [...render(text)],
});

/** A stand-in for the server's renderer: a block a line. */
const render = (text) => (text ? text.split("\n").map((line) => `<p>${line}</p>`) : []);

/** The ops that turn the blocks of one text into those of another, as the server makes them. */
function diff(before, after) {
  const old = render(before);
  return render(after).flatMap((html, index) => {
    const known = old[index] ?? "";
    if (known === html) return [];
    let keep = 0;
    while (keep < known.length && known[keep] === html[keep]) keep += 1;
    return [["set", index, keep, html.slice(keep)]];
  });
}

function play(events, state = start()) {
  const effects = [];
  for (const event of events) {
    const step = reduce(state, event);
    state = step.state;
    effects.push(...step.effects);
  }
  return { state, effects };
}

const list = (effects, kind) => effects.filter((effect) => effect.do === kind);

test("a delta that starts where we are is painted, and only its block", () => {
  const { state, effects } = play([placed("r"), started("r"), delta("r", 0, "Hi", [["set", 0, 0, "<p>Hi</p>"]])]);
  assert.deepEqual(state.replies.r.blocks, ["<p>Hi</p>"]);
  assert.deepEqual(list(effects, "paint"), [{ do: "paint", reply: "r", changed: [0] }]);
  assert.equal(state.replies.r.state, "streaming");
});

test("a delta with a hole before it asks for a snapshot, once", () => {
  const { state, effects } = play([placed("r"), delta("r", 5, "x", []), delta("r", 6, "y", [])]);
  assert.deepEqual(list(effects, "send"), [{ do: "send", frame: { type: "resume", reply: "r", at: 0 } }]);
  assert.deepEqual(state.replies.r.blocks, []);
});

test("a delta that came twice changes nothing", () => {
  const once = delta("r", 0, "ab", [["set", 0, 0, "<p>ab</p>"]]);
  const { state } = play([placed("r"), once, once]);
  assert.deepEqual(state.replies.r.blocks, ["<p>ab</p>"]);
});

test("a page that was loaded in the middle of a reply waits for a snapshot", () => {
  const { state, effects } = play([placed("r", "streaming", false), delta("r", 7, "x", []), snapshot("r", "all of it")]);
  assert.equal(list(effects, "send").length, 1);
  assert.deepEqual(state.replies.r.blocks, ["<p>all of it</p>"]);
  assert.equal(state.replies.r.isResuming, false);
});

test("a connection that comes back asks for what was missed", () => {
  const { effects } = play([placed("r"), delta("r", 0, "abc", []), { type: "socket.opened" }]);
  assert.deepEqual(list(effects, "send"), [{ do: "send", frame: { type: "resume", reply: "r", at: 3 } }]);
});

test("a question of a lost connection is asked again", () => {
  const { effects } = play([placed("r"), delta("r", 9, "x", []), { type: "socket.opened" }]);
  assert.equal(list(effects, "send").length, 2);
});

test("an end that fits shows the footer; text after it is ignored", () => {
  const { state, effects } = play([placed("r"), delta("r", 0, "abc", [["set", 0, 0, "abc"]]), finished("r", 3), delta("r", 3, "d", [])]);
  assert.equal(isWriting(state.replies.r), false);
  assert.equal(list(effects, "footer").length, 1);
  assert.equal(state.replies.r.text, 3);
});

test("an end with more text than we have asks for it, and ends by the snapshot", () => {
  const before = play([placed("r"), delta("r", 0, "abc", []), finished("r", 9)]);
  assert.equal(isWriting(before.state.replies.r), true);
  assert.equal(list(before.effects, "send").length, 1);
  const after = play([snapshot("r", "abcdefghi", { state: "done" })], before.state);
  assert.equal(isWriting(after.state.replies.r), false);
  assert.equal(list(after.effects, "footer").length, 1);
});

test("length counts text and reasoning together", () => {
  const { state, effects } = play([placed("r"), thought("r", 0, "hmm"), delta("r", 0, "ab", []), finished("r", 5)]);
  assert.equal(state.replies.r.thought, "hmm");
  assert.equal(list(effects, "footer").length, 1);
});

test("a heartbeat finds the lost last delta and the lost end", () => {
  const running = play([placed("r"), delta("r", 0, "abc", [])]).state;
  const beat = (replies) => list(reduce(running, { type: "heartbeat", replies, live: true }).effects, "send").length;
  assert.equal(beat({ r: 3 }), 0);
  assert.equal(beat({ r: 4 }), 1);
  assert.equal(beat({}), 1);
  assert.equal(beat({ r: 2 }), 0); // older than what came after it
});

test("a heartbeat finds a reply whose beginning was lost", () => {
  const { effects } = play([{ type: "heartbeat", replies: { r: 4 }, live: true }]);
  assert.deepEqual(effects.map((effect) => effect.do), ["place", "send"]);
});

test("a bus that is away is told once, and its return too", () => {
  const beat = (live) => ({ type: "heartbeat", replies: {}, live });
  const { effects } = play([beat(true), beat(false), beat(false), beat(true)]);
  assert.deepEqual(effects, [{ do: "live", isLive: false }, { do: "live", isLive: true }]);
});

test("a reply from another tab is fetched", () => {
  assert.deepEqual(list(play([started("r")]).effects, "place"), [{ do: "place", reply: "r" }]);
});

test("our own reply, heard of before the answer to our request, is not fetched", () => {
  const events = [{ type: "page.sending" }, started("r"), delta("r", 0, "Hi", [["set", 0, 0, "Hi"]]), placed("r"), { type: "page.sent" }];
  const { state, effects } = play(events);
  assert.equal(list(effects, "place").length, 0);
  assert.deepEqual(list(effects, "paint").at(-1), { do: "paint", reply: "r", changed: "all" });
  assert.deepEqual(state.replies.r.blocks, ["Hi"]);
});

test("a stranger heard of while we were sending is fetched after it", () => {
  const { effects } = play([{ type: "page.sending" }, started("x"), placed("r"), { type: "page.sent" }]);
  assert.deepEqual(list(effects, "place"), [{ do: "place", reply: "x" }]);
});

test("a reply that ended before it was placed gets its footer", () => {
  const { effects } = play([{ type: "page.sending" }, started("r"), finished("r", 0), placed("r")]);
  assert.equal(list(effects, "footer").length, 1);
});

test("Stop is for a reply that is on the page and being written", () => {
  assert.deepEqual(listLive(play([placed("a", "done"), placed("b")]).state), ["b"]);
  assert.deepEqual(listLive(play([placed("a", "done"), started("b")]).state), []);
});

test("unknown frames are ignored and the state is never changed in place", () => {
  const state = Object.freeze(play([placed("r")]).state);
  Object.freeze(state.replies);
  Object.freeze(state.replies.r);
  assert.equal(reduce(state, { type: "execute", data: "alert(1)" }).state, state);
  reduce(state, delta("r", 0, "x", [["set", 0, 0, "x"]]));
  assert.deepEqual(state.replies.r.blocks, []);
});

test("ops: keep counts UTF-16 units, one past the end is a new block, all replaces", () => {
  assert.deepEqual(applyOps(["a😀b"], [["set", 0, 3, "c"], ["set", 1, 0, "d"]]), { blocks: ["a😀c", "d"], changed: [0, 1] });
  assert.deepEqual(applyOps(["x"], [["all", ["y", "z"]], ["set", 1, 1, "!"]]), { blocks: ["y", "z!"], changed: "all" });
});

test("old state + events = fresh snapshot, whatever is lost, doubled or cut off", () => {
  for (let seed = 1; seed <= 300; seed += 1) {
    const random = createRandom(seed);
    const thoughts = "so…";
    let text = "";
    let state = play([placed("r"), started("r")]).state;
    const frames = [thought("r", 0, thoughts)];
    while (text.length < 120) {
      const piece = Array.from({ length: 1 + random(9) }, () => "ab \n😀é"[random(6)]).join("");
      frames.push(delta("r", text.length, piece, diff(text, text + piece)));
      text += piece;
    }
    frames.push(finished("r", text.length + thoughts.length));
    const inbox = frames.flatMap((frame) => (random(8) === 0 ? [] : random(8) === 0 ? [frame, frame] : [frame]));
    if (random(3) === 0) inbox.splice(random(inbox.length), 0, { type: "socket.opened" });
    inbox.push({ type: "heartbeat", replies: {}, live: true });
    const fresh = snapshot("r", text, { reasoning: thoughts, state: "done" });
    for (const frame of inbox) {
      const step = reduce(state, frame);
      state = step.state;
      if (list(step.effects, "send").length) state = reduce(state, fresh).state;
    }
    assert.deepEqual(state.replies.r, reduce(play([placed("r")]).state, fresh).state.replies.r, `seed ${seed}`);
  }
});

/** Numbers below `limit` that are the same for the same seed. */
function createRandom(seed) {
  let state = seed * 2654435761;
  return (limit) => {
    state = (state * 1664525 + 1013904223) % 4294967296;
    return Math.floor((state / 4294967296) * limit);
  };
}

test("a message sent while a reply runs waits for that reply's end", () => {
  const waiting = { ...placed("b"), after: "a" };
  const before = play([placed("a", "streaming"), waiting, started("b")]).state;
  assert.equal(isWaiting(before, "b"), true);
  assert.deepEqual(listLive(before), ["a"]);
  const after = reduce(before, finished("a", 0));
  assert.equal(isWaiting(after.state, "b"), false);
  assert.deepEqual(listLive(after.state), ["b"]);
  assert.deepEqual(list(after.effects, "state").map((effect) => effect.reply), ["a", "b"]);
});

test("the end that comes by a snapshot lets the next one begin too", () => {
  const before = play([placed("a", "streaming"), { ...placed("b"), after: "a" }]).state;
  const { state, effects } = reduce(before, snapshot("a", "all", { state: "done" }));
  assert.equal(isWaiting(state, "b"), false);
  assert.ok(list(effects, "state").some((effect) => effect.reply === "b"));
});

test("replies side by side are all being written, and all can be stopped", () => {
  const { state } = play([placed("a"), placed("b"), delta("b", 0, "Hi", [["set", 0, 0, "Hi"]])]);
  assert.deepEqual(listLive(state), ["a", "b"]);
  assert.deepEqual(state.replies.b.blocks, ["Hi"]);
});

test("a reply of another branch grows unseen and is whole when it is shown again", () => {
  const aside = { type: "page.aside", reply: "r" };
  const text = delta("r", 0, "abc", [["set", 0, 0, "abc"]]);
  const hidden = play([placed("r"), aside, text, finished("r", 3)]);
  assert.deepEqual(listLive(hidden.state), []);
  assert.equal(list(hidden.effects, "footer").length, 0);
  const { effects } = reduce(play([placed("r"), aside, text]).state, placed("r"));
  assert.deepEqual(list(effects, "paint"), [{ do: "paint", reply: "r", changed: "all" }]);
});

test("a reply known to be on another branch is not fetched after a send", () => {
  const events = [started("x"), { type: "page.aside", reply: "x" }, { type: "page.sending" }, placed("r"), { type: "page.sent" }];
  assert.deepEqual(list(play(events).effects, "place"), [{ do: "place", reply: "x" }]);
});

test("a continued reply, placed with its old text, asks for all of it when it grows", () => {
  const { state, effects } = play([placed("r", "queued", false), delta("r", 5, "more", []), snapshot("r", "old and more")]);
  assert.equal(list(effects, "send").length, 1);
  assert.deepEqual(state.replies.r.blocks, ["<p>old and more</p>"]);
});
