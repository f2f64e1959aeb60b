"""History → the turns a model gets. Pure: no database, no network."""

from collections.abc import Sequence

from conversations.models import Author, Message
from providers.types import Turn

CHARACTERS_PER_TOKEN = 3.6  # English prose on the common tokenisers; below the usual 4, so that windows are kept
CONTINUE = "Continue exactly where you stopped. Repeat nothing and do not comment on the break."
TOKENS_PER_TURN = 6  # role and separators of the chat templates


def estimate_tokens(text: str) -> int:
    return int(len(text.encode()) / CHARACTERS_PER_TOKEN) + TOKENS_PER_TURN


def build_turns(history: Sequence[Message], *, system_prompt: str, budget_tokens: int, continued: str = "") -> tuple[Turn, ...]:
    """The newest turns that fit into `budget_tokens`, oldest first, behind the system prompt.

    With `continued`, the beginning of an answer, the last turns are that beginning and the request to go on.

    The last turn is always there, cut at its front if it is larger than the window. Replies without text are left out, and
    turns of one author in a row are joined, since many chat templates refuse them.
    """
    system = (Turn("system", system_prompt),) if system_prompt else ()
    left = budget_tokens - sum(estimate_tokens(turn.text) for turn in system)
    chosen: list[Turn] = []
    turns = [_to_turn(message) for message in history if message.text.strip()]
    if continued:
        turns += [Turn("assistant", continued), Turn("user", CONTINUE)]
    for turn in reversed(_join(turns)):
        cost = estimate_tokens(turn.text)
        if cost > left and chosen:
            break
        chosen.append(turn if cost <= left else Turn(turn.role, _cut(turn.text, left)))
        left -= cost
    return (*system, *_without_leading_reply(chosen[::-1]))


def _to_turn(message: Message) -> Turn:
    return Turn("user" if message.role == Author.USER else "assistant", message.text)


def _join(turns: list[Turn]) -> list[Turn]:
    joined: list[Turn] = []
    for turn in turns:
        if joined and joined[-1].role == turn.role:
            turn = Turn(turn.role, f"{joined.pop().text}\n\n{turn.text}")
        joined.append(turn)
    return joined


def _cut(text: str, budget_tokens: int) -> str:
    size_bytes = max(0, int((budget_tokens - TOKENS_PER_TURN) * CHARACTERS_PER_TOKEN))
    return text.encode()[-size_bytes:].decode(errors="ignore") if size_bytes else text[-200:]


def _without_leading_reply(turns: list[Turn]) -> list[Turn]:
    """A window that begins with an answer confuses models: they have not seen its question."""
    return turns[1:] if len(turns) > 1 and turns[0].role == "assistant" else turns
