"""The first account of an installation: made from the environment, or by a one-time link that is printed."""

from django.urls import reverse

from accounts import queries, services
from ops.startup import StartupContext


def prepare_first_admin(context: StartupContext) -> str | None:
    """A line with the full set-up link while nobody can administer; otherwise None."""
    services.ensure_environment_admin()
    if queries.has_active_admin():
        return None
    link = context.address + reverse("accounts:set_up", args=[services.create_setup_link()])
    return f"Make the first account here, once: {link}"
