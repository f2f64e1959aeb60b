"""`manage.py prepare`: bring database and static files up to date, run the apps' first steps."""

from typing import Any

from django.core.management import BaseCommand, CommandParser, call_command
from django.db import connection

from ops import startup

# Any number, the same everywhere: the name of "somebody is preparing this database".
LOCK = 7_263_041


class Command(BaseCommand):
    help = "Migrate, collect static files and run the first steps. Safe to run twice, and by two machines at once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--address", required=True, help="where people will find this installation")

    def handle(self, *_args: Any, address: str, **_options: Any) -> None:
        """Print one line per step that has something to say: its name, a tab, its words."""
        with connection.cursor() as cursor:
            # Waiting for another machine's migrations may take longer than a page may.
            cursor.execute("SET statement_timeout = 0; SET lock_timeout = 0; SELECT pg_advisory_lock(%s)", [LOCK])
            try:
                call_command("migrate", interactive=False, verbosity=0)
                call_command("collectstatic", interactive=False, verbosity=0)
                for result in startup.run_steps(startup.StartupContext(address=address)):
                    if result.line:
                        self.stdout.write(f"{result.name}\t{result.line}")
            finally:
                cursor.execute("SELECT pg_advisory_unlock(%s)", [LOCK])
