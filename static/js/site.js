/** What every page with a sidebar needs: theme, sidebar, menus, copying, and leaving cleanly. */

import { goToLogin } from "./http.js";
import { openPicker } from "./picker.js";
import { openSidebar } from "./sidebar.js";

const YEAR_S = 31_536_000;
const NARROW = "(max-width: 760px)";
const COPIED_MS = 2_000;
const app = /** @type {HTMLElement} */ (document.getElementById("app"));

/** Read by the server, so that the next page is right from its first byte. @param {string} name @param {string} value */
function remember(name, value) {
  const secure = location.protocol === "https:" ? "; secure" : "";
  document.cookie = `${name}=${encodeURIComponent(value)}; path=/; max-age=${YEAR_S}; samesite=lax${secure}`;
}

function toggleSide() {
  if (matchMedia(NARROW).matches) return toggleDrawer();
  const isClosed = app.dataset.side === "closed";
  app.dataset.side = isClosed ? "open" : "closed";
  remember("sidebar", app.dataset.side);
}

/** @param {boolean} [isOpen] */
function toggleDrawer(isOpen = app.dataset.nav !== "open") {
  if (isOpen) app.dataset.nav = "open";
  else delete app.dataset.nav;
  const target = isOpen ? ".side [data-side-toggle]" : ".bar [data-side-toggle]";
  /** @type {HTMLElement | null} */ (document.querySelector(target))?.focus();
}

/** @param {string} theme */
function setTheme(theme) {
  remember("theme", theme);
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  for (const button of document.querySelectorAll("#themes button")) {
    button.setAttribute("aria-pressed", String(button.getAttribute("value") === theme));
  }
}

/** @param {Element | null} [except] */
function closeMenus(except) {
  for (const menu of document.querySelectorAll("details[data-menu][open]")) {
    if (menu !== except) menu.removeAttribute("open");
  }
}

/** @param {string} text */
async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const box = document.createElement("textarea");
  box.value = text;
  document.body.append(box);
  box.select();
  document.execCommand("copy");
  box.remove();
}

/** @param {HTMLElement} button */
async function copyFor(button) {
  const turn = /** @type {HTMLElement} */ (button.closest(".turn"));
  const code = button.closest("figure.code")?.querySelector("pre");
  const source = /** @type {HTMLTemplateElement | null} */ (turn.querySelector("template.source"));
  await copy((code ?? source?.content ?? turn.querySelector(".bubble"))?.textContent ?? "");
  button.dataset.done = "";
  if (code) button.textContent = "Copied";
  /** @type {HTMLElement} */ (document.getElementById("say")).textContent = "Copied";
  setTimeout(() => {
    delete button.dataset.done;
    if (code) button.textContent = "Copy";
  }, COPIED_MS);
}

/** The drafts of whoever leaves are nobody else's business: on this device; the server keeps them for their owner. */
function forgetDrafts() {
  document.dispatchEvent(new Event("chat:leaving")); // or the text would be kept again on the way out
  for (const name of Object.keys(localStorage)) if (name.startsWith("draft:")) localStorage.removeItem(name);
}

document.addEventListener("click", (event) => {
  const target = /** @type {HTMLElement} */ (event.target);
  closeMenus(target.closest("details[data-menu]"));
  const button = /** @type {HTMLElement | null} */ (target.closest("[data-copy], .code .copy"));
  if (button) void copyFor(button);
  if (target.closest("[data-side-toggle]")) toggleSide();
  else if (target.closest("[data-nav-close]")) toggleDrawer(false);
  else return;
  event.preventDefault();
});

addEventListener("keydown", (event) => {
  const isCommand = (event.ctrlKey || event.metaKey) && event.shiftKey;
  const key = event.key.toLowerCase();
  if (isCommand && key === "s") toggleSide();
  else if (isCommand && key === "o") document.getElementById("new-chat")?.click();
  else if (event.shiftKey && event.key === "Escape") document.getElementById("text")?.focus();
  else {
    if (event.key === "Escape") escape(event);
    return;
  }
  event.preventDefault();
});

/** Closes what is open, before Escape means anything else. @param {KeyboardEvent} event */
function escape(event) {
  const menu = document.querySelector("details[data-menu][open]");
  if (menu) {
    menu.removeAttribute("open");
    /** @type {HTMLElement} */ (menu.querySelector("summary")).focus();
  } else if (app.dataset.nav === "open") toggleDrawer(false);
  else return;
  event.stopImmediatePropagation();
}

document.getElementById("themes")?.addEventListener("submit", (event) => {
  event.preventDefault();
  setTheme(/** @type {HTMLButtonElement} */ (event.submitter).value);
});

document.querySelector("[data-sign-out]")?.addEventListener("submit", forgetDrafts);

document.body.addEventListener("htmx:beforeSwap", (event) => {
  const { xhr } = /** @type {CustomEvent} */ (event).detail;
  if (!new URL(xhr.responseURL).pathname.startsWith("/accounts/login")) return;
  event.preventDefault();
  goToLogin();
});

remember("tz", Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC");
openSidebar(/** @type {HTMLElement} */ (document.getElementById("chats")));
const picker = document.getElementById("picker");
if (picker) openPicker(picker);
