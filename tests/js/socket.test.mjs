// Run by `node --test tests/js`. A page's connection against a server that closes it, on a clock that the test moves.
import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";

import { connect, getDelayMs, getReturnMs } from "../../static/js/chat/socket.js";

/** Every connection that was tried, the newest last. @type {FakeSocket[]} */
let sockets = [];
/** @type {string[]} */
let told = [];

class FakeSocket extends EventTarget {
  constructor() {
    super();
    sockets.push(this);
  }

  open() {
    this.dispatchEvent(new Event("open"));
  }

  end(code) {
    this.dispatchEvent(Object.assign(new Event("close"), { code }));
  }
}

Object.assign(globalThis, { WebSocket: FakeSocket, document: new EventTarget(), addEventListener() {} });

beforeEach(() => {
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout"] });
  [sockets, told] = [[], []];
  connect("ws://x/", {
    onOpen: () => told.push("open"),
    onFrame: () => {},
    onAway: (isAway) => isAway && told.push("away"),
    onEnd: (why) => told.push(why),
  });
  sockets[0].open();
});

test("back-off grows from half a second to fifteen, with jitter", () => {
  assert.equal(getDelayMs(0, () => 1), 500);
  assert.equal(getDelayMs(0, () => 0), 250);
  assert.equal(getDelayMs(30, () => 1), 15_000);
});

test("after a deploy a page comes back within a second, and each at a moment of its own", () => {
  for (const code of [1012, 4012]) {
    assert.equal(getReturnMs(code, 0, () => 0), 100);
    assert.equal(getReturnMs(code, 7, () => 1), 1000);
  }
  assert.equal(getReturnMs(1006, 7, () => 1), getDelayMs(7, () => 1));
});

test("a server that makes way costs a page nothing but a new connection", () => {
  sockets[0].end(4012);
  mock.timers.tick(99);
  assert.equal(sockets.length, 1);
  mock.timers.tick(901);
  assert.equal(sockets.length, 2);
  sockets[1].open();
  mock.timers.tick(10_000);
  assert.deepEqual(told, ["open", "open"]);
});

test("a next server that is not there yet is tried soon: a deploy is no failed attempt", () => {
  sockets[0].end(4012);
  mock.timers.tick(1000);
  sockets[1].end(1006);
  mock.timers.tick(500);
  assert.equal(sockets.length, 3);
});

test("the reader is told after two seconds without a line", () => {
  sockets[0].end(4012);
  mock.timers.tick(1000);
  sockets[1].end(1006);
  mock.timers.tick(1000);
  assert.deepEqual(told, ["open", "away"]);
});

test("who is signed out, or whose conversation is gone, does not come back", () => {
  for (const [code, why] of [[4401, "signed-out"], [4404, "gone"]]) {
    const count = sockets.length;
    sockets.at(-1).end(code);
    mock.timers.tick(60_000);
    assert.equal(sockets.length, count);
    assert.equal(told.at(-1), why);
    connect("ws://x/", { onOpen() {}, onFrame() {}, onAway() {}, onEnd: (reason) => told.push(reason) });
  }
});
