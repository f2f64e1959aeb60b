"""What an administrator does with providers: save one with its key, ask it what it serves, offer models to people.

They touch the network, so none of them runs inside a transaction. The admin is their door.
"""

import time
from collections.abc import Collection
from dataclasses import dataclass

from django.db import transaction

from ops.crypto import UndecipherableError
from providers import runtime
from providers.adapters import get_protocol
from providers.endpoints import build_endpoint, mask_key
from providers.errors import KeyNeeded, ProviderError
from providers.guard import check_url
from providers.models import ChatModel, Provider
from providers.types import ModelListing

DEFAULT_CONTEXT_TOKENS = 8192


@dataclass(frozen=True, slots=True)
class Probe:
    """How a provider answered a test: after how long, and what was wrong, if anything (`code` is empty when it works)."""

    latency_ms: int
    code: str = ""
    message: str = ""


def save_provider(*, provider: Provider, new_key: str = "", drop_key: bool = False) -> None:
    """Save the row. A key is bound to scheme, host and port: who moves the address has to give the key again.

    Raises AddressRefused, KeyNeeded. An empty `new_key` keeps the stored one.
    """
    if not provider.is_local:
        target, _ = check_url(provider.base_url, allow_private=provider.allow_private_address)
        if new_key:
            provider.api_key, provider.api_key_origin = new_key, target.origin
        elif drop_key:
            provider.api_key, provider.api_key_origin = "", ""
        elif provider.api_key_origin not in {"", target.origin}:
            raise KeyNeeded(detail=f"the stored key is for {provider.api_key_origin}")
    provider.save()


def describe_key(provider: Provider) -> str:
    """The only form in which a stored key is ever shown."""
    try:
        return mask_key(provider.api_key) or "none"
    except UndecipherableError:
        return "cannot be read with this installation's ENCRYPTION_KEYS: enter it again"


def list_remote_models(*, provider: Provider) -> list[ModelListing]:
    """What the provider serves for our key, by name. One call, up to 20 s. Raises ProviderError."""
    endpoint = build_endpoint(provider)
    return runtime.run(get_protocol(provider.adapter).list_models(endpoint))


def test_provider(*, provider: Provider) -> Probe:
    """Ask for the list of models, which costs nothing, and measure. Raises nothing of ProviderError."""
    started = time.monotonic()
    try:
        list_remote_models(provider=provider)
    except ProviderError as error:
        return Probe(_elapsed_ms(started), error.code, explain(error))
    return Probe(_elapsed_ms(started))


def explain(error: ProviderError) -> str:
    """The error for an administrator: our own reason where the refusal is ours, never the provider's words."""
    return f"{error.message} {error.detail}" if error.is_detail_ours else error.message


def _elapsed_ms(started: float) -> int:
    return round((time.monotonic() - started) * 1000)


@transaction.atomic
def import_models(*, provider: Provider, listings: Collection[ModelListing]) -> list[ChatModel]:
    """Offer these models to people. Those that are there already stay as they are. Returns the new ones."""
    present = set(provider.models.values_list("name", flat=True))
    return [_import_model(provider, listing) for listing in listings if listing.name not in present]


def _import_model(provider: Provider, listing: ModelListing) -> ChatModel:
    context_tokens = max(256, listing.context_tokens or DEFAULT_CONTEXT_TOKENS)
    return ChatModel.objects.create(
        provider=provider,
        name=listing.name,
        label=listing.label,
        context_tokens=context_tokens,
        max_output_tokens=min(4096, context_tokens // 2),
    )


@transaction.atomic
def make_default(*, model: ChatModel) -> None:
    """New chats start with this model from now on."""
    ChatModel.objects.filter(is_default=True).exclude(pk=model.pk).update(is_default=False)
    ChatModel.objects.filter(pk=model.pk).update(is_default=True)
