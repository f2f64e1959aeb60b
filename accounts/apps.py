from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "accounts"
    verbose_name = "Accounts"

    def ready(self) -> None:
        from accounts import schema  # noqa: F401  (registers)
        from accounts.startup import prepare_first_admin
        from ops import startup

        startup.register("accounts.first_admin", prepare_first_admin)
