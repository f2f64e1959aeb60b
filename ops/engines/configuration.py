"""The one engine module that knows Django: the plan that its settings ask for."""

from django.conf import settings

from ops.engines.programs import Plan


def build_plan() -> Plan:
    """Return what `manage.py up` has to run for the current settings."""
    return Plan(
        base=settings.BASE_DIR,
        home=settings.CHATBOX_HOME,
        run=settings.RUN_DIR,
        bind=settings.BIND,
        port=settings.PORT,
        address=settings.PUBLIC_URL.rstrip("/") or f"http://{_name_host(settings.BIND)}:{settings.PORT}",
        has_database=settings.EMBEDDED_DATABASE,
        has_bus=settings.EMBEDDED_BUS,
        has_model=settings.EMBEDDED_MODEL,
        reply_concurrency=settings.REPLY_CONCURRENCY,
        postgres_password=settings.DATABASES["default"]["PASSWORD"],
    )


def _name_host(bind: str) -> str:
    """Name a host that a browser on this machine can open; "all interfaces" is none."""
    if bind in {"0.0.0.0", "::", ""}:  # noqa: S104 - compared, not bound
        return "127.0.0.1"
    return f"[{bind}]" if ":" in bind else bind
