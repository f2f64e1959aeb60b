"""The embedded demo model as a provider like any other: its rows. Where it listens is asked at each call."""

from django.conf import settings
from django.db import transaction

from ops.engines.model import MODEL_ID
from ops.startup import StartupContext
from providers.models import ChatModel, Provider

NAME = "On this machine"
# Only shown. The port changes at every start.
SHOWN_URL = "http://127.0.0.1/v1"
SYSTEM_PROMPT = "You are a helpful AI assistant named SmolLM, trained by Hugging Face. Answer in clear, correct English."


def ensure_local_provider(context: StartupContext) -> str | None:
    """Make the demo model's rows where they are missing. What an administrator changed or switched off stays so."""
    if not settings.EMBEDDED_MODEL:
        return None
    with transaction.atomic():
        provider, _ = Provider.objects.get_or_create(is_local=True, defaults={"name": NAME, "base_url": SHOWN_URL})
        ChatModel.objects.get_or_create(provider=provider, name=MODEL_ID, defaults=MODEL_DEFAULTS)
        provider.models.exclude(name=MODEL_ID).filter(is_enabled=True).update(is_enabled=False)
    return None


# Reading a prompt is slow on a small machine: the history is cut to about 1,000 tokens, though the model could read
# 4,096.
MODEL_DEFAULTS = {
    "label": "SmolLM2 135M",
    "description": "Demo model on this machine: small, quick and often wrong",
    "context_tokens": 1400,
    "max_output_tokens": 400,
    "system_prompt": SYSTEM_PROMPT,
    "temperature": 0.2,
    "top_p": 0.9,
    "extra_parameters": {"repeat_penalty": 1.1},
    "is_demo": True,
}
