"""Who an engine runs as: ourselves, or somebody without rights when we are root."""

import os
import pwd
import signal
import subprocess
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

LAUNCHER = Path(__file__).with_name("launch.py")
REACH = 'for path; do test -x "$path" || exit 1; done'


class Identity(StrEnum):
    """`NAMESPACE` is ourselves without root's rights or with a name, called nobody.

    For root in a tree that nobody cannot reach, and for a user id that has no name, as
    some clusters give to containers: initdb refuses both.
    """

    OURSELVES = "ourselves"
    NOBODY = "nobody"
    NAMESPACE = "namespace"


def launch_command(
    argv: Sequence[str],
    *,
    identity: Identity = Identity.OURSELVES,
    death_signal: signal.Signals = signal.SIGTERM,
    pid_file: Path | None = None,
    is_bare: bool = False,
    kept: Sequence[str] = (),
) -> list[str]:
    """Return `argv` behind the launcher: it ends with its parent and runs as `identity`.

    `is_bare` gives it an environment without our settings and secrets, but for those `kept` by name.
    """
    command = [
        sys.executable,
        "-I",
        "-S",
        str(LAUNCHER),
        f"--signal={int(death_signal)}",
    ]
    if identity is not Identity.OURSELVES:
        command.append(f"--become={identity}")
    if pid_file is not None:
        command.append(f"--pid-file={pid_file}")
    if is_bare:
        command += ["--bare", *(f"--keep={name}" for name in kept)]
    return [*command, "--", *argv]


def choose_identity(*, reach: Sequence[Path]) -> Identity | None:
    """Return who is not root, has a name and can reach all paths; None if nobody can."""
    if os.geteuid() == 0:
        candidates = [Identity.NOBODY, Identity.NAMESPACE]
    elif _have_name():
        return Identity.OURSELVES
    else:
        candidates = [Identity.NAMESPACE, Identity.OURSELVES]
    return next((identity for identity in candidates if _may_reach(identity, reach)), None)


def owner_of(identity: Identity) -> tuple[int, int]:
    """Return the user and group id that files of this identity belong to."""
    if identity is Identity.NOBODY:
        nobody = pwd.getpwnam("nobody")
        return nobody.pw_uid, nobody.pw_gid
    return os.geteuid(), os.getegid()


def _have_name() -> bool:
    try:
        return bool(pwd.getpwuid(os.geteuid()).pw_name)
    except KeyError:
        return False


def _may_reach(identity: Identity, reach: Sequence[Path]) -> bool:
    probe = ["/bin/sh", "-c", REACH, "sh", *map(str, reach)]
    command = launch_command(probe, identity=identity)
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
