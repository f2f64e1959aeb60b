"""Signing in, and the page of the first administrator."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.password_validation import password_validators_help_texts, validate_password
from django.core.exceptions import ValidationError

from accounts.models import User

if TYPE_CHECKING:
    UserForm = forms.ModelForm[User]
else:
    UserForm = forms.ModelForm

# Hashing takes time in proportion; nobody's password is longer.
PASSWORD_MAX_CHARACTERS = 1024


class LoginForm(AuthenticationForm):
    """One text for every reason: who may sign in here is nobody else's business."""

    username = forms.EmailField(
        label="E-mail",
        max_length=254,
        widget=forms.EmailInput(attrs={"autocomplete": "username", "autofocus": True}),
    )
    error_messages = dict.fromkeys(("invalid_login", "inactive"), "E-mail or password is wrong.")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["password"] = forms.CharField(
            strip=False,
            max_length=PASSWORD_MAX_CHARACTERS,
            widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
        )


class SetupForm(UserForm):
    password = forms.CharField(
        strip=False,
        max_length=PASSWORD_MAX_CHARACTERS,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text=" ".join(password_validators_help_texts()),
    )

    class Meta:
        model = User
        fields = ["name", "email"]
        labels = {"email": "E-mail"}
        widgets = {
            "name": forms.TextInput(attrs={"autocomplete": "name", "autofocus": True}),
            "email": forms.EmailInput(attrs={"autocomplete": "username"}),
        }

    def clean_email(self) -> str:
        return str(self.cleaned_data["email"]).lower()

    def _post_clean(self) -> None:
        """After the fields: the password is compared with the name and address that came with it."""
        super()._post_clean()  # type: ignore[misc]  # the documented place, absent from the stubs
        if password := self.cleaned_data.get("password"):
            try:
                validate_password(password, self.instance)
            except ValidationError as error:
                self.add_error("password", error)
