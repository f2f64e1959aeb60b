"""What people may send from the pages. Rules about messages live in `services`; here only the shape is read."""

from typing import Any
from uuid import UUID

from django import forms

from conversations import limits
from conversations.drafts import MAX_REVISION
from conversations.errors import TextInvalid
from providers.errors import ModelUnavailable


class UUIDsField(forms.Field):
    """All values of one name."""

    widget = forms.MultipleHiddenInput

    def to_python(self, value: list[str] | None) -> list[UUID]:
        try:
            return [UUID(one) for one in value or []]
        except ValueError as error:
            raise forms.ValidationError("Not an id.") from error


class TextForm(forms.Form):
    text = forms.CharField(required=False, strip=False)

    def clean_text(self) -> str:
        """Browsers send CRLF for the line breaks people typed."""
        text: str = self.cleaned_data["text"]
        return text.replace("\r\n", "\n")


class MessageForm(TextForm):
    """A message on its way: text, the models' ids, the key that makes a second try harmless, and the draft it was."""

    model = forms.UUIDField(required=False)
    models = UUIDsField(required=False)
    idempotency_key = forms.CharField(required=False, max_length=255)
    draft_revision = forms.IntegerField(required=False, min_value=0, max_value=MAX_REVISION)

    def read(self) -> dict[str, Any]:
        """The arguments of `services.send_message`. Raises TextInvalid or ModelUnavailable."""
        if self.is_valid():
            data = self.cleaned_data
            return {
                "text": data["text"],
                "model_id": data["model"],
                "model_ids": data["models"],
                "idempotency_key": data["idempotency_key"],
                "draft_revision": data["draft_revision"],
            }
        if "model" in self.errors or "models" in self.errors:
            raise ModelUnavailable
        raise TextInvalid("This message cannot be sent: it holds characters that cannot be stored.")


class DraftForm(TextForm):
    revision = forms.IntegerField(min_value=1, max_value=MAX_REVISION)

    def read(self) -> dict[str, Any]:
        """The arguments of `drafts.save_draft`. Raises TextInvalid."""
        if not self.is_valid():
            raise TextInvalid("This draft cannot be kept.")
        return dict(self.cleaned_data)


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
