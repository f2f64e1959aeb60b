/**
 * What the page knows of one reply. Pure.
 *
 * @typedef {{state: string, text: number | null, reasoning: number | null, thought: string, blocks: string[],
 *   isPlaced: boolean, isAside: boolean, isResuming: boolean, after: string}} Reply  `text`, `reasoning`: characters we have;
 *   null when that is not known. `isAside`: it belongs to a branch that is not shown. `after`: the reply it waits for, or ""
 */

const LIVE = ["queued", "streaming"];

/** @param {Reply | undefined} reply */
export const isWriting = (reply) => Boolean(reply && LIVE.includes(reply.state));

/** A reply without any text yet, or of which we do not know how much there is. @returns {Reply} */
export const create = (state, { text, reasoning }) => ({
  state,
  text,
  reasoning,
  thought: "",
  blocks: [],
  isPlaced: false,
  isAside: false,
  isResuming: false,
  after: "",
});

/** Heard of, and not known to belong elsewhere. @param {Reply} reply */
export const isStranger = ({ isPlaced, isAside }) => !isPlaced && !isAside;

/** Characters of both parts, the reply's cursor; null when it is not known. @param {Reply} reply */
export const countCharacters = ({ text, reasoning }) => (text === null || reasoning === null ? null : text + reasoning);
