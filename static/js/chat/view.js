/** Everything the chat does to the page. Only this file writes to the thread; it decides nothing. */

/**
 * @typedef {{reply: string, state: string, after: string, isEmpty: boolean}} Placed  a reply's turn as the server wrote it
 * @typedef {{placed: Placed[], removed: Placed[]}} Change
 */

const SOON_MS = 4_000;

/** @param {HTMLElement} thread */
export function createView(thread) {
  /** When the reader began to wait for a reply, in ms since the page was opened. @type {Map<string, number>} */
  const waitingSince = new Map();

  /** @param {string} reply @returns {HTMLElement | null} */
  const find = (reply) => document.getElementById(`m-${reply}`);
  /** @param {string} reply @param {string} selector @returns {any} */
  const part = (reply, selector) => find(reply)?.querySelector(selector);

  return {
    find,

    /** The replies on the page, as the server wrote them. */
    listReplies: () => list(thread),

    /**
     * Puts turns where they belong: after their parent, in place of whatever followed it.
     * @param {string} html
     * @returns {Change | null} null when their parent is not on this page
     */
    place(html) {
      const turns = parse(html).filter((turn) => !document.getElementById(turn.id));
      const first = turns[0];
      if (!first) return { placed: [], removed: [] };
      const parent = first.dataset.parent ? find(first.dataset.parent) : null;
      if (first.dataset.parent && !parent) return null;
      this.dropSending();
      const removed = this.dropAfter(parent);
      parent?.closest(".compare")?.replaceWith(parent); // who goes on from one of several has chosen it
      thread.append(...turns);
      return { placed: turns.flatMap(list), removed };
    },

    /** Shows another branch instead of what is there. @param {string} html @returns {Change} */
    renew(html) {
      const removed = list(thread);
      thread.replaceChildren(...parse(html));
      /** @type {any} */ (window).htmx?.process(thread);
      return { placed: list(thread), removed: removed.filter(({ reply }) => !find(reply)) };
    },

    /** @param {Element | null} turn null: everything @returns {Placed[]} what went */
    dropAfter(turn) {
      const later = [...thread.querySelectorAll(".turn")].filter(
        (other) => !turn || turn.compareDocumentPosition(other) & Node.DOCUMENT_POSITION_FOLLOWING,
      );
      const removed = later.flatMap(list);
      for (const other of later) other.remove();
      return removed.filter(({ reply }, index) => removed.findIndex((one) => one.reply === reply) === index);
    },

    /**
     * Shows at once what was sent, with a reply that waits unless another one is still being written.
     * @param {string} text @param {boolean} isQueued
     */
    showSending(text, isQueued) {
      const template = /** @type {HTMLTemplateElement} */ (document.getElementById("sending"));
      const turns = /** @type {HTMLElement[]} */ ([...document.importNode(template.content, true).children]);
      /** @type {HTMLElement} */ (turns[0].querySelector(".bubble")).textContent = text;
      thread.append(...(isQueued ? [turns[0]] : turns));
      return turns;
    },

    dropSending() {
      for (const turn of thread.querySelectorAll(".sending")) turn.remove();
    },

    /** @param {string} reply @param {string[]} blocks @param {number[] | "all"} changed */
    paint(reply, blocks, changed) {
      const prose = part(reply, ".prose");
      if (!prose) return;
      while (prose.children.length < blocks.length) prose.append(build("div", "blk"));
      while (prose.children.length > blocks.length) prose.lastElementChild.remove();
      for (const index of changed === "all" ? blocks.keys() : changed) {
        const block = prose.children[index];
        if (changed !== "all" || block.innerHTML !== blocks[index]) block.innerHTML = blocks[index];
      }
    },

    /** @param {string} reply @param {string} thought */
    think(reply, thought) {
      const box = part(reply, ".think");
      if (!box) return;
      box.hidden = !thought;
      box.querySelector(".reasoning").textContent = thought;
    },

    /** @param {string} reply @param {{state: string, isWriting: boolean, isWaiting: boolean, hasText: boolean}} now */
    setState(reply, { state, isWriting, isWaiting, hasText }) {
      const turn = find(reply);
      if (!turn) return;
      turn.dataset.state = state;
      turn.toggleAttribute("data-waiting", isWaiting);
      turn.toggleAttribute("aria-busy", isWriting);
      if (isWriting) turn.setAttribute("aria-busy", "true");
      part(reply, ".think summary span").textContent = isWriting && !hasText ? "Thinking…" : "Thought";
    },

    /** @param {string} reply @param {string} html */
    setFooter(reply, html) {
      const footer = part(reply, ".foot");
      if (footer) footer.innerHTML = html;
    },

    /** Called every second. @param {string} reply one being written */
    tellWaiting(reply) {
      const label = part(reply, ".wait span");
      if (!label) return;
      if (!waitingSince.has(reply)) waitingSince.set(reply, performance.now());
      const waitedMs = performance.now() - /** @type {number} */ (waitingSince.get(reply));
      label.textContent = waitedMs < SOON_MS ? "" : `Still thinking, ${Math.round(waitedMs / 1000)} s`;
    },

    /** For screen readers, without chatter. @param {string} words */
    say(words) {
      /** @type {HTMLElement} */ (document.getElementById("say")).textContent = words;
    },

    /** @param {string} reply */
    getFirstSentence: (reply) => (part(reply, ".prose")?.textContent ?? "").trim().slice(0, 200).split(/(?<=[.!?。])\s/)[0],

    /** @param {string} words empty: nothing to tell */
    setBanner(words) {
      const banner = /** @type {HTMLElement} */ (document.getElementById("banner"));
      banner.hidden = !words;
      banner.textContent = words;
    },

    /** @param {string} conversation @param {string} title */
    setTitle(conversation, title) {
      document.title = `${title} · Chatbox`;
      /** @type {HTMLElement} */ (document.getElementById("title")).textContent = title;
      const link = document.querySelector(`[data-chat="${conversation}"] > a:first-child`);
      if (link) link.textContent = title;
    },

    /** @param {string} conversation @param {boolean} isRunning */
    setRunning(conversation, isRunning) {
      document.querySelector(`[data-chat="${conversation}"]`)?.toggleAttribute("data-running", isRunning);
    },
  };
}

/**
 * The replies in a part of the page, which may be one itself.
 * @param {Element} root @returns {Placed[]}
 */
function list(root) {
  const turns = [...(root.matches("[data-reply]") ? [root] : []), ...root.querySelectorAll("[data-reply]")];
  return turns.map((turn) => {
    const { reply = "", state = "", after = "" } = /** @type {HTMLElement} */ (turn).dataset;
    const isEmpty = !turn.querySelector(".blk") && !turn.querySelector(".reasoning")?.textContent;
    return { reply, state, after, isEmpty };
  });
}

/** @param {string} html from our own server, already sanitised @returns {HTMLElement[]} */
function parse(html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  return /** @type {HTMLElement[]} */ ([...template.content.children]);
}

/** @param {string} tag @param {string} className */
function build(tag, className) {
  const element = document.createElement(tag);
  element.className = className;
  return element;
}
