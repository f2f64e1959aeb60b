"""The back office of providers: keys go in and never come out."""

from uuid import uuid4

import pytest
from cryptography.fernet import Fernet
from django.test import Client
from django.urls import reverse
from pytest_django.fixtures import Settings

from providers.models import ChatModel, Provider
from tests.fake_provider import KEY, FakeProvider, make_model, make_provider
from tests.people import make_ada, make_user

pytestmark = pytest.mark.django_db
LIST = reverse("admin:providers_provider_changelist")
ADD = reverse("admin:providers_provider_add")
ASK = {"list": "List models"}


@pytest.fixture
def ada() -> Client:
    client = Client()
    client.force_login(make_ada())
    return client


def get_change_url(provider: Provider) -> str:
    return reverse("admin:providers_provider_change", args=[provider.pk])


def build_form(fake: FakeProvider, **fields: str) -> dict[str, str]:
    form = {"name": "Mine", "adapter": "openai", "base_url": fake.base_url, "allow_private_address": "on", "is_enabled": "on"}
    return form | fields


def test_a_provider_is_added_with_its_key(ada: Client, fake: FakeProvider) -> None:
    response = ada.post(ADD, build_form(fake, new_key=f" {KEY} "))
    assert response.status_code == 302
    provider = Provider.objects.get()
    assert (provider.api_key, provider.api_key_origin) == (KEY, f"http://127.0.0.1:{fake.port}")


def test_an_empty_key_keeps_the_stored_one(ada: Client, fake: FakeProvider) -> None:
    provider = make_provider(fake)
    assert ada.post(get_change_url(provider), build_form(fake, name="Renamed", new_key="")).status_code == 302
    provider = Provider.objects.get()
    assert (provider.name, provider.api_key) == ("Renamed", KEY)


def test_a_moved_address_asks_for_the_key(ada: Client, fake: FakeProvider) -> None:
    provider = make_provider(fake)
    response = ada.post(get_change_url(provider), build_form(fake, base_url="https://evil.test/v1"))
    assert "belongs to the old address" in response.content.decode()
    assert Provider.objects.get().base_url == fake.base_url


def test_a_dropped_key_is_gone(ada: Client, fake: FakeProvider) -> None:
    provider = make_provider(fake)
    ada.post(get_change_url(provider), build_form(fake, drop_key="on"))
    assert Provider.objects.get().api_key == ""


@pytest.mark.parametrize(
    "url",
    ["javascript:P", 'https://x" onclick="P', "http://169.254.169.254/latest", "ftp://good.test", "https://good.test:6379"],
)
def test_a_bad_address_is_a_form_error(ada: Client, fake: FakeProvider, url: str) -> None:
    response = ada.post(ADD, build_form(fake, base_url=url))
    assert response.status_code == 200
    assert "errorlist" in response.content.decode()
    assert 'onclick="P' not in response.content.decode()
    assert not Provider.objects.exists()


@pytest.mark.parametrize("key", ["two words", "lïne", "a\x7fb"])
def test_a_key_no_header_can_carry_is_a_form_error(ada: Client, fake: FakeProvider, key: str) -> None:
    assert "no spaces or unusual" in ada.post(ADD, build_form(fake, new_key=key)).content.decode()


def test_no_page_shows_a_key(ada: Client, fake: FakeProvider) -> None:
    model = make_model(fake)
    url = get_change_url(model.provider)
    fake.script(status=401, body=f"bad key {KEY}")
    pages = [
        ada.get(LIST),
        ada.get(url),
        ada.get(f"{url}history/".replace("change/history", "history")),
        ada.post(reverse("admin:providers_provider_test", args=[model.provider.pk]), follow=True),
        ada.get(reverse("admin:providers_provider_models", args=[model.provider.pk])),
        ada.post(reverse("admin:providers_provider_models", args=[model.provider.pk]), ASK),
        ada.get(reverse("admin:providers_chatmodel_changelist")),
        ada.get(reverse("admin:providers_chatmodel_change", args=[model.pk])),
        ada.post(url, build_form(fake, base_url="nonsense", new_key=KEY)),
    ]
    assert [page.status_code for page in pages] == [200] * len(pages)
    assert all(KEY not in page.content.decode() for page in pages)
    assert f"••••{KEY[-4:]}" in pages[1].content.decode()


def test_a_key_that_cannot_be_read_does_not_break_the_pages(ada: Client, fake: FakeProvider, settings: Settings) -> None:
    model = make_model(fake)
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    assert ada.get(LIST).status_code == 200
    assert "cannot be read" in ada.get(get_change_url(model.provider)).content.decode()
    assert ada.post(get_change_url(model.provider), build_form(fake, name="Renamed")).status_code == 302
    assert ada.get(reverse("admin:providers_chatmodel_change", args=[model.pk])).status_code == 200


def test_models_are_listed_and_taken_over(ada: Client, fake: FakeProvider) -> None:
    provider = make_provider(fake)
    url = reverse("admin:providers_provider_models", args=[provider.pk])
    assert "fake-large" in ada.post(url, ASK).content.decode()
    response = ada.post(url, {"name": ["fake-large", "never-listed"]}, follow=True)
    assert "Models added: 1." in response.content.decode()
    assert [model.name for model in ChatModel.objects.all()] == ["fake-large"]
    assert "checked disabled" in ada.post(url, ASK).content.decode()


def test_a_followed_link_does_not_use_the_key(fake: FakeProvider) -> None:
    url = reverse("admin:providers_provider_models", args=[make_provider(fake).pk])
    client = Client(enforce_csrf_checks=True)
    client.force_login(make_ada())
    page = client.get(url).content.decode()
    assert 'name="list"' in page
    assert client.post(url, ASK).status_code == 403
    assert fake.calls == []
    token = client.cookies["csrftoken"].value
    assert "fake-large" in client.post(url, ASK | {"csrfmiddlewaretoken": token}).content.decode()


def test_a_hostile_list_of_models_stays_text(ada: Client, fake: FakeProvider) -> None:
    fake.script(body='{"data":[{"id":"<img src=x onerror=P>"}]}', content_type="application/json")
    page = ada.post(reverse("admin:providers_provider_models", args=[make_provider(fake).pk]), ASK).content.decode()
    assert "<img src=x" not in page
    assert "&lt;img src=x" in page


def test_an_unreachable_provider_is_a_message(ada: Client, fake: FakeProvider) -> None:
    fake.script(status=500, body="<b>internal words</b>")
    url = reverse("admin:providers_provider_models", args=[make_provider(fake).pk])
    page = ada.post(url, ASK, follow=True).content.decode()
    assert "provider_failed" in page
    assert "internal words" not in page


def test_the_test_button_measures(ada: Client, fake: FakeProvider) -> None:
    provider = make_provider(fake)
    url = reverse("admin:providers_provider_test", args=[provider.pk])
    assert "answered in" in ada.post(url, follow=True).content.decode()
    assert ada.get(url).status_code == 405
    assert len(fake.calls) == 1


def test_actions_do_the_same(ada: Client, fake: FakeProvider) -> None:
    provider = make_provider(fake)
    chosen = {"_selected_action": str(provider.pk)}
    assert "answered in" in ada.post(LIST, {"action": "test", **chosen}, follow=True).content.decode()
    response = ada.post(LIST, {"action": "list_models", **chosen})
    assert response.headers["Location"] == reverse("admin:providers_provider_models", args=[provider.pk])


def test_models_are_switched_and_made_default(ada: Client, fake: FakeProvider) -> None:
    model = make_model(fake)
    url = reverse("admin:providers_chatmodel_changelist")
    chosen = {"_selected_action": str(model.pk)}
    ada.post(url, {"action": "make_default", **chosen})
    ada.post(url, {"action": "switch_off", **chosen})
    model.refresh_from_db()
    assert (model.is_default, model.is_enabled) == (True, False)
    ada.post(url, {"action": "switch_on", **chosen})
    model.refresh_from_db()
    assert model.is_enabled


def test_parameters_must_be_an_object(ada: Client, fake: FakeProvider) -> None:
    model = make_model(fake)
    form = {"provider": str(model.provider.pk), "name": "m", "context_tokens": "8192", "max_output_tokens": "10"}
    url = reverse("admin:providers_chatmodel_change", args=[model.pk])
    assert "Write a JSON object" in ada.post(url, form | {"extra_parameters": "[1]"}).content.decode()
    assert ada.post(url, form | {"extra_parameters": '{"seed": 1}'}).status_code == 302


def test_the_demo_provider_can_only_be_renamed_and_switched_off(ada: Client) -> None:
    provider = Provider.objects.create(name="On this machine", base_url="http://127.0.0.1/v1", is_local=True)
    assert "new_key" not in ada.get(get_change_url(provider)).content.decode()
    response = ada.post(get_change_url(provider), {"name": "Toy", "base_url": "https://evil.test"})
    assert response.status_code == 302
    provider.refresh_from_db()
    assert (provider.name, provider.base_url, provider.is_enabled) == ("Toy", "http://127.0.0.1/v1", False)
    assert ada.post(reverse("admin:providers_provider_delete", args=[provider.pk]), {"post": "yes"}).status_code == 403


@pytest.mark.parametrize("name", ["models", "test"])
@pytest.mark.parametrize("method", ["get", "post"])
def test_others_get_nowhere(fake: FakeProvider, name: str, method: str) -> None:
    provider = make_provider(fake)
    alice, nobody = Client(), Client()
    alice.force_login(make_user())
    for client in (alice, nobody):
        response = getattr(client, method)(reverse(f"admin:providers_provider_{name}", args=[provider.pk]))
        assert response.status_code in {302, 403}
    assert fake.calls == []


def test_an_unknown_provider_is_404(ada: Client) -> None:
    assert ada.get(reverse("admin:providers_provider_models", args=[uuid4()])).status_code == 404
