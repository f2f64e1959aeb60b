"""What every response carries: an id to find it by in the log, and the headers Django does not set."""

import uuid
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.http.response import HttpResponseBase

from ops.logs import reset_request_id, set_request_id

PERMISSIONS_POLICY = "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()"
REFUSED_METHODS = {"TRACE", "TRACK", "CONNECT"}
USUAL_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
# What is made for one person is kept by nobody. Static files bring their own Cache-Control.
PERSONAL_TYPES = ("text/html", "application/json", "application/problem+json", "text/event-stream")

GetResponse = Callable[[HttpRequest], HttpResponseBase]


class RequestIdMiddleware:
    """Gives each request an id of our own. One sent by the client is ignored: it could be forged or hold anything."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        request_id = uuid.uuid4().hex
        token = set_request_id(request_id)
        try:
            response = self.get_response(request)
        finally:
            reset_request_id(token)
        response["X-Request-ID"] = request_id
        return response


class SecurityHeadersMiddleware:
    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self._answer(request)
        response.headers.setdefault("Permissions-Policy", PERMISSIONS_POLICY)
        response.headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
        if response.get("Content-Type", "").startswith(PERSONAL_TYPES):
            response.headers.setdefault("Cache-Control", "no-store")
        del response["Server"]
        return response

    def _answer(self, request: HttpRequest) -> HttpResponseBase | HttpResponse:
        if request.method in REFUSED_METHODS:
            return HttpResponseNotAllowed(USUAL_METHODS)
        return self.get_response(request)
