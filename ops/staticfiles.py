"""How static files are stored: hashed names (also inside our JavaScript's imports), compressed, cached for ever."""

from typing import Any

from whitenoise.storage import CompressedManifestStaticFilesStorage


class StaticFilesStorage(CompressedManifestStaticFilesStorage):  # type: ignore[misc]  # whitenoise has no types
    support_js_module_import_aggregation = True

    def __init__(self, *args: Any, **options: Any) -> None:
        """Only our own modules are rewritten: packages ship JavaScript that imports what they do not ship."""
        super().__init__(*args, **options)
        self._patterns["js/*.js"] = self._patterns.pop("*.js")
