"""Providers and models in the back office. A key goes in and never comes out; every call of a provider is a POST."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_POST

from providers import services
from providers.errors import AddressRefused, KeyNeeded, ProviderError
from providers.guard import check_url
from providers.models import ChatModel, Provider

if TYPE_CHECKING:
    ProviderModelForm = forms.ModelForm[Provider]
    ProviderModelAdmin = admin.ModelAdmin[Provider]
    ChatModelModelAdmin = admin.ModelAdmin[ChatModel]
else:
    ProviderModelForm, ProviderModelAdmin, ChatModelModelAdmin = forms.ModelForm, admin.ModelAdmin, admin.ModelAdmin


class ProviderForm(ProviderModelForm):
    new_key = forms.CharField(
        label="API key",
        required=False,
        strip=True,
        max_length=1000,
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
        help_text="Stored encrypted and never shown again. Leave it empty to keep the stored key.",
    )
    drop_key = forms.BooleanField(label="Remove the stored key", required=False)

    class Meta:
        model = Provider
        fields = ("name", "adapter", "base_url", "allow_private_address", "is_enabled")

    def clean_new_key(self) -> str:
        key: str = self.cleaned_data["new_key"]
        if not (key.isascii() and key.isprintable()) or " " in key:
            raise forms.ValidationError("A key has no spaces or unusual characters.")
        return key

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if "base_url" not in data:
            return data
        try:
            target, _ = check_url(data["base_url"], allow_private=data.get("allow_private_address", False))
        except AddressRefused as error:
            self.add_error("base_url", error.detail)
            return data
        has_fresh_start = data.get("new_key") or data.get("drop_key")
        if self.instance.api_key_origin not in {"", target.origin} and not has_fresh_start:
            self.add_error("new_key", KeyNeeded.message)
        return data


@admin.register(Provider)
class ProviderAdmin(ProviderModelAdmin):
    form = ProviderForm
    list_display = ("name", "adapter", "base_url", "model_count", "is_enabled")
    list_filter = ("is_enabled", "adapter")
    search_fields = ("name", "base_url")
    readonly_fields = ("stored_key",)
    actions = ("list_models", "test")
    fieldsets = (
        (None, {"fields": ("name", "adapter", "base_url", "allow_private_address", "is_enabled")}),
        ("Key", {"fields": ("stored_key", "new_key", "drop_key")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Provider]:
        """Without keys: one that cannot be deciphered must not break the list."""
        return super().get_queryset(request).defer("api_key").annotate(model_count=Count("models"))

    def get_fieldsets(self, request: HttpRequest, obj: Provider | None = None) -> Any:
        return self.fieldsets[:1] if obj and obj.is_local else self.fieldsets

    def get_readonly_fields(self, request: HttpRequest, obj: Provider | None = None) -> Any:
        """Of the embedded model only the name and the switch are anybody's business."""
        return ("adapter", "base_url", "allow_private_address") if obj and obj.is_local else self.readonly_fields

    def has_delete_permission(self, request: HttpRequest, obj: Provider | None = None) -> bool:
        return super().has_delete_permission(request, obj) and not (obj and obj.is_local)

    def save_model(self, request: HttpRequest, obj: Provider, form: Any, change: bool) -> None:
        data = form.cleaned_data
        services.save_provider(provider=obj, new_key=data.get("new_key", ""), drop_key=data.get("drop_key", False))

    @admin.display(description="Models", ordering="model_count")
    def model_count(self, provider: Provider) -> int:
        return getattr(provider, "model_count", 0)

    @admin.display(description="Stored key")
    def stored_key(self, provider: Provider) -> str:
        return services.describe_key(provider)

    @admin.action(description="List models of the selected provider", permissions=["change"])
    def list_models(self, request: HttpRequest, providers: QuerySet[Provider]) -> HttpResponse | None:
        if len(providers) != 1:
            self.message_user(request, "Select one provider.", messages.WARNING)
            return None
        return HttpResponseRedirect(reverse("admin:providers_provider_models", args=[providers[0].pk]))

    @admin.action(description="Test selected providers", permissions=["change"])
    def test(self, request: HttpRequest, providers: QuerySet[Provider]) -> None:
        for provider in providers:
            self._report(request, provider)

    def _report(self, request: HttpRequest, provider: Provider) -> None:
        probe = services.test_provider(provider=provider)
        if probe.code:
            self.message_user(request, f"{provider}: {probe.message} ({probe.code})", messages.ERROR)
        else:
            self.message_user(request, f"{provider} answered in {probe.latency_ms} ms.", messages.SUCCESS)

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        return [
            path("<uuid:provider_id>/models/", wrap(self.models_view), name="providers_provider_models"),
            path("<uuid:provider_id>/test/", wrap(self.test_view), name="providers_provider_test"),
            *super().get_urls(),
        ]

    def _get_provider(self, request: HttpRequest, provider_id: Any) -> Provider:
        provider = self.get_queryset(request).filter(pk=provider_id).first()
        if provider is None:
            raise Http404
        if not self.has_change_permission(request, provider):
            raise PermissionDenied
        return provider

    @method_decorator(require_POST)
    def test_view(self, request: HttpRequest, provider_id: Any) -> HttpResponse:
        provider = self._get_provider(request, provider_id)
        self._report(request, provider)
        return HttpResponseRedirect(reverse("admin:providers_provider_change", args=[provider.pk]))

    def models_view(self, request: HttpRequest, provider_id: Any) -> HttpResponse:
        """What the provider serves, with a box each; posted, the ticked ones become models people may choose.

        A link leads only to the button that asks the provider: whoever plants a link cannot use the key with it.
        """
        provider = self._get_provider(request, provider_id)
        if request.method != "POST":
            return self._render_models(request, provider, "ask_for_models.html")
        try:
            listings = services.list_remote_models(provider=provider)
        except ProviderError as error:
            self.message_user(request, f"{provider}: {services.explain(error)} ({error.code})", messages.ERROR)
            return HttpResponseRedirect(reverse("admin:providers_provider_change", args=[provider.pk]))
        if "list" not in request.POST:
            return self._import(request, provider, [one for one in listings if one.name in request.POST.getlist("name")])
        present = set(provider.models.values_list("name", flat=True))
        return self._render_models(request, provider, "models.html", listings=listings, present=present)

    def _render_models(self, request: HttpRequest, provider: Provider, template: str, **context: Any) -> HttpResponse:
        context |= {"title": f"Models of {provider}", "opts": self.opts, "provider": provider}
        context |= self.admin_site.each_context(request)
        return TemplateResponse(request, f"admin/providers/provider/{template}", context)

    def _import(self, request: HttpRequest, provider: Provider, listings: list[Any]) -> HttpResponse:
        imported = services.import_models(provider=provider, listings=listings)
        for model in imported:
            self.log_change(request, provider, f"Model {model.name} offered to people.")
        self.message_user(request, f"Models added: {len(imported)}.", messages.SUCCESS)
        return HttpResponseRedirect(reverse("admin:providers_chatmodel_changelist"))


@admin.register(ChatModel)
class ChatModelAdmin(ChatModelModelAdmin):
    list_display = ("display_name", "name", "provider", "context_tokens", "is_enabled", "is_default", "is_demo")
    list_filter = ("is_enabled", "provider")
    list_select_related = ("provider",)
    search_fields = ("name", "label")
    readonly_fields = ("is_default", "is_demo")
    actions = ("make_default", "switch_on", "switch_off")
    fieldsets = (
        (None, {"fields": ("provider", "name", "label", "description", "is_enabled", "is_default", "is_demo")}),
        ("Limits", {"fields": ("context_tokens", "max_output_tokens")}),
        ("Behaviour", {"fields": ("system_prompt", "temperature", "top_p", "extra_parameters")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[ChatModel]:
        return super().get_queryset(request).select_related("provider").defer("provider__api_key")

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **options: Any) -> Any:
        return super().formfield_for_foreignkey(db_field, request, queryset=Provider.objects.defer("api_key"), **options)

    @admin.action(description="Start new chats with the selected model", permissions=["change"])
    def make_default(self, request: HttpRequest, models: QuerySet[ChatModel]) -> None:
        if len(models) != 1:
            self.message_user(request, "Select one model.", messages.WARNING)
            return
        services.make_default(model=models[0])
        self.log_change(request, models[0], "Made the default.")
        self.message_user(request, f"New chats start with {models[0]}.", messages.SUCCESS)

    @admin.action(description="Switch on", permissions=["change"])
    def switch_on(self, request: HttpRequest, models: QuerySet[ChatModel]) -> None:
        self._switch(request, models, is_enabled=True)

    @admin.action(description="Switch off", permissions=["change"])
    def switch_off(self, request: HttpRequest, models: QuerySet[ChatModel]) -> None:
        self._switch(request, models, is_enabled=False)

    def _switch(self, request: HttpRequest, models: QuerySet[ChatModel], *, is_enabled: bool) -> None:
        for model in models:
            self.log_change(request, model, "Switched on." if is_enabled else "Switched off.")
        models.update(is_enabled=is_enabled)
