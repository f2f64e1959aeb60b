/** Requests to our own pages: one way to send a form, one shape of answer. */

/**
 * @typedef {{ok: true, data: any}} Done
 * @typedef {{ok: false, code: string, message: string}} Refused  `code` is "network" when the server was not reached.
 */

const TIMEOUT_MS = 30_000;
const OFFLINE = "Chatbox cannot be reached. Nothing is lost: try again in a moment.";

export const urls = {
  /** @param {string} reply */
  stop: (reply) => `/chat/messages/${reply}/stop/`,
  /** @param {string} reply */
  footer: (reply) => `/chat/messages/${reply}/footer/`,
  /** @param {string} conversation @param {string} reply */
  turn: (conversation, reply) => `/chat/${conversation}/turns/${reply}/`,
  /** @param {string} conversation @param {"rename" | "delete"} verb */
  chat: (conversation, verb) => `/chat/${conversation}/${verb}/`,
  /** @param {string} conversation */
  socket: (conversation) =>
    `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws/conversations/${conversation}/?format=html`,
};

/** Signed out meanwhile: sign in and come back here. */
export function goToLogin() {
  location.assign(`/accounts/login/?next=${encodeURIComponent(location.pathname)}`);
}

/**
 * @param {string} url
 * @param {FormData} data  with the form's CSRF token
 * @param {RequestInit} [options]
 * @returns {Promise<Done | Refused>}
 */
export async function post(url, data, options = {}) {
  try {
    const body = new URLSearchParams(/** @type {any} */ (data));
    const response = await request(url, { method: "POST", body, ...options });
    const answer = await response.json();
    return response.ok ? { ok: true, data: answer } : { ok: false, ...answer.error };
  } catch {
    return { ok: false, code: "network", message: OFFLINE };
  }
}

/**
 * @param {string} url
 * @returns {Promise<string | null>} the fragment; null when it could not be had
 */
export async function getHtml(url) {
  try {
    const response = await request(url, { headers: {} });
    return response.ok ? await response.text() : null;
  } catch {
    return null;
  }
}

/** @param {string} url @param {RequestInit} options */
async function request(url, options) {
  const response = await fetch(url, {
    headers: { Accept: "application/json" },
    signal: AbortSignal.timeout(TIMEOUT_MS),
    ...options,
  });
  if (response.redirected && new URL(response.url).pathname.startsWith("/accounts/login")) goToLogin();
  return response;
}
