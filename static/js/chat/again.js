/** The menu of "Write it again": the same model, or another one. */

import { placeUnder } from "../menus.js";

/**
 * @param {HTMLElement} thread
 * @param {(url: string, model: string) => void} onChosen  `model` is "" for the same
 */
export function openAgainMenu(thread, onChosen) {
  const menu = /** @type {HTMLElement} */ (document.getElementById("again-menu"));
  let url = "";
  /** @type {HTMLElement | null} */
  let opener = null;

  thread.addEventListener("click", (event) => {
    const link = /** @type {HTMLAnchorElement | null} */ (/** @type {HTMLElement} */ (event.target).closest("[data-again]"));
    if (!link || !menu.showPopover || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    url = link.href;
    opener = link;
    /** @type {HTMLElement} */ (menu.querySelector("[data-same]")).textContent = link.dataset.again ?? "";
    for (const item of menu.querySelectorAll("button")) {
      item.hidden = Boolean(item.dataset.model) && item.dataset.model === link.dataset.model; // "The same model" stands for it
    }
    menu.showPopover();
    placeUnder(menu, link);
    menu.querySelector("button")?.focus();
  });

  menu.addEventListener("click", (event) => {
    const item = /** @type {HTMLElement | null} */ (/** @type {HTMLElement} */ (event.target).closest("[data-model]"));
    if (!item) return;
    menu.hidePopover();
    onChosen(url, item.dataset.model ?? "");
  });

  menu.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const items = [...menu.querySelectorAll("button:not([hidden])")];
    const index = items.indexOf(/** @type {HTMLButtonElement} */ (document.activeElement));
    /** @type {HTMLElement} */ (items[(index + step + items.length) % items.length]).focus();
  });

  menu.addEventListener("toggle", (event) => {
    if (/** @type {ToggleEvent} */ (event).newState === "closed" && menu.contains(document.activeElement)) opener?.focus();
  });
}
