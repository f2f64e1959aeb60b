"""Reads of models and providers. A model is usable when it and its provider are switched on."""

from collections.abc import Sequence
from uuid import UUID

from django.conf import settings
from django.db.models import QuerySet

from providers.models import ChatModel


def _usable() -> QuerySet[ChatModel]:
    usable = ChatModel.objects.filter(is_enabled=True, provider__is_enabled=True).select_related("provider")
    return usable if settings.EMBEDDED_MODEL else usable.exclude(provider__is_local=True)


def is_usable(model: ChatModel) -> bool:
    """The same as a claim about a row that was read with its provider. No query."""
    is_here = settings.EMBEDDED_MODEL or not model.provider.is_local
    return model.is_enabled and model.provider.is_enabled and is_here


def list_models() -> list[ChatModel]:
    """What people may choose from, demo last, without any key. One query."""
    return list(_usable().defer("provider__api_key"))


def find_default_model() -> ChatModel | None:
    """The one marked as default, else the first that is not the demo, else the demo. One query."""
    return choose_default(list_models())


def choose_default(models: Sequence[ChatModel]) -> ChatModel | None:
    """Of models in the order of `list_models`."""
    return next((model for model in models if model.is_default), models[0] if models else None)


def find_model(*, model_id: UUID) -> ChatModel | None:
    """Usable or not. Its provider's key is read (another query) only when asked for."""
    return ChatModel.objects.select_related("provider").defer("provider__api_key").filter(id=model_id).first()
