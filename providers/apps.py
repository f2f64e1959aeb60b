from django.apps import AppConfig


class ProvidersConfig(AppConfig):
    name = "providers"
    verbose_name = "Providers"

    def ready(self) -> None:
        from django.db.models.signals import post_delete, post_save

        from ops import startup
        from providers import catalog, local
        from providers.models import ChatModel, Provider

        startup.register("demo model", local.ensure_local_provider)
        for changed in (post_save, post_delete):
            for model in (ChatModel, Provider):
                changed.connect(catalog.forget, sender=model)
