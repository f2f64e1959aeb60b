/** The list of chats: the menu of a row, renaming in place, deleting after a question. */

import { post, urls } from "./http.js";
import { placeUnder } from "./menus.js";

const TITLE_CHARACTERS = 80;

/** @param {HTMLElement} list */
export function openSidebar(list) {
  const menu = /** @type {HTMLElement} */ (document.getElementById("chat-menu"));
  const dialog = /** @type {HTMLDialogElement} */ (document.getElementById("delete-dialog"));
  const token = /** @type {HTMLInputElement} */ (dialog.querySelector("[name=csrfmiddlewaretoken]")).value;
  /** The row whose menu is or was open. @type {HTMLElement | null} */
  let row = null;

  list.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest" });

  list.addEventListener("click", (event) => {
    const options = /** @type {HTMLElement} */ (event.target).closest("[data-options]");
    if (!options || !menu.showPopover) return;
    event.preventDefault();
    row = /** @type {HTMLElement} */ (options.closest(".chat"));
    row.dataset.menu = "";
    menu.showPopover();
    placeUnder(menu, options);
    /** @type {HTMLElement} */ (menu.querySelector("button")).focus();
  });

  menu.addEventListener("toggle", (event) => {
    if (/** @type {ToggleEvent} */ (event).newState === "closed" && row) delete row.dataset.menu;
  });

  menu.querySelector("[data-rename]")?.addEventListener("click", () => {
    menu.hidePopover();
    if (row) editTitle(row, token);
  });

  menu.querySelector("[data-delete]")?.addEventListener("click", () => {
    menu.hidePopover();
    if (!row) return;
    /** @type {HTMLElement} */ (dialog.querySelector("[data-name]")).textContent = getLink(row).textContent;
    dialog.showModal();
  });

  dialog.querySelector("[data-close]")?.addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.querySelector("form")?.addEventListener("submit", (event) => {
    event.preventDefault();
    dialog.close();
    if (row) void remove(row, new FormData(/** @type {HTMLFormElement} */ (event.target)));
  });
}

/** @param {HTMLElement} row @returns {HTMLAnchorElement} */
const getLink = (row) => /** @type {HTMLAnchorElement} */ (row.querySelector("a"));

/** Enter keeps, Escape forgets. @param {HTMLElement} row @param {string} token */
function editTitle(row, token) {
  const link = getLink(row);
  const form = document.createElement("form");
  const input = document.createElement("input");
  Object.assign(input, { name: "title", value: link.textContent ?? "", maxLength: TITLE_CHARACTERS, required: true });
  input.setAttribute("aria-label", "Title");
  form.append(input);
  const rest = [...row.children];
  row.replaceChildren(form);
  input.select();

  let isOver = false;
  function finish() {
    if (isOver) return;
    isOver = true;
    row.replaceChildren(...rest);
    link.focus();
  }
  input.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    event.stopPropagation();
    finish();
  });
  input.addEventListener("blur", finish);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const title = input.value.trim();
    finish();
    if (title) void rename(row, title, token);
  });
}

/** @param {HTMLElement} row @param {string} title @param {string} token */
async function rename(row, title, token) {
  const link = getLink(row);
  const before = link.textContent ?? "";
  setTitle(row, title);
  const data = new FormData();
  data.set("csrfmiddlewaretoken", token);
  data.set("title", title);
  const answer = await post(urls.chat(row.dataset.chat ?? "", "rename"), data);
  if (!answer.ok) tell(row, before, answer.message);
}

/** @param {HTMLElement} row @param {FormData} data */
async function remove(row, data) {
  const answer = await post(urls.chat(row.dataset.chat ?? "", "delete"), data);
  if (!answer.ok) return tell(row, getLink(row).textContent ?? "", answer.message);
  if (getLink(row).matches("[aria-current]")) return location.assign("/chat/");
  const section = row.closest("section");
  row.remove();
  if (section && !section.querySelector(".chat, .more")) section.remove();
  document.getElementById("new-chat")?.focus();
}

/** @param {HTMLElement} row @param {string} title */
function setTitle(row, title) {
  getLink(row).textContent = title;
  row.querySelector("[data-options]")?.setAttribute("aria-label", `Options for ${title}`);
  if (!getLink(row).matches("[aria-current]")) return;
  document.title = `${title} · Chatbox`;
  const heading = document.getElementById("title");
  if (heading) heading.textContent = title;
}

/** @param {HTMLElement} row @param {string} title @param {string} reason */
function tell(row, title, reason) {
  setTitle(row, title);
  const banner = /** @type {HTMLElement} */ (document.getElementById("banner"));
  banner.textContent = reason;
  banner.hidden = false;
  setTimeout(() => (banner.hidden = true), 5_000);
}
