"""Model fields that more than one app uses."""

from typing import TYPE_CHECKING, Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.expressions import Expression

from ops import crypto

if TYPE_CHECKING:
    _TextField = models.TextField[str, str]
else:
    _TextField = models.TextField


class EncryptedTextField(_TextField):
    """Text that the database only sees encrypted. Empty stays empty. It cannot be searched or ordered by.

    Reading raises `ops.crypto.UndecipherableError` when no key fits.
    """

    def get_prep_value(self, value: Any) -> Any:
        return crypto.encrypt(str(value)) if value else ""

    def from_db_value(self, value: str | None, _expression: Expression, _connection: BaseDatabaseWrapper) -> str:
        return crypto.decrypt(value) if value else ""

    def get_lookup(self, lookup_name: str) -> Any:
        """Only "is it empty" can be asked of ciphertext."""
        return super().get_lookup(lookup_name) if lookup_name == "isnull" else None
