"""Fixtures for all tests. The engines are real (see tests/engines.py); providers are scripted, over real sockets."""

from collections.abc import Iterator

import pytest
from django.core.management import call_command

from providers import runtime
from tests.fake_provider import FakeProvider


@pytest.fixture(scope="session", autouse=True)
def _static_files() -> None:
    call_command("collectstatic", interactive=False, verbosity=0)


@pytest.fixture(scope="session", autouse=True)
def _event_loop() -> Iterator[None]:
    """What runs on the process's loop ends before the engines do."""
    yield
    runtime.stop()


@pytest.fixture
def fake() -> Iterator[FakeProvider]:
    with FakeProvider() as provider:
        yield provider
