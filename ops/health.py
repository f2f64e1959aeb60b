"""Is this process alive, and can it serve? Other floors add their own checks with `register`."""

import hmac
import ipaddress
import logging
from collections.abc import Callable
from functools import cache

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe
from django_prometheus.exports import ExportToDjangoView

from ops import bus

log = logging.getLogger(__name__)

Check = Callable[[], None]
_checks: dict[str, Check] = {}
# A proxy on this host makes everybody look local; it adds one of these.
FORWARDING_HEADERS = ("X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP", "Forwarded", "Via")


def register(name: str, check: Check) -> None:
    """Add a check to `/readyz`. It raises whatever it likes when the process cannot serve, within about 2 s."""
    _checks[name] = check


def run_checks() -> dict[str, bool]:
    """Run every check, each by its name: does it pass? The reason of a failure goes to the log only."""
    return {name: _passes(name, check) for name, check in _checks.items()}


def _passes(name: str, check: Check) -> bool:
    try:
        check()
    except Exception as error:  # a check may fail in any way, and readiness must answer
        log.warning("not ready: %s: %s: %s", name, type(error).__name__, error)
        return False
    return True


def check_database() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def check_bus() -> None:
    bus.get_client().ping()


@cache
def check_migrations() -> None:
    """Remembers success for this process: its own code cannot gain a migration while it runs."""
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        raise ImproperlyConfigured("The database lacks migrations of this version.")


def may_see_details(request: HttpRequest) -> bool:
    """True for a bearer of METRICS_TOKEN, and for a peer on this machine that came without a proxy."""
    expected = settings.METRICS_TOKEN
    given = request.headers.get("Authorization", "")
    if expected and hmac.compare_digest(given.encode(), f"Bearer {expected}".encode()):
        return True
    return _is_loopback(request.META.get("REMOTE_ADDR", "")) and not any(name in request.headers for name in FORWARDING_HEADERS)


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


@require_safe
def livez(_request: HttpRequest) -> HttpResponse:
    """The process answers. Touches no engine: a restart would not mend one."""
    return HttpResponse("ok", content_type="text/plain")


@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """Send traffic here? 200 or 503."""
    results = run_checks()
    is_ready = all(results.values())
    body: dict[str, object] = {"status": "ok" if is_ready else "unavailable"}
    if may_see_details(request):
        body["checks"] = {name: "ok" if passes else "failed" for name, passes in results.items()}
    return JsonResponse(body, status=200 if is_ready else 503)


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Prometheus exposition. To everybody else this address does not exist."""
    if not may_see_details(request):
        raise Http404
    response: HttpResponse = ExportToDjangoView(request)
    response["Cache-Control"] = "no-store"
    return response


register("database", check_database)
register("bus", check_bus)
register("migrations", check_migrations)
