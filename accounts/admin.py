"""People in the back office. Passwords are never shown, histories never edited; every change is a service call."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth import admin as auth
from django.contrib.auth.forms import AdminUserCreationForm
from django.contrib.auth.models import Group
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.html import format_html

from accounts import services
from accounts.errors import LastAdministrator
from accounts.forms import UserForm
from accounts.models import Role, User

if TYPE_CHECKING:
    CreationForm = AdminUserCreationForm[User]
    DjangoUserAdmin = auth.UserAdmin[User]
else:
    CreationForm = AdminUserCreationForm
    DjangoUserAdmin = auth.UserAdmin


class AddForm(CreationForm):
    class Meta:
        model = User
        fields = ("email", "name", "role")

    def clean_email(self) -> str:
        return str(self.cleaned_data["email"]).lower()


class ChangeForm(UserForm):
    class Meta:
        model = User
        fields = ("email", "name", "role")

    def clean_email(self) -> str:
        return str(self.cleaned_data["email"]).lower()

    def clean_role(self) -> str:
        """An administrator cannot be the last one to step down; the service checks it again under a lock."""
        role: str = self.cleaned_data["role"]
        if role != Role.ADMIN and services.is_last_admin(user=self.instance):
            raise forms.ValidationError(LastAdministrator.message)
        return role


@admin.register(User)
class UserAdmin(DjangoUserAdmin):
    form = ChangeForm  # shows no password, not even its hash
    add_form = AddForm
    list_display = ("email", "name", "role", "is_active", "last_login", "created_at")
    list_filter = ("role", "is_active")
    search_fields = ("email", "name")
    ordering = ("email",)
    filter_horizontal = ()
    readonly_fields = ("is_active", "password_link", "last_login", "created_at")
    fieldsets = (
        (None, {"fields": ("email", "name", "role", "is_active", "password_link")}),
        ("Dates", {"fields": ("last_login", "created_at")}),
    )
    add_fieldsets = ((None, {"fields": ("email", "name", "role", "usable_password", "password1", "password2")}),)
    actions = ("activate", "deactivate")

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        """Switch people off instead: what they wrote stays theirs."""
        return False

    @admin.display(description="Password")
    def password_link(self, user: User) -> str:
        return format_html('<a href="{}">Set a new password</a>', reverse("admin:auth_user_password_change", args=[user.pk]))

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        if not change or "role" in form.changed_data:
            obj.is_superuser = obj.role == Role.ADMIN
        if change and "role" in form.changed_data:
            services.change_role(user=obj, role=obj.role)
        super().save_model(request, obj, form, change)

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:  # noqa: A002
        """Django ends the person's sessions with the password; their sockets are ours to end."""
        response = super().user_change_password(request, id, form_url)
        if isinstance(response, HttpResponseRedirect):
            services.end_sockets(user=User.objects.get(pk=id))
        return response

    @admin.action(description="Deactivate selected users", permissions=["change"])
    def deactivate(self, request: HttpRequest, users: QuerySet[User]) -> HttpResponse | None:
        consequence = "These people are signed out everywhere and cannot sign in again:"
        return self._switch(request, users, services.deactivate_user, "deactivate", consequence)

    @admin.action(description="Activate selected users", permissions=["change"])
    def activate(self, request: HttpRequest, users: QuerySet[User]) -> HttpResponse | None:
        return self._switch(request, users, services.activate_user, "activate", "These people can sign in again:")

    def _switch(
        self, request: HttpRequest, users: QuerySet[User], service: Callable[..., None], action: str, consequence: str
    ) -> HttpResponse | None:
        """The page that asks first; then the service for each, and a line in the history of each."""
        if "confirmed" not in request.POST:
            context = {"title": action.capitalize(), "action": action, "users": users, "consequence": consequence}
            return render(request, "admin/accounts/user/switch.html", self.admin_site.each_context(request) | context)
        for user in users:
            self._switch_one(request, user, service, action)
        return None

    def _switch_one(self, request: HttpRequest, user: User, service: Callable[..., None], action: str) -> None:
        try:
            service(user=user)
        except LastAdministrator as error:
            self.message_user(request, f"{user.email}: {error.message}", messages.ERROR)
        else:
            self.log_change(request, user, f"{action.capitalize()}d.")
            self.message_user(request, f"{user.email}: {action}d.", messages.SUCCESS)


admin.site.unregister(Group)  # roles decide; a group would look as if it did
