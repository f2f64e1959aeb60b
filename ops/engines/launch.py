"""Become another program that ends with its parent and, for root, runs as somebody else.

Run by path, with the standard library only (`python -I -S launch.py …`), as the first
step of every engine: PostgreSQL refuses to be root, and a supervisor killed with -9 must
not leave engines behind. The process id stays the same; nothing of this file stays running.
"""

import argparse
import ctypes
import os
import pwd
import signal
import sys
import time
from pathlib import Path

PR_SET_PDEATHSIG = 1
CLONE_NEWUSER = 0x10000000
ANYBODY = 65534
# An engine needs none of our settings, least of all the secrets.
KEPT = ("HOME", "LANG", "PATH", "TMPDIR")


def become_nobody() -> None:
    """Drop root's rights to the user nobody, for good."""
    nobody = pwd.getpwnam("nobody")
    os.setgroups([])
    os.setgid(nobody.pw_gid)
    os.setuid(nobody.pw_uid)


def enter_namespace() -> None:
    """Be called nobody but stay the owner of our own files (see user_namespaces(7))."""
    user, group = os.geteuid(), os.getegid()
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWUSER):
        raise OSError(ctypes.get_errno(), "a user namespace was refused")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{ANYBODY} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{ANYBODY} {group} 1")


def die_with_parent(signal_number: int, *, parent: int) -> None:
    """Have the kernel signal us when our parent ends. Linux only: others rely on pid files."""
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal_number, 0, 0, 0)
    if os.getppid() != parent:  # it ended before the line above
        raise SystemExit(1)


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="launch")
    parser.add_argument("--become", choices=["nobody", "namespace"])
    parser.add_argument("--signal", type=int, default=int(signal.SIGTERM))
    parser.add_argument("--pid-file", type=Path)
    parser.add_argument("--bare", action="store_true", help="without our environment")
    parser.add_argument("--keep", action="append", default=[], help="a variable that a bare environment keeps")
    parser.add_argument("argv", nargs="+")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> None:
    parent = os.getppid()
    options = parse(arguments)
    if options.pid_file:
        options.pid_file.write_text(f"{os.getpid()} {time.time()}\n")
    os.umask(0o077)
    # Changing user clears the death signal, so it comes last.
    if options.become == "nobody":
        become_nobody()
    elif options.become == "namespace":
        enter_namespace()
    die_with_parent(options.signal, parent=parent)
    kept = [*KEPT, *options.keep] if options.bare else list(os.environ)
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    os.execvpe(options.argv[0], options.argv, environment)  # noqa: S606 - a shell is what we do not want


if __name__ == "__main__":
    main(sys.argv[1:])
