/** The chat page: the first one, or a conversation. */

import { post } from "../http.js";
import { createComposer } from "./composer.js";
import { openConversation } from "./conversation.js";

const main = /** @type {HTMLElement} */ (document.querySelector(".main"));
const form = /** @type {HTMLFormElement | null} */ (document.getElementById("composer"));
const conversation = main.dataset.conversation ?? "";
const draftName = `draft:${document.body.dataset.user}:${conversation || "new"}`;

if (form && conversation) openConversation(form, conversation, draftName);
else if (form) openFirstPage(form);

/** @param {HTMLFormElement} form */
function openFirstPage(form) {
  const composer = createComposer(form, { draftName, onSend: begin });

  /** @param {FormData} data */
  async function begin(data) {
    composer.setBusy({ isBusy: false, isSending: true });
    composer.refuse("");
    const answer = await post(form.action, data);
    if (!answer.ok) {
      composer.setBusy({ isBusy: false });
      return composer.refuse(answer.message);
    }
    composer.empty();
    composer.arrived();
    location.assign(answer.data.url);
  }

  document.getElementById("starters")?.addEventListener("click", (event) => {
    const starter = /** @type {HTMLElement} */ (event.target).closest("a");
    if (!starter) return;
    event.preventDefault();
    composer.fill(starter.dataset.text ?? "");
  });
}
