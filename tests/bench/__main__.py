"""The bench: start everything, measure in turns, print, end everything. `--quick` for a first look."""

import argparse
import asyncio
import contextlib
import signal
import sys
from types import FrameType

import psutil

from tests.bench import crowd, openings, report, runs, sends, sockets, stops
from tests.bench.installation import Installation, install
from tests.bench.options import parse
from tests.bench.processes import read_line, spawn
from tests.bench.runs import Result, Run
from tests.bench.usage import read_rss
from tests.bench.viewers import Job


def end_in_order(_number: int, _frame: FrameType | None) -> None:
    sys.exit(143)


def main() -> None:
    signal.signal(signal.SIGTERM, end_in_order)
    options = parse(__doc__)
    report.print_load("before")
    with contextlib.ExitStack() as stack:
        upstream = f"http://127.0.0.1:{read_line(stack.enter_context(spawn('upstream')))}"
        relay = stack.enter_context(spawn("relay", upstream))
        relay_address = f"http://127.0.0.1:{read_line(relay)}"
        installation = stack.enter_context(install())
        lengths = sends.LENGTHS if "sends" in options.parts else {}
        installation.seed(upstream=upstream, people=max(options.streams), lengths=lengths)
        Bench(options, installation, upstream, relay_address, psutil.Process(relay.pid)).run()


class Bench:
    """Everything runs; measure it."""

    def __init__(
        self, options: argparse.Namespace, installation: Installation, upstream: str, relay: str, relay_process: psutil.Process
    ) -> None:
        self._options = options
        self._installation = installation
        self._upstream = upstream
        self._addresses = {"relay": relay, "product": installation.address}
        self._processes = {"relay": {"relay": relay_process}, "product": installation.find_processes()}
        self._number = 0
        self._problems: list[str] = []
        self._pairs: list[tuple[Result, Result]] = []

    def run(self) -> None:
        self._check_exactness()
        idle = read_rss(self._processes["product"])
        plays = {
            "sockets": self._run_sockets,  # first, while memory is what a young process has
            "streams": self._run_streams,
            "crowd": self._run_crowd,
            "sends": self._run_sends,
            "stops": self._run_stops,
        }
        for part in [part for part in plays if part in self._options.parts]:
            plays[part]()
        report.print_idle(idle)
        report.print_load("after")
        report.print_ratios(self._pairs)
        if self._problems:
            sys.exit("not every reply was complete and exact")

    def _check_exactness(self) -> None:
        """Also the first work of all processes, before their memory counts as idle."""
        for target in ("relay", "product"):
            run = self._measure(target, streams=min(5, max(self._options.streams)), tokens=200, is_exact=True)
            if problems := [one.problem for one in run.seen if one.problem]:
                sys.exit(f"{target}: {problems}")
        print("text and HTML on the sockets, the row and the upstream's text are the same, byte for byte", flush=True)

    def _run_sockets(self) -> None:
        report.print_sockets(asyncio.run(self._measure_sockets()), self._options.sockets)

    def _run_streams(self) -> None:
        self._pairs = [self._measure_pair(streams) for streams in self._options.streams]
        report.print_streams(self._pairs)
        report.print_memory(self._pairs)
        self._problems += [problem for pair in self._pairs for result in pair for problem in result.problems]

    def _run_crowd(self) -> None:
        options, installation = self._options, self._installation
        order = crowd.build_crowd(installation.address, self._upstream, installation.bearers[0], viewers=options.viewers)
        result = crowd.measure(
            order,
            self._processes["product"],
            rounds=options.rounds * crowd.TIMES,
            seconds=options.seconds,
            stalled=options.stalled,
        )
        crowd.print_crowd(result)
        self._problems += result.problems

    def _run_sends(self) -> None:
        """Openings first: sends make the conversations longer."""
        report.print_openings(openings.measure(self._installation, times=self._options.openings))
        report.print_sends(sends.measure(self._installation, times=self._options.times))

    def _run_stops(self) -> None:
        report.print_stops(asyncio.run(self._measure_stops()))

    def _measure_pair(self, streams: int) -> tuple[Result, Result]:
        done: dict[str, list[Run]] = {"product": [], "relay": []}
        for _ in range(self._options.rounds):
            for target in ("relay", "product"):
                done[target].append(self._measure(target, streams=streams, tokens=self._count_tokens()))
                print(".", end="", flush=True)
        return Result("product", streams, done["product"]), Result("relay", streams, done["relay"])

    def _count_tokens(self) -> int:
        return int(self._options.seconds * self._options.rate)

    def _measure(self, target: str, *, streams: int, tokens: int, is_exact: bool = False) -> Run:
        self._number += 1
        job = Job(
            target="relay" if target == "relay" else "product",
            address=self._addresses[target],
            upstream=self._upstream,
            name=f"run{self._number}",
            streams=streams,
            tokens=tokens,
            rate=self._options.rate,
            ramp_s=self._options.ramp if streams > 1 else 0.0,
            bearers=self._installation.bearers if target == "product" else [],
            is_exact=is_exact,
        )
        return runs.measure(job, self._processes[target])

    async def _measure_sockets(self) -> float:
        return await sockets.measure(
            address=self._installation.address,
            bearers=self._installation.bearers,
            web=self._processes["product"]["web"],
            count=self._options.sockets,
        )

    async def _measure_stops(self) -> dict[str, list[float]]:
        return {
            name: await stops.measure(
                address=self._installation.address,
                upstream=self._upstream,
                bearer=self._installation.bearers[0],
                times=self._options.times,
                is_before_first=is_before_first,
            )
            for name, is_before_first in (("while it writes", False), ("before it begins", True))
        }


if __name__ == "__main__":
    main()
