"""Static files get names that change with their content, inside JavaScript imports too."""

from pathlib import Path

from django.core.files.base import ContentFile
from pytest_django import Settings

from ops.staticfiles import StaticFilesStorage


def test_imports_between_modules_name_the_hashed_files(tmp_path: Path, settings: Settings) -> None:
    settings.STATIC_ROOT = tmp_path
    storage = StaticFilesStorage(location=tmp_path)
    importing = b'import { a } from "./view.js";\nexport * from "./view.js";\n'
    storage.save("js/view.js", ContentFile(b"export const a = 1;\n" * 100))
    storage.save("js/page.js", ContentFile(importing))
    storage.save("package/page.js", ContentFile(importing))
    paths = {name: (storage, name) for name in ("js/view.js", "js/page.js", "package/page.js")}

    list(storage.post_process(paths))

    page = (tmp_path / storage.hashed_files["js/page.js"]).read_text()
    view = Path(storage.hashed_files["js/view.js"])
    assert view.name != "view.js"
    assert page.count(f'"./{view.name}"') == 2
    assert (tmp_path / f"{view}.gz").exists()
    # A package may import what it does not ship: its files are left as they are.
    assert (tmp_path / storage.hashed_files["package/page.js"]).read_bytes() == importing
