#!/usr/bin/env python3
"""Django's command line for Chatbox. `manage.py up` is the whole product on one machine."""

import os
import sys
from pathlib import Path

from django.core.management import execute_from_command_line

from ops.engines import secrets


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chatbox.settings")
    if sys.argv[1:2] == ["up"]:
        # The keys of a first start must exist before the settings that read them.
        secrets.ensure(Path(os.environ.get("CHATBOX_HOME") or Path(__file__).parent / "var").resolve())
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
