"""The bench: start everything, measure in turns, print, end everything. `--quick` for a first look."""

import argparse
import asyncio
import contextlib
import signal
import sys
from types import FrameType

import psutil

from tests.bench import report, runs, sends, sockets, stops
from tests.bench.installation import Installation, install
from tests.bench.processes import read_line, spawn
from tests.bench.runs import Result, Run
from tests.bench.usage import read_rss
from tests.bench.viewers import Job


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--streams", type=int, nargs="+", help="how many at once (1 10 50 200)")
    parser.add_argument("--seconds", type=float, help="how long each reply is written (10)")
    parser.add_argument("--rate", type=float, default=50.0, help="tokens a second and stream")
    parser.add_argument("--rounds", type=int, help="relay and product in turns, so many times (3)")
    parser.add_argument("--ramp", type=float, default=2.0, help="seconds over which a run's streams begin")
    parser.add_argument("--quick", action="store_true", help="10 and 50 streams of 4 s, once")
    parser.add_argument("--only-streams", action="store_true", help="leave out sends, stops and idle sockets")
    options = parser.parse_args()
    options.streams = options.streams or ([10, 50] if options.quick else [1, 10, 50, 200])
    options.seconds = options.seconds or (4.0 if options.quick else 10.0)
    options.rounds = options.rounds or (1 if options.quick else 3)
    options.times = 20 if options.quick else 100
    options.sockets = 100 if options.quick else 500
    return options


def end_in_order(_number: int, _frame: FrameType | None) -> None:
    sys.exit(143)


def main() -> None:
    signal.signal(signal.SIGTERM, end_in_order)
    options = parse()
    report.print_load("before")
    with contextlib.ExitStack() as stack:
        upstream = f"http://127.0.0.1:{read_line(stack.enter_context(spawn('upstream')))}"
        relay = stack.enter_context(spawn("relay", upstream))
        relay_address = f"http://127.0.0.1:{read_line(relay)}"
        installation = stack.enter_context(install())
        lengths = [] if options.only_streams else [10, 5000]
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

    def run(self) -> None:
        is_whole = not self._options.only_streams
        self._check_exactness()
        idle = read_rss(self._processes["product"])
        socket_bytes = asyncio.run(self._measure_sockets()) if is_whole else 0.0
        pairs = [self._measure_pair(streams) for streams in self._options.streams]
        costs = sends.measure(self._installation, times=self._options.times) if is_whole else []
        delays = asyncio.run(self._measure_stops()) if is_whole else {}
        report.print_streams(pairs)
        report.print_memory(pairs, idle=idle, socket_bytes=socket_bytes, sockets=self._options.sockets)
        report.print_sends(costs)
        report.print_stops(delays)
        report.print_load("after")
        report.print_ratios(pairs)
        if any(result.problems for pair in pairs for result in pair):
            sys.exit("not every reply was complete and exact")

    def _check_exactness(self) -> None:
        """Also the first work of all processes, before their memory counts as idle."""
        for target in ("relay", "product"):
            run = self._measure(target, streams=min(5, max(self._options.streams)), tokens=200, is_exact=True)
            if problems := [one.problem for one in run.seen if one.problem]:
                sys.exit(f"{target}: {problems}")
        print("text and HTML on the sockets, the row and the upstream's text are the same, byte for byte", flush=True)

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
