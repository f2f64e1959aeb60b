"""People in the back office."""

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from accounts.models import Role, User
from tests.people import PASSWORD, make_ada, make_bob, make_user

pytestmark = pytest.mark.django_db

LIST = "/admin/accounts/user/"
ADD = "/admin/accounts/user/add/"


@pytest.fixture
def ada(client: Client) -> User:
    ada = make_ada()
    client.force_login(ada)
    return ada


def switch(client: Client, action: str, *people: User, confirmed: bool = True) -> Any:
    form: dict[str, Any] = {"action": action, "_selected_action": [person.pk for person in people]}
    return client.post(LIST, {**form, "confirmed": "yes"} if confirmed else form)


@pytest.mark.usefixtures("ada")
def test_lists_and_pages_open_and_show_no_hash(client: Client) -> None:
    alice = make_user()

    for url in (LIST, ADD, f"{LIST}{alice.pk}/change/", f"{LIST}{alice.pk}/password/", f"{LIST}?q=alice"):
        page = client.get(url)
        assert page.status_code == 200, url
        assert "argon2" not in page.content.decode()


@pytest.mark.usefixtures("ada")
def test_the_list_costs_the_same_for_many(client: Client, django_assert_max_num_queries: Any) -> None:
    for number in range(30):
        make_user(f"person{number}@example.test")

    with django_assert_max_num_queries(8):
        client.get(LIST)


@pytest.mark.usefixtures("ada")
@pytest.mark.parametrize(("role", "is_superuser"), [("member", False), ("operator", False), ("admin", True)])
def test_adding_a_person(client: Client, role: str, is_superuser: bool) -> None:
    form = {"email": "New@Example.test", "name": "New", "role": role, "usable_password": "true"}

    response = client.post(ADD, {**form, "password1": PASSWORD, "password2": PASSWORD})

    assert response.status_code == 302
    new = User.objects.get(email="new@example.test")
    assert (new.role, new.is_superuser, new.check_password(PASSWORD)) == (role, is_superuser, True)


@pytest.mark.usefixtures("ada")
def test_an_address_has_one_account_whatever_its_case(client: Client) -> None:
    make_user()
    form = {"email": "ALICE@example.test", "role": "member", "usable_password": "true"}

    response = client.post(ADD, {**form, "password1": PASSWORD, "password2": PASSWORD})

    assert response.status_code == 200
    assert User.objects.count() == 2


@pytest.mark.usefixtures("ada")
def test_a_weak_password_is_refused(client: Client) -> None:
    form = {"email": "new@example.test", "role": "member", "usable_password": "true"}

    assert client.post(ADD, {**form, "password1": "12345678", "password2": "12345678"}).status_code == 200
    assert User.objects.count() == 1


@pytest.mark.usefixtures("ada")
def test_changing_a_role(client: Client) -> None:
    alice = make_user()

    response = client.post(f"{LIST}{alice.pk}/change/", {"email": alice.email, "name": "Alice", "role": "admin"})

    assert response.status_code == 302
    alice.refresh_from_db()
    assert (alice.name, alice.role, alice.is_superuser) == ("Alice", Role.ADMIN, True)


@pytest.mark.usefixtures("ada")
def test_fields_that_are_not_in_the_form_are_ignored(client: Client) -> None:
    alice = make_user()

    client.post(
        f"{LIST}{alice.pk}/change/",
        {"email": alice.email, "role": "member", "is_superuser": "on", "is_active": "", "password": "x"},
    )

    alice.refresh_from_db()
    assert (alice.is_superuser, alice.is_active, alice.check_password(PASSWORD)) == (False, True, True)


def test_the_last_administrator_keeps_the_role(client: Client, ada: User) -> None:
    response = client.post(f"{LIST}{ada.pk}/change/", {"email": ada.email, "role": "member"})

    assert "last active administrator" in response.content.decode()
    ada.refresh_from_db()
    assert ada.role == Role.ADMIN


@pytest.mark.usefixtures("ada")
def test_deactivating_asks_first(client: Client) -> None:
    alice = make_user()

    response = switch(client, "deactivate", alice, confirmed=False)

    assert "alice@example.test" in response.content.decode()
    alice.refresh_from_db()
    assert alice.is_active


@pytest.mark.usefixtures("ada")
def test_deactivating_and_activating_are_written_down(client: Client) -> None:
    alice, bob = make_user(), make_bob()

    switch(client, "deactivate", alice, bob)
    assert set(User.objects.filter(is_active=False)) == {alice, bob}
    switch(client, "activate", alice)

    assert list(User.objects.filter(is_active=False)) == [bob]
    lines = LogEntry.objects.filter(object_id=alice.pk).order_by("pk").values_list("change_message", flat=True)
    assert list(lines) == ["Deactivated.", "Activated."]


def test_the_last_administrator_stays_active(client: Client, ada: User) -> None:
    switch(client, "deactivate", ada)

    ada.refresh_from_db()
    assert ada.is_active
    assert "last active administrator" in client.get(LIST).content.decode()


@pytest.mark.usefixtures("ada")
def test_nobody_is_deleted(client: Client) -> None:
    alice = make_user()

    assert client.post(f"{LIST}{alice.pk}/delete/", {"post": "yes"}).status_code == 403
    switch(client, "delete_selected", alice)

    assert User.objects.filter(pk=alice.pk).exists()


@pytest.mark.parametrize("role", [Role.MEMBER, Role.OPERATOR])
def test_a_stranger_may_not_manage_people(client: Client, role: Role) -> None:
    alice, bob = make_user(), make_bob(role=role)
    client.force_login(bob)

    statuses = {
        client.get(LIST).status_code,
        client.get(f"{LIST}{alice.pk}/change/").status_code,
        client.post(f"{LIST}{bob.pk}/change/", {"email": bob.email, "role": "admin"}).status_code,
        client.post(f"{LIST}{alice.pk}/password/", {"password1": "x"}).status_code,
        switch(client, "deactivate", alice).status_code,
    }

    assert statuses == ({302} if role == Role.MEMBER else {403})
    bob.refresh_from_db()
    alice.refresh_from_db()
    assert (bob.role, alice.is_active, alice.check_password(PASSWORD)) == (role, True, True)


def test_an_anonymous_caller_is_sent_to_log_in(client: Client) -> None:
    response = client.get(LIST, follow=True)

    assert response.redirect_chain[-1][0].startswith("/accounts/login/?next=%2Fadmin%2F")


@pytest.mark.usefixtures("ada")
def test_one_s_own_password_has_its_page(client: Client) -> None:
    page = client.get("/admin/password_change/").content.decode()
    assert 'name="old_password"' in page
    assert "Chatbox administration" in page
    form = {"old_password": "wrong", "new_password1": "another long password", "new_password2": "another long password"}

    assert "errorlist" in client.post("/admin/password_change/", form).content.decode()

    assert User.objects.get().check_password(PASSWORD)


@pytest.mark.parametrize("door", ["/admin/password_change/", "/admin/password_change/done/"])
def test_only_staff_reach_the_page_of_their_password(client: Client, door: str) -> None:
    assert client.get(door).status_code == 302
    client.force_login(make_user())
    assert client.get(door).status_code == 302


def test_signing_out_of_the_back_office_is_a_post(client: Client) -> None:
    client.force_login(make_ada())
    assert client.get("/admin/logout/").status_code == 405
    assert client.post("/admin/logout/").headers["Location"] == "/accounts/login/"
    assert client.get(LIST).status_code == 302
