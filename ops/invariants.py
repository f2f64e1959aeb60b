"""The invariants that ops itself can see: leaked connections, forgotten temporary files, secrets no key opens."""

import time
from collections.abc import Iterator

from django.apps import apps
from django.conf import settings
from django.db import connection, models
from django.db.models.functions import Cast

from ops import crypto, doctor
from ops.fields import EncryptedTextField

TRANSACTION_MAX = "5 minutes"
PARTIAL_MAX_S = 24 * 3600
LEAKED_CONNECTIONS = """
    SELECT pid, state FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
    AND backend_type = 'client backend' AND xact_start < now() - %s::interval
"""


def find_leaked_connections() -> list[str]:
    """Database sessions that hold a transaction open for longer than any of ours lives."""
    with connection.cursor() as cursor:
        cursor.execute(LEAKED_CONNECTIONS, [TRANSACTION_MAX])
        return [f"database session {pid} has been '{state}' in one transaction for too long" for pid, state in cursor]


def find_forgotten_files() -> list[str]:
    """Half-written files that nobody finishes any more."""
    limit = time.time() - PARTIAL_MAX_S
    return [f"left behind: {path}" for path in settings.CHATBOX_HOME.rglob("*.partial") if path.stat().st_mtime < limit]


def find_undecipherable_secrets() -> list[str]:
    """Every encrypted value of every model, by the type of its field."""
    return [
        f"{field.model._meta.label} {key}: no key of ENCRYPTION_KEYS opens `{field.name}`"
        for field in _list_encrypted_fields()
        for key in _list_undecipherable_rows(field)
    ]


def _list_encrypted_fields() -> Iterator[EncryptedTextField]:
    for model in apps.get_models():
        yield from (field for field in model._meta.concrete_fields if isinstance(field, EncryptedTextField))


def _list_undecipherable_rows(field: EncryptedTextField) -> Iterator[object]:
    rows = field.model._base_manager.annotate(_stored=Cast(field.name, models.TextField()))
    for key, stored in rows.exclude(_stored="").values_list("pk", "_stored").iterator():
        try:
            crypto.decrypt(stored)
        except crypto.UndecipherableError:
            yield key


doctor.register(code="INV8", title="No leaked database connection", check=find_leaked_connections)
doctor.register(code="INV8", title="No forgotten temporary file", check=find_forgotten_files)
doctor.register(code="INV8", title="Every stored secret can be opened", check=find_undecipherable_secrets)
