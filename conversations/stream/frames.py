"""The wire format: JSON frames for viewers, and the doorbell messages that carry them from worker to web.

A doorbell is three lines: a header `kind reply part at length`, the frame for `format=text`, the frame for `format=html`. The
frames are ready to send, so a web process never parses them; the header is all it needs to see whether a viewer missed one.
"""

from collections.abc import Sequence
from typing import Any, Literal
from uuid import UUID

import msgspec

Part = Literal["text", "reasoning"]
Format = Literal["text", "html"]
CANCEL_CHANNEL = "chatbox:cancel"
KINDS = frozenset({"started", "delta", "finished", "resync", "changed", "deleted"})
_encode = msgspec.json.Encoder().encode


def encode(frame: dict[str, Any]) -> str:
    return _encode(frame).decode()


def get_channel(conversation_id: UUID | str) -> str:
    return f"chatbox:conversation:{conversation_id}"


def get_stream_key(reply_id: UUID | str) -> str:
    return f"chatbox:reply:{reply_id}"


class Doorbell(msgspec.Struct, frozen=True):
    """One event of a conversation. `at` and `length` count characters of `part`; `finished` counts both parts in `length`."""

    kind: str
    reply: str = "-"
    part: str = "-"
    at: int = 0
    length: int = 0
    text_frame: str = ""
    html_frame: str = ""

    def pack(self) -> str:
        return f"{self.kind} {self.reply} {self.part} {self.at} {self.length}\n{self.text_frame}\n{self.html_frame}"

    @classmethod
    def unpack(cls, message: str) -> "Doorbell | None":
        """None for a kind that only a newer version knows. A longer header is one, too: what it adds is ignored.

        So old and new processes may run side by side during a deploy; the heartbeat finds whatever text was missed.
        """
        header, text_frame, html_frame = message.split("\n", 2)
        kind, reply, part, at, length, *_ = header.split(" ")
        if kind not in KINDS:
            return None
        return cls(kind, reply, part, int(at), int(length), text_frame, html_frame)

    def get_frame(self, wanted: Format) -> str:
        return self.html_frame if wanted == "html" else self.text_frame


def build_started(*, reply_id: UUID, parent_id: UUID | None, model: str) -> Doorbell:
    frame = encode({"type": "reply.started", "reply": reply_id, "parent": parent_id, "model": model})
    return Doorbell("started", str(reply_id), text_frame=frame, html_frame=frame)


def build_delta(*, reply_id: str, part: Part, at: int, text: str, ops: Sequence[Any]) -> Doorbell:
    """Reasoning is plain text in both formats."""
    head = {"type": "reply.delta", "reply": reply_id, "part": part, "at": at}
    length = at + len(text)
    as_text = encode({**head, "text": text})
    as_html = encode({**head, "length": length, "ops": ops} if part == "text" else {**head, "length": length, "text": text})
    return Doorbell("delta", reply_id, part, at, length, as_text, as_html)


def build_finished(
    *,
    reply_id: UUID,
    state: str,
    length: int,
    usage: dict[str, Any] | None,
    error: dict[str, Any] | None,
    ops: Sequence[Any] = (),
) -> Doorbell:
    frame = {
        "type": "reply.finished",
        "reply": reply_id,
        "state": state,
        "length": length,
        "usage": usage,
        "error": error,
    }
    return Doorbell(
        "finished", str(reply_id), "-", 0, length, text_frame=encode(frame), html_frame=encode({**frame, "ops": ops})
    )


def build_resync(*, reply_id: str) -> Doorbell:
    """Tells web processes to read the reply afresh: what was published meanwhile is lost."""
    return Doorbell("resync", reply_id)


def build_changed(*, title: str) -> Doorbell:
    frame = encode({"type": "conversation.changed", "title": title})
    return Doorbell("changed", text_frame=frame, html_frame=frame)


def build_deleted() -> Doorbell:
    return Doorbell("deleted")


def build_snapshot(*, reply_id: UUID, state: str, text: str, reasoning: str, html: list[str] | None) -> str:
    frame: dict[str, Any] = {
        "type": "reply.snapshot",
        "reply": reply_id,
        "state": state,
        "parts": {"text": text, "reasoning": reasoning},
        "lengths": {"text": len(text), "reasoning": len(reasoning)},
    }
    return encode(frame if html is None else {**frame, "html": html})


def build_heartbeat(*, replies: dict[str, int], is_live: bool) -> str:
    return encode({"type": "heartbeat", "replies": replies, "live": is_live})
