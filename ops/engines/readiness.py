"""Asking our own web server whether it is ready, the way a load balancer would."""

import http.client
from urllib.parse import urlsplit

from ops.engines.programs import Plan

ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - compared, not bound
LONGEST_ANSWER = 500


def ask(plan: Plan, *, timeout_s: float = 5.0) -> str | None:
    """Return None when `/readyz` says 200, else what it said or why it could not be asked."""
    connection = http.client.HTTPConnection(ANYWHERE.get(plan.bind, plan.bind), plan.port, timeout=timeout_s)
    try:
        connection.request("GET", "/readyz", headers={"Host": urlsplit(plan.address).netloc})
        response = connection.getresponse()
        if response.status == http.client.OK:
            return None
        return f"/readyz answers {response.status}: {response.read(LONGEST_ANSWER).decode(errors='replace')}"
    except (OSError, http.client.HTTPException) as error:
        return f"/readyz does not answer: {error}"
    finally:
        connection.close()
