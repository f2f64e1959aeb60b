/** Menus that open at a button: where they stand. */

const GAP_PX = 4;
const MARGIN_PX = 8;

/** Below its button, or above where there is no room. @param {HTMLElement} menu @param {Element} button */
export function placeUnder(menu, button) {
  menu.classList.add("placed");
  const { top, bottom, left } = button.getBoundingClientRect();
  const below = bottom + GAP_PX;
  const fits = below + menu.offsetHeight + MARGIN_PX <= innerHeight;
  const furthest = innerWidth - menu.offsetWidth - MARGIN_PX;
  menu.style.setProperty("--top", `${fits ? below : top - GAP_PX - menu.offsetHeight}px`);
  menu.style.setProperty("--left", `${Math.max(MARGIN_PX, Math.min(left, furthest))}px`);
}
