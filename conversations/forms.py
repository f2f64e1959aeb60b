"""What people may send from the pages. Rules about messages live in `services`; here only the shape is read."""

from typing import Any
from uuid import UUID

from django import forms

from conversations import limits
from conversations.errors import TextInvalid
from providers.errors import ModelUnavailable


class MessageForm(forms.Form):
    """A message on its way: text, the model's id, and the key that makes a second try harmless."""

    text = forms.CharField(required=False, strip=False)
    model = forms.UUIDField(required=False)
    idempotency_key = forms.CharField(required=False, max_length=255)

    def clean_text(self) -> str:
        """Browsers send CRLF for the line breaks people typed."""
        text: str = self.cleaned_data["text"]
        return text.replace("\r\n", "\n")

    def read(self) -> dict[str, Any]:
        """The arguments of `services.send_message`. Raises TextInvalid or ModelUnavailable."""
        if self.is_valid():
            data = self.cleaned_data
            return {"text": data["text"], "model_id": data["model"], "idempotency_key": data["idempotency_key"]}
        if "model" in self.errors:
            raise ModelUnavailable
        raise TextInvalid("This message cannot be sent: it holds characters that cannot be stored.")


class ModelForm(forms.Form):
    """The model a reply is written again with; none: the same as before."""

    model = forms.UUIDField(required=False)

    def read(self) -> UUID | None:
        """Raises ModelUnavailable."""
        if not self.is_valid():
            raise ModelUnavailable
        model_id: UUID | None = self.cleaned_data["model"]
        return model_id


class RenameForm(forms.Form):
    title = forms.CharField(
        max_length=limits.TITLE_CHARACTERS,
        widget=forms.TextInput(attrs={"class": "input", "autofocus": True, "autocomplete": "off"}),
        error_messages={"required": "Give the chat a title."},
    )


class ThemeForm(forms.Form):
    theme = forms.ChoiceField(choices=[("system", "System"), ("light", "Light"), ("dark", "Dark")])
