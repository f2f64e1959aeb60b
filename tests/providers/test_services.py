"""Keys at rest, bound to their host; models taken over; the demo model's rows."""

import json
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from django.db import connection
from pytest_django.fixtures import Settings

from ops.crypto import UndecipherableError
from ops.startup import StartupContext
from providers import endpoints, local, queries, services
from providers.errors import AddressRefused, KeyNeeded, ProviderRefused, ProviderUnreachable
from providers.models import ChatModel, Provider
from providers.types import ModelListing
from tests.fake_provider import KEY, FakeProvider, make_model, make_provider

pytestmark = pytest.mark.django_db
HERE = StartupContext(address="http://localhost:8000")


def read_stored_key(provider: Provider) -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT api_key FROM providers_provider WHERE id = %s", [provider.pk])
        return str(cursor.fetchone()[0])


def test_a_key_is_stored_encrypted(fake: FakeProvider) -> None:
    provider = make_provider(fake)
    assert KEY not in read_stored_key(provider)
    assert Provider.objects.get().api_key == KEY


def test_keys_rotate_and_an_old_ring_reads_no_more(fake: FakeProvider, settings: Settings) -> None:
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    settings.ENCRYPTION_KEYS = [old]
    provider = make_provider(fake)
    settings.ENCRYPTION_KEYS = [new, old]
    before = read_stored_key(provider)
    Provider.objects.get().save(update_fields=["api_key"])
    assert read_stored_key(provider) != before
    settings.ENCRYPTION_KEYS = [new]
    assert Provider.objects.get().api_key == KEY
    settings.ENCRYPTION_KEYS = [old]
    with pytest.raises(UndecipherableError):
        Provider.objects.get()


def test_a_key_that_cannot_be_read_is_a_clear_refusal(fake: FakeProvider, settings: Settings) -> None:
    make_model(fake)
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    model = queries.list_models()[0]
    with pytest.raises(ProviderRefused) as caught:
        endpoints.build_endpoint(model.provider)
    assert "ENCRYPTION_KEYS" in caught.value.detail
    assert services.describe_key(model.provider).startswith("cannot be read")


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9999/v1", "http://localhost:{port}/v1", "https://127.0.0.1:{port}/v1", "https://evil.test/v1"]
)
def test_who_moves_the_address_must_give_the_key_again(fake: FakeProvider, url: str) -> None:
    provider = make_provider(fake)
    provider.base_url = url.format(port=fake.port)
    with pytest.raises(KeyNeeded):
        services.save_provider(provider=provider)
    assert Provider.objects.get().base_url == fake.base_url
    services.save_provider(provider=provider, new_key="sk-another-key")
    assert endpoints.build_endpoint(Provider.objects.get()).api_key == "sk-another-key"


def test_another_path_keeps_the_key_and_dropping_it_frees_the_address(fake: FakeProvider) -> None:
    provider = make_provider(fake)
    provider.base_url = f"{fake.base_url}/more"
    services.save_provider(provider=provider)
    assert endpoints.build_endpoint(Provider.objects.get()).api_key == KEY
    provider.base_url = "https://api.good.test/v1"
    services.save_provider(provider=provider, drop_key=True)
    assert endpoints.build_endpoint(Provider.objects.get()).api_key == ""


def test_a_forbidden_address_is_not_saved(fake: FakeProvider) -> None:
    provider = make_provider(fake)
    provider.base_url = "http://169.254.169.254/v1"
    with pytest.raises(AddressRefused):
        services.save_provider(provider=provider, new_key="sk-x")
    assert Provider.objects.get().base_url == fake.base_url


@pytest.mark.parametrize(("key", "shown"), [("sk-0123456789abcdef", "••••cdef"), ("short", "••••"), ("", "none")])
def test_a_key_is_only_ever_described(fake: FakeProvider, key: str, shown: str) -> None:
    assert services.describe_key(make_provider(fake, api_key=key)) == shown


def test_an_endpoint_never_prints_its_key(fake: FakeProvider) -> None:
    endpoint = endpoints.build_endpoint(make_provider(fake))
    assert KEY not in repr(endpoint)
    assert KEY not in endpoint.redact(f"GET /v1?key={KEY} refused {KEY}")


def test_models_are_taken_over_once(fake: FakeProvider) -> None:
    provider = make_provider(fake)
    listings = services.list_remote_models(provider=provider)
    assert [listing.name for listing in listings] == ["fake-large", "fake-small"]
    assert [model.name for model in services.import_models(provider=provider, listings=listings)] == [
        "fake-large",
        "fake-small",
    ]
    assert services.import_models(provider=provider, listings=listings) == []
    assert (
        services.import_models(provider=provider, listings=[ModelListing("tiny", context_tokens=64)])[0].context_tokens == 256
    )


def test_a_test_measures_or_names_what_is_wrong(fake: FakeProvider) -> None:
    provider = make_provider(fake)
    assert services.test_provider(provider=provider).code == ""
    fake.script(status=401, body=f"your key {KEY} is bad")
    probe = services.test_provider(provider=provider)
    assert probe.code == "provider_refused"
    assert "bad" not in probe.message
    provider.allow_private_address = False
    assert "https" in services.test_provider(provider=provider).message


def test_the_default_is_the_marked_one_else_not_the_demo(fake: FakeProvider, settings: Settings) -> None:
    settings.EMBEDDED_MODEL = True
    assert queries.find_default_model() is None
    local.ensure_local_provider(HERE)
    demo = ChatModel.objects.get()
    assert queries.find_default_model() == demo
    first = make_model(fake, label="A")
    second = make_model(fake, label="B", name="fake-large", provider=first.provider)
    assert queries.find_default_model() == first
    services.make_default(model=second)
    services.make_default(model=demo)
    services.make_default(model=second)
    assert queries.find_default_model() == second
    Provider.objects.filter(is_local=False).update(is_enabled=False)
    assert queries.find_default_model() == demo


def test_the_demo_model_appears_once_and_stays_switched_off(settings: Settings) -> None:
    settings.EMBEDDED_MODEL = True
    local.ensure_local_provider(HERE)
    Provider.objects.update(is_enabled=False, name="Old toy")
    ChatModel.objects.update(is_enabled=False, system_prompt="Mine")
    local.ensure_local_provider(HERE)
    assert Provider.objects.get().is_enabled is False
    assert ChatModel.objects.get().system_prompt == "Mine"
    assert ChatModel.objects.get().is_enabled is False


def test_without_the_embedded_model_nobody_is_offered_it(settings: Settings) -> None:
    settings.EMBEDDED_MODEL = False
    assert local.ensure_local_provider(HERE) is None
    assert not Provider.objects.exists()
    settings.EMBEDDED_MODEL = True
    local.ensure_local_provider(HERE)
    settings.EMBEDDED_MODEL = False
    assert queries.list_models() == []


def test_the_demo_model_is_called_where_it_listens_now(settings: Settings, tmp_path: Path) -> None:
    settings.EMBEDDED_MODEL, settings.RUN_DIR, settings.LOCAL_MODEL_KEY = True, tmp_path, "local-key"
    local.ensure_local_provider(HERE)
    provider = Provider.objects.get()
    with pytest.raises(ProviderUnreachable):
        endpoints.build_endpoint(provider)
    for port in (41001, 41002):
        (tmp_path / "model.json").write_text(json.dumps({"port": port}))
        endpoint = endpoints.build_endpoint(provider)
        assert (endpoint.base_url, endpoint.api_key) == (f"http://127.0.0.1:{port}/v1", "local-key")
