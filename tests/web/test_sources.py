"""Rules that templates, styles and scripts keep, checked in their sources: a page that breaks one may look well."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from django.conf import settings

TEMPLATES = sorted((settings.BASE_DIR / "templates").rglob("*.html"))
STYLES = sorted((settings.BASE_DIR / "static" / "css").glob("*.css"))
SCRIPTS = sorted((settings.BASE_DIR / "static" / "js").rglob("*.js"))
SCRIPT_LINES = 200
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")


def get_name(path: Path) -> str:
    return str(path.relative_to(settings.BASE_DIR))


def test_there_is_something_to_check() -> None:
    assert all([TEMPLATES, STYLES, SCRIPTS])


@pytest.mark.parametrize("path", TEMPLATES, ids=get_name)
def test_template_holds_nothing_that_the_policy_refuses(path: Path) -> None:
    text = path.read_text()

    assert not re.search(r"\sstyle=|<style|\son[a-z]+=|hx-on|javascript:|<script(?![^>]*\ssrc=)", text)


@pytest.mark.parametrize("path", TEMPLATES, ids=get_name)
def test_template_trusts_no_text(path: Path) -> None:
    """The one filter that may is `blocks`, behind the sanitiser."""
    assert not re.search(r"\|\s*safe|autoescape\s+off", path.read_text())


@pytest.mark.parametrize("path", [*TEMPLATES, *STYLES, *SCRIPTS], ids=get_name)
def test_nothing_comes_from_another_origin(path: Path) -> None:
    assert not re.search(r"(?:src|href|url\(|import|from|fetch\()\s*=?\s*[\"'(]?\s*(?:https?:)?//", path.read_text())


@pytest.mark.parametrize("path", SCRIPTS, ids=get_name)
def test_script_is_short_and_never_evaluates_text(path: Path) -> None:
    text = path.read_text()

    assert len(text.splitlines()) < SCRIPT_LINES
    assert not re.search(r"\beval\(|new Function|insertAdjacentHTML|document\.write|outerHTML\s*=", text)


def test_only_the_view_writes_markup() -> None:
    writers = {path.name for path in SCRIPTS if re.search(r"\.innerHTML\s*=[^=]", path.read_text())}

    assert writers == {"view.js"}


@pytest.mark.parametrize("path", [path for path in STYLES if path.name != "tokens.css"], ids=get_name)
def test_colours_come_from_the_tokens(path: Path) -> None:
    """Both themes then follow. Masks are made of opaque and transparent, and two tints have no second use."""
    text = re.sub(r"light-dark\([^)]*\)", "", path.read_text())

    assert set(re.findall(r":[^;{}]*(#[0-9a-fA-F]{3,8})\b", text)) <= {"#000"}


@needs_node
@pytest.mark.parametrize("path", SCRIPTS, ids=get_name)
def test_script_is_valid(path: Path) -> None:
    command = ["node", "--input-type=module", "--check"]
    done = subprocess.run(command, input=path.read_text(), capture_output=True, text=True, timeout=30, check=False)

    assert done.returncode == 0, done.stderr


@needs_node
def test_scripts_pass_their_own_tests() -> None:
    command = ["node", "--test", *map(str, sorted((settings.BASE_DIR / "tests" / "js").glob("*.test.mjs")))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 0, done.stdout
