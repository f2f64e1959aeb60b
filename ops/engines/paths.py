"""Where the engines keep their sockets. Without Django: `chatbox.settings` has the same rule."""

import hashlib
import os
import re
import stat
import tempfile
from pathlib import Path

from ops.engines.errors import EngineFailed

# A socket's path may have 104 (macOS) to 108 bytes; the longest name is supervisor's temporary one.
LONGEST_RUN_PATH = 80
PLAIN_PATH = re.compile(r"[A-Za-z0-9._/-]+")


def run_directory(home: Path) -> Path:
    """Return the directory of the sockets for `home`: inside it, or a short private one."""
    inside = home / "run"
    if len(str(inside)) <= LONGEST_RUN_PATH and PLAIN_PATH.fullmatch(str(inside)):
        return inside
    digest = hashlib.sha256(str(home).encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"chatbox-{os.getuid()}-{digest}"


def claim_directory(directory: Path) -> None:
    """Create `directory` for us alone, and refuse one that another user prepared."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise EngineFailed(f"{directory} belongs to another user: remove it, or set CHATBOX_HOME.")


def ensure_private(directory: Path, *, group: int | None = None) -> None:
    """The same, and set its mode: 0700.

    `group` opens it to the one other user that PostgreSQL runs as when we are root: they
    may add their socket, and the sticky bit keeps them from removing ours.
    """
    claim_directory(directory)
    if group is not None:
        os.chown(directory, -1, group)
    directory.chmod(0o700 if group is None else 0o1770)
