"""`GET /api/v1/models`."""

import pytest
from django.test import Client

from providers import services
from tests.fake_provider import KEY, FakeProvider, make_model
from tests.people import PASSWORD, make_user

pytestmark = pytest.mark.django_db
MODELS = "/api/v1/models"


def log_in() -> dict[str, str]:
    user = make_user()
    response = Client().post("/api/v1/auth/token", {"email": user.email, "password": PASSWORD}, content_type="application/json")
    return {"Authorization": f"Bearer {response.json()['access']}"}


def test_usable_models_are_listed_with_exactly_one_default(fake: FakeProvider) -> None:
    first = make_model(fake, label="", description="Small")
    second = make_model(fake, name="fake-large", label="Large", provider=first.provider)
    make_model(fake, name="off", provider=first.provider, is_enabled=False)
    services.make_default(model=second)
    response = Client().get(MODELS, headers=log_in())
    assert response.status_code == 200
    shown = {"context_tokens": 8192, "is_demo": False, "provider": first.provider.name}
    assert response.json() == [
        {"id": str(first.id), "label": "fake-small", "description": "Small", "is_default": False, **shown},
        {"id": str(second.id), "label": "Large", "description": "", "is_default": True, **shown},
    ]
    assert KEY not in response.content.decode()


def test_nobody_else_is_told() -> None:
    assert Client().get(MODELS).status_code == 401


def test_nothing_can_be_posted() -> None:
    assert Client().post(MODELS, headers=log_in()).status_code == 405
