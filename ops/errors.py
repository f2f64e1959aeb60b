"""The root of every error a person or a client may see.

ChatboxError
├── accounts.errors.AccountError
├── conversations.errors.ConversationError
└── providers.errors.ProviderError
"""

from typing import ClassVar


class ChatboxError(Exception):
    """An expected failure. `code` is for programs, `message` for the user, `detail` for the log only."""

    code: ClassVar[str] = "error"
    message: str = "Something went wrong."
    retryable: ClassVar[bool] = False

    def __init__(self, message: str | None = None, *, detail: str = "") -> None:
        self.message = message or self.message
        self.detail = detail
        super().__init__(self.message)
