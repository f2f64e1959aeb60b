"""Where models are served (`Provider`) and which of them people may use (`ChatModel`)."""

import uuid

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils import timezone

from ops.fields import EncryptedTextField


class Adapter(models.TextChoices):
    """The wire protocol a provider speaks; each value has its module in `providers.adapters`."""

    OPENAI = "openai", "OpenAI-compatible"


class Provider(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=80, unique=True)
    adapter = models.CharField(max_length=16, choices=Adapter, default=Adapter.OPENAI)
    base_url = models.CharField(max_length=500, help_text="For example https://api.openai.com/v1")
    api_key = EncryptedTextField(blank=True)
    api_key_origin = models.CharField(
        max_length=300,
        blank=True,
        editable=False,
        help_text="Scheme, host and port the key was saved for. It goes nowhere else.",
    )
    is_local = models.BooleanField(default=False, editable=False, help_text="The embedded demo model.")
    allow_private_address = models.BooleanField(
        "may be on this network",
        default=False,
        help_text="Allow loopback and private addresses, for Ollama or vLLM on your own network.",
    )
    is_enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["is_local"], condition=models.Q(is_local=True), name="provider_one_local"),
        ]

    def __str__(self) -> str:
        return self.name


class ChatModel(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    provider = models.ForeignKey(Provider, on_delete=models.CASCADE, related_name="models")
    name = models.CharField("model id", max_length=200, help_text="As the provider calls it.")
    label = models.CharField(max_length=120, blank=True, help_text="As people see it; empty: the model id.")
    description = models.CharField(max_length=200, blank=True)
    context_tokens = models.PositiveIntegerField(default=8192, validators=[MinValueValidator(256)])
    max_output_tokens = models.PositiveIntegerField(default=4096, validators=[MinValueValidator(1)])
    system_prompt = models.TextField(blank=True, max_length=20_000)
    temperature = models.FloatField(null=True, blank=True, validators=[MinValueValidator(0), MaxValueValidator(2)])
    top_p = models.FloatField(null=True, blank=True, validators=[MinValueValidator(0), MaxValueValidator(1)])
    extra_parameters = models.JSONField(
        default=dict, blank=True, help_text='Sent with every call as they are, for example {"repeat_penalty": 1.1}.'
    )
    is_demo = models.BooleanField(default=False, editable=False)
    is_enabled = models.BooleanField(default=True)
    is_default = models.BooleanField(default=False, help_text="Chosen for new chats.")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["is_demo", "label", "name"]
        constraints = [
            models.UniqueConstraint(fields=["provider", "name"], name="chat_model_unique"),
            models.UniqueConstraint(fields=["is_default"], condition=models.Q(is_default=True), name="chat_model_one_default"),
        ]

    def __str__(self) -> str:
        return self.display_name

    def clean(self) -> None:
        if not isinstance(self.extra_parameters, dict):
            raise ValidationError({"extra_parameters": "Write a JSON object, for example {}."})

    @property
    def display_name(self) -> str:
        return self.label or self.name
