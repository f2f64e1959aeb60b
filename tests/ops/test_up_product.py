"""`manage.py up --check` on the product itself: what a newcomer's first minute does."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
from django.conf import settings

from ops.engines import paths
from tests.ops.standin import find_free_port


def test_first_start_of_the_product_is_ready_and_leaves_nothing() -> None:
    home = Path(tempfile.mkdtemp(prefix="chatbox-p-"))
    home.chmod(0o711)
    given = ("SECRET_KEY", "JWT_SECRET", "ENCRYPTION_KEYS", "POSTGRES_PASSWORD", "LOCAL_MODEL_KEY", "EMBEDDED_MODEL")
    environment = {name: value for name, value in os.environ.items() if name not in given}
    environment |= {"CHATBOX_HOME": str(home), "PORT": str(find_free_port())}
    try:
        done = subprocess.run(
            [sys.executable, "manage.py", "up", "--check"],
            cwd=settings.BASE_DIR,
            env=environment,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"http://127.0.0.1:{environment['PORT']}" in done.stdout
        assert not [left for left in psutil.process_iter() if str(home) in " ".join(_read_arguments(left))]
    finally:
        shutil.rmtree(paths.run_directory(home), ignore_errors=True)
        shutil.rmtree(home)


def _read_arguments(found: psutil.Process) -> list[str]:
    try:
        return found.cmdline()
    except psutil.Error:
        return []
