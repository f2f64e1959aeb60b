/** Everything the chat does to the page. Only this file writes to the thread; it decides nothing. */

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
    listReplies: () => [...thread.querySelectorAll("[data-reply]")].map(describe),

    /**
     * Puts turns where they belong: after their parent, in place of whatever followed it.
     * @param {string} html
     * @returns {ReturnType<typeof describe>[] | null} the replies among them; null when their parent is not on this page
     */
    place(html) {
      const turns = parse(html).filter((turn) => !document.getElementById(turn.id));
      const first = turns[0];
      if (!first) return [];
      const parent = first.dataset.parent ? find(first.dataset.parent) : null;
      if (first.dataset.parent && !parent) return null;
      this.dropSending();
      for (const later of [...thread.querySelectorAll(".turn")]) {
        if (!parent || parent.compareDocumentPosition(later) & Node.DOCUMENT_POSITION_FOLLOWING) later.remove();
      }
      thread.append(...turns);
      return turns.filter((turn) => turn.dataset.reply).map(describe);
    },

    /** Shows at once what was sent, with a reply that waits. @param {string} text @returns {HTMLElement[]} */
    showSending(text) {
      const template = /** @type {HTMLTemplateElement} */ (document.getElementById("sending"));
      const turns = /** @type {HTMLElement[]} */ ([...document.importNode(template.content, true).children]);
      /** @type {HTMLElement} */ (turns[0].querySelector(".bubble")).textContent = text;
      thread.append(...turns);
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

    /** @param {string} reply @param {{state: string, isWriting: boolean, hasText: boolean}} now */
    setState(reply, { state, isWriting, hasText }) {
      const turn = find(reply);
      if (!turn) return;
      turn.dataset.state = state;
      turn.toggleAttribute("aria-busy", isWriting);
      if (isWriting) turn.setAttribute("aria-busy", "true");
      part(reply, ".think summary span").textContent = isWriting && !hasText ? "Thinking…" : "Thought";
    },

    /** @param {string} reply @param {string} html */
    setFooter(reply, html) {
      const footer = part(reply, ".foot");
      if (footer) footer.innerHTML = html;
    },

    /** Called every second. @param {string | null} reply the one being written */
    tellWaiting(reply) {
      const label = reply && part(reply, ".wait span");
      if (!reply || !label) return;
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

/** @param {Element} turn */
function describe(turn) {
  const { reply = "", state = "" } = /** @type {HTMLElement} */ (turn).dataset;
  const isEmpty = !turn.querySelector(".blk") && !turn.querySelector(".reasoning")?.textContent;
  return { reply, state, isEmpty, element: /** @type {HTMLElement} */ (turn) };
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
