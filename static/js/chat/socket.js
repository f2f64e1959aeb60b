/**
 * One WebSocket that stays open: back-off with jitter from 0.5 to 15 s, at once when the network or the reader comes back.
 * It knows nothing of what the frames mean.
 */

const FIRST_DELAY_MS = 500;
const LONGEST_DELAY_MS = 15_000;
const PATIENCE_MS = 2_000;
/** The server's heartbeat comes at least every 20 s; a line that is silent for longer is dead. */
const SILENCE_MS = 45_000;
const SIGNED_OUT = 4401;
const GONE = 4404;
/** The server makes way for the next one: the protocol's own code, and the one that ours can send. */
const RESTARTING = [1012, 4012];
const SHORTEST_RETURN_MS = 100;
const LONGEST_RETURN_MS = 1_000;

/**
 * @typedef {{onOpen: () => void, onFrame: (frame: any) => void, onAway: (isAway: boolean) => void, onEnd: (why: "signed-out" | "gone") => void}} Listener
 */

/** Full jitter over the upper half: many pages do not come back in one wave. @param {number} attempt */
export function getDelayMs(attempt, random = Math.random) {
  return Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** attempt) * (0.5 + random() / 2);
}

/**
 * After a connection that was closed with `code`: at once when that was a deploy, though not all pages in the same moment.
 * @param {number} code
 * @param {number} attempt
 */
export function getReturnMs(code, attempt, random = Math.random) {
  if (!RESTARTING.includes(code)) return getDelayMs(attempt, random);
  return SHORTEST_RETURN_MS + random() * (LONGEST_RETURN_MS - SHORTEST_RETURN_MS);
}

/**
 * @param {string} url
 * @param {Listener} listener
 * @returns {{send: (frame: object) => void}}  `send` drops the frame when there is no connection
 */
export function connect(url, { onOpen, onFrame, onAway, onEnd }) {
  /** @type {WebSocket | null} */
  let socket = null;
  let attempt = 0;
  let isOver = false;
  let retry = 0;
  let silence = 0;
  let patience = 0;

  function open() {
    clearTimeout(retry);
    if (isOver || socket) return;
    waitPatiently();
    const own = new WebSocket(url);
    socket = own;
    own.addEventListener("open", opened);
    own.addEventListener("message", ({ data }) => {
      if (socket !== own) return;
      listenForSilence();
      onFrame(JSON.parse(data));
    });
    own.addEventListener("close", ({ code }) => socket === own && closed(code));
  }

  function opened() {
    attempt = 0;
    clearTimeout(patience);
    patience = 0;
    onAway(false);
    listenForSilence();
    onOpen();
  }

  /** @param {number} code */
  function closed(code) {
    socket = null;
    clearTimeout(silence);
    if (code === SIGNED_OUT) return end("signed-out");
    if (code === GONE) return end("gone");
    waitPatiently();
    retry = setTimeout(open, getReturnMs(code, attempt));
    if (!RESTARTING.includes(code)) attempt += 1;
  }

  /** @param {"signed-out" | "gone"} why */
  function end(why) {
    isOver = true;
    clearTimeout(patience);
    onEnd(why);
  }

  function waitPatiently() {
    patience ||= setTimeout(() => onAway(true), PATIENCE_MS);
  }

  function listenForSilence() {
    clearTimeout(silence);
    silence = setTimeout(() => socket?.close(), SILENCE_MS);
  }

  function comeBack() {
    if (document.visibilityState === "visible") open();
  }

  /** Another network: the old line is dead, though it may take minutes to notice. */
  function renew() {
    const old = socket;
    socket = null;
    old?.close();
    open();
  }

  addEventListener("offline", waitPatiently);
  addEventListener("online", renew);
  addEventListener("pageshow", comeBack);
  document.addEventListener("visibilitychange", comeBack);
  open();

  return {
    send(frame) {
      if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(frame));
    },
  };
}
