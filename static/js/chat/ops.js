/** Rendering operations: how the server changes the blocks of a reply. Pure. */

/** @typedef {["set", number, number, string] | ["all", string[]]} Op */

/**
 * `keep` counts UTF-16 units of the block's last html, so plain `slice` is right.
 * @param {string[]} blocks @param {Op[]} ops
 * @returns {{blocks: string[], changed: number[] | "all"}}
 */
export function applyOps(blocks, ops) {
  let next = [...blocks];
  let isAll = false;
  const changed = new Set();
  for (const op of ops) {
    if (op[0] === "all") {
      next = [...op[1]];
      isAll = true;
      continue;
    }
    const [, index, keep, html] = op;
    next[index] = (next[index] ?? "").slice(0, keep) + html;
    changed.add(index);
  }
  return { blocks: next, changed: isAll ? "all" : [...changed] };
}
