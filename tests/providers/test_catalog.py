"""The models as a process last read them."""

import uuid

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from providers import catalog
from providers.errors import ModelUnavailable
from providers.models import ChatModel, Provider
from tests.fake_provider import FakeProvider, make_model

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_hundred_replies_ask_once(fake: FakeProvider) -> None:
    model = make_model(fake)
    with CaptureQueriesContext(connection) as captured:
        assert all(catalog.get_model(model.id).provider.name == model.provider.name for _ in range(100))
    assert len(captured) == 1


def test_a_change_of_this_process_counts_at_once(fake: FakeProvider) -> None:
    model = make_model(fake)
    assert catalog.get_model(model.id) == model
    model.provider.is_enabled = False
    model.provider.save()
    with pytest.raises(ModelUnavailable):
        catalog.get_model(model.id)
    assert catalog.find_model(model.id) == model
    model.delete()
    assert catalog.find_model(model.id) is None


def test_a_change_of_another_process_counts_within_a_second(fake: FakeProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_model(fake)
    now = 1000.0
    monkeypatch.setattr("providers.catalog.time.monotonic", lambda: now)
    assert catalog.get_model(model.id) == model
    ChatModel.objects.update(is_enabled=False)
    Provider.objects.update(name="Renamed")
    assert catalog.get_model(model.id) == model
    now += catalog.FRESH_S + 0.01
    with pytest.raises(ModelUnavailable):
        catalog.get_model(model.id)


def test_a_model_that_never_was_is_unavailable() -> None:
    with pytest.raises(ModelUnavailable):
        catalog.get_model(uuid.uuid4())
