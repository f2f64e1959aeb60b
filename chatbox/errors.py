"""The only place where errors become HTTP. One JSON shape for programs, one page for people.

{"error": {"code", "message", "retryable", "request_id"}}
"""

import logging
from collections.abc import Callable
from typing import Any

from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation, ValidationError
from django.db import OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string
from psycopg_pool import PoolTimeout
from redis.exceptions import RedisError
from rest_framework import exceptions as drf
from rest_framework.response import Response

from accounts import errors as accounts
from conversations import errors as conversations
from ops.errors import ChatboxError
from ops.logs import get_request_id
from providers import errors as providers

log = logging.getLogger(__name__)

STATUS_BY_ERROR: dict[type[ChatboxError], int] = {
    accounts.SetupLinkInvalid: 410,
    conversations.MessageNotFound: 404,
    conversations.ConversationNotFound: 404,
    conversations.ReplyRunning: 409,
    conversations.ReplyFinished: 409,
    conversations.KeyReused: 422,
    conversations.TooManyReplies: 429,
    providers.AddressRefused: 400,
    providers.KeyNeeded: 400,
    providers.ModelUnavailable: 409,
    providers.ProviderBusy: 503,
    providers.ProviderTimedOut: 504,
    providers.ProviderError: 502,
}
CODE_BY_STATUS = {
    400: ("bad_request", "The request could not be understood."),
    401: ("not_authenticated", "Sign in first."),
    403: ("forbidden", "You may not do this."),
    404: ("not_found", "There is nothing here."),
    405: ("method_not_allowed", "This address does not take that method."),
    406: ("not_acceptable", "This address only speaks JSON."),
    413: ("too_large", "That is too much to send at once."),
    415: ("unsupported_media_type", "Send JSON."),
    429: ("too_many_requests", "Too many requests. Try again in a moment."),
    500: ("internal_error", "Something went wrong on our side."),
    503: ("unavailable", "Chatbox is busy or restarting. Try again in a moment."),
}
RETRYABLE = {429, 500, 503}
RETRY_AFTER_S = "5"


def build_body(*, code: str, message: str, retryable: bool) -> dict[str, dict[str, str | bool]]:
    return {"error": {"code": code, "message": message, "retryable": retryable, "request_id": get_request_id()}}


def build_status_body(status: int, message: str = "") -> dict[str, dict[str, str | bool]]:
    code, default = CODE_BY_STATUS.get(status, CODE_BY_STATUS[500])
    return build_body(code=code, message=message or default, retryable=status in RETRYABLE)


def get_status(error: ChatboxError) -> int:
    """The status of the nearest class that is in the table; 400 for the others."""
    return next((STATUS_BY_ERROR[kind] for kind in type(error).__mro__ if kind in STATUS_BY_ERROR), 400)


def wants_json(request: HttpRequest) -> bool:
    return request.path.startswith(("/api/", "/v1/")) or request.headers.get("Accept", "").startswith("application/json")


def respond(request: HttpRequest, status: int, body: dict[str, dict[str, str | bool]]) -> HttpResponse:
    """The error as JSON or as a page. A page never depends on the database."""
    response: HttpResponse
    if wants_json(request):
        response = JsonResponse(body, status=status)
    else:
        response = HttpResponse(render_to_string("chatbox/error.html", {**body["error"], "status": status}), status=status)
    if status == 503:
        response["Retry-After"] = RETRY_AFTER_S
    return response


def respond_to(request: HttpRequest, error: ChatboxError) -> HttpResponse:
    body = build_body(code=error.code, message=error.message, retryable=error.retryable)
    return respond(request, get_status(error), body)


class ErrorMiddleware:
    """Turns what a view raises into an answer a person or a program can act on."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        if isinstance(error, ChatboxError):
            log.info("refused: %s %s", error.code, error.detail)
            return respond_to(request, error)
        if isinstance(error, (OperationalError, PoolTimeout, RedisError)):
            log.error("engine unavailable: %s", type(error).__name__, exc_info=error)
            return respond(request, 503, build_status_body(503))
        return None


def api_exception_handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's hook. None leaves the error to the middleware and to `server_error`."""
    if isinstance(error, ChatboxError):
        return Response(build_body(code=error.code, message=error.message, retryable=error.retryable), status=get_status(error))
    if isinstance(error, ValidationError):
        error = drf.ValidationError(error.messages)
    if isinstance(error, Http404):
        error = drf.NotFound()
    if isinstance(error, PermissionDenied):
        error = drf.PermissionDenied()
    if not isinstance(error, drf.APIException):
        return None
    return _respond_to_drf(error)


def _respond_to_drf(error: drf.APIException) -> Response:
    is_told = isinstance(error, (drf.ValidationError, drf.ParseError)) or type(error) is drf.AuthenticationFailed
    message = _flatten(error.detail) if is_told else ""
    response = Response(build_status_body(error.status_code, message), status=error.status_code)
    if wait_s := getattr(error, "wait", None):
        response["Retry-After"] = str(int(wait_s) + 1)
    if auth_header := getattr(error, "auth_header", None):
        response["WWW-Authenticate"] = auth_header
    return response


def _flatten(detail: Any) -> str:
    """DRF's nested details as one sentence a person can read: "text: This field is required."."""
    if isinstance(detail, dict):
        return " ".join(
            f"{name}: {_flatten(value)}" if name != "non_field_errors" else _flatten(value) for name, value in detail.items()
        )
    if isinstance(detail, list):
        return " ".join(_flatten(value) for value in detail)
    return str(detail)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    status = 413 if isinstance(exception, RequestDataTooBig) else 400
    if isinstance(exception, SuspiciousOperation):
        log.warning("suspicious request: %s", exception)
    return respond(request, status, build_status_body(status))


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    return respond(request, 403, build_status_body(403))


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return respond(request, 404, build_status_body(404))


def server_error(request: HttpRequest) -> HttpResponse:
    return respond(request, 500, build_status_body(500))


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    log.warning("refused by CSRF check: %s", reason)
    return respond(request, 403, build_status_body(403, "This page is out of date. Reload it and try again."))
