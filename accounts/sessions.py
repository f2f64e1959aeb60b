"""Sessions in the database, as Django keeps them; a cookie that cannot be a key never reaches a query."""

from django.contrib.sessions.backends import db


class SessionStore(db.SessionStore):
    def _validate_session_key(self, key: str | None) -> bool:
        """Django's keys are 32 letters and digits. A NUL in a quoted cookie would make the database raise."""
        return key is not None and 8 <= len(key) <= 40 and key.isascii() and key.isalnum()
