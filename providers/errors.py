"""What can go wrong with a provider. `retryable` tells whether trying again later may help.

ProviderError
├── ProviderUnreachable      no connection, DNS, TLS
│   └── AddressRefused       the outbound guard said no
├── ProviderTimedOut         silent, or over the total deadline
├── ProviderBusy             429, 503, 529; may carry retry_after_s
├── ProviderMoved            a redirect, which is never followed
├── ProviderRefused          401, 403: key missing or wrong
├── RequestRejected          other 4xx: the request itself
├── ProviderFailed           5xx, or an error inside the stream
├── ProviderBroke            it spoke garbage, or the stream ended without an end
├── KeyNeeded                an administrator moved the address and must give the key again
└── ModelUnavailable         switched off, removed, or never there
"""

from typing import ClassVar

from ops.errors import ChatboxError


class ProviderError(ChatboxError):
    code = "provider_error"
    message = "The model's provider failed."
    retryable = True
    # Is `detail` a sentence for an administrator? It goes to the log in any case and quotes no body of an answer.
    is_detail_ours: ClassVar[bool] = False

    def __init__(
        self, message: str | None = None, *, detail: str = "", said: str = "", retry_after_s: float | None = None
    ) -> None:
        super().__init__(message, detail=detail)
        # The provider's words, to decide by. They may quote the conversation: never for a log or a person.
        self.said = said
        self.retry_after_s = retry_after_s


class ProviderUnreachable(ProviderError):
    code = "provider_unreachable"
    message = "The model's provider cannot be reached."


class AddressRefused(ProviderUnreachable):
    code = "address_refused"
    message = "This provider's address is not allowed."
    retryable = False
    is_detail_ours = True


class ProviderTimedOut(ProviderError):
    code = "provider_timed_out"
    message = "The model took too long to answer."


class ProviderBusy(ProviderError):
    code = "provider_busy"
    message = "The model is busy. Try again in a moment."


class ProviderRefused(ProviderError):
    code = "provider_refused"
    message = "The provider refused our key. An administrator has to look at it."
    retryable = False


class ProviderMoved(ProviderError):
    code = "provider_moved"
    message = "The model's provider has moved. An administrator has to look at its address."
    retryable = False


class RequestRejected(ProviderError):
    code = "request_rejected"
    message = "The provider rejected this request."
    retryable = False


class ProviderFailed(ProviderError):
    code = "provider_failed"
    message = "The model's provider had an error."


class ProviderBroke(ProviderError):
    code = "provider_broke"
    message = "The model's answer broke off."


class KeyNeeded(ProviderError):
    code = "key_needed"
    message = "The stored key belongs to the old address. Enter it again, or remove it."
    retryable = False
    is_detail_ours = True


class ModelUnavailable(ProviderError):
    code = "model_unavailable"
    message = "This model is not available. Choose another one."
    retryable = False
