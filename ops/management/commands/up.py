"""`manage.py up`: the whole product on one machine, in the foreground."""

import signal
import threading
from types import FrameType
from typing import Any

from django.core.management import BaseCommand, CommandError, CommandParser

from ops.engines import running
from ops.engines.configuration import build_plan
from ops.engines.errors import EngineError, StopRequested


class Command(BaseCommand):
    help = "Start database, bus, demo model, workers and web server; Ctrl-C stops them in order."
    # The database that the checks would ask is not up yet; `prepare` runs them.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--check", action="store_true", help="stop as soon as everything is ready")

    def say(self, line: str) -> None:
        """Into a file or a pipe, too, a line is there when it is said."""
        self.stdout.write(line)
        self.stdout.flush()

    def handle(self, *_args: Any, check: bool, **_options: Any) -> None:
        stopping = threading.Event()

        def stop(number: int, _frame: FrameType | None) -> None:
            stopping.set()
            signal.signal(number, signal.SIG_DFL)  # a second one ends us; the supervisor goes on stopping

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, stop)
        try:
            running.run(build_plan(), say=self.say, stopping=stopping, is_check=check)
        except StopRequested as stopped:
            if check:
                raise CommandError(str(stopped)) from stopped
        except EngineError as error:
            raise CommandError(str(error)) from error
