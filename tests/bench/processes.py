"""Processes of ours that end with us: each watches its standard input, which closes when we are gone, however we went."""

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator

from tests.journeys.product import ROOT

STOP_S = 10


@contextlib.contextmanager
def spawn(module: str, *arguments: str) -> "Iterator[subprocess.Popen[str]]":
    """Run a module of this package with pipes to and from it; at the end its input is closed and it is waited for."""
    argv = [sys.executable, "-m", f"tests.bench.{module}", *arguments]
    with subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            _end(process)


def _end(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()


def read_line(process: "subprocess.Popen[str]") -> str:
    """Its next line. A process that ends instead has said why on standard error."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise SystemExit(f"{process.args!r} ended with {process.wait(STOP_S)}")
    return line.rstrip("\n")


def write_line(process: "subprocess.Popen[str]", line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()


def serve(listen: Callable[[], contextlib.AbstractAsyncContextManager[int]]) -> None:
    """The life of a server process: say the port, serve until the input is closed."""

    async def main() -> None:
        async with listen() as port:
            print(port, flush=True)
            await asyncio.to_thread(sys.stdin.read)

    asyncio.run(main())
