from django.apps import AppConfig


class ProvidersConfig(AppConfig):
    name = "providers"
    verbose_name = "Providers"

    def ready(self) -> None:
        from ops import startup
        from providers import local

        startup.register("demo model", local.ensure_local_provider)
