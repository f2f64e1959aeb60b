/** Where the reader is. The page follows a growing reply only for those who are at its end, and never pulls at a selection. */

const NEAR_PX = 80;
const UP_KEYS = ["ArrowUp", "PageUp", "Home"];

/**
 * @param {HTMLElement} scroll  the scrolling box
 * @param {HTMLElement} thread
 * @param {HTMLElement} jump  the button "Newest"
 */
export function follow(scroll, thread, jump) {
  let isFollowing = true;
  let lastTop = 0;

  const getRest = () => scroll.scrollHeight - scroll.clientHeight - scroll.scrollTop;
  const isSelecting = () => {
    const selection = getSelection();
    return Boolean(selection && !selection.isCollapsed && thread.contains(selection.anchorNode));
  };

  function toEnd() {
    isFollowing = true;
    scroll.scrollTop = scroll.scrollHeight;
    showJump();
  }

  function leave() {
    if (scroll.scrollHeight > scroll.clientHeight) isFollowing = false;
  }

  function showJump() {
    jump.hidden = getRest() < NEAR_PX;
    if (jump.hidden) delete jump.dataset.news;
  }

  scroll.addEventListener("scroll", () => {
    if (scroll.scrollTop < lastTop - 1) isFollowing = false;
    else if (getRest() < NEAR_PX) isFollowing = true;
    lastTop = scroll.scrollTop;
    showJump();
  });
  scroll.addEventListener("wheel", ({ deltaY }) => deltaY < 0 && leave(), { passive: true });
  scroll.addEventListener("touchmove", leave, { passive: true });
  scroll.addEventListener("keydown", ({ key }) => UP_KEYS.includes(key) && leave());
  jump.addEventListener("click", toEnd);
  keepPlaceWhileOlderTurnsLoad(scroll);

  return {
    toEnd,

    /** Text has arrived. */
    grew() {
      if (isFollowing && !isSelecting()) scroll.scrollTop = scroll.scrollHeight;
      else if (getRest() >= NEAR_PX) jump.dataset.news = "";
      showJump();
    },

    /** Puts a sent message at the top, with room for its reply below. @param {HTMLElement} sent @param {HTMLElement} reply */
    makeRoom(sent, reply) {
      thread.querySelector(".fresh")?.classList.remove("fresh");
      const gap = Number.parseFloat(getComputedStyle(thread).rowGap) || 0;
      const padding = getComputedStyle(scroll);
      const used = sent.offsetHeight + gap + Number.parseFloat(padding.paddingTop) + Number.parseFloat(padding.paddingBottom);
      reply.style.setProperty("--room", `${Math.max(0, scroll.clientHeight - used)}px`);
      reply.classList.add("fresh");
      toEnd();
    },
  };
}

/** The browser anchors the page itself, except at the very top, where older turns are loaded. @param {HTMLElement} scroll */
function keepPlaceWhileOlderTurnsLoad(scroll) {
  let fromEnd = 0;
  scroll.addEventListener("htmx:beforeSwap", () => {
    fromEnd = scroll.scrollHeight - scroll.scrollTop;
  });
  scroll.addEventListener("htmx:afterSwap", () => {
    scroll.scrollTop = scroll.scrollHeight - fromEnd;
  });
}
