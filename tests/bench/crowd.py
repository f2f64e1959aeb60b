"""Many healthy viewers, with and without somebody among them who has stopped reading.

The viewers are spread over a few conversations: all in one would get each token as one burst, whose own length drowns
everything else, and nobody has 500 devices. The stalled one shares its conversation with its part of them. The rate is low: a
server without a moment to spare would be measured in its queues, and not in what a stalled viewer does to the others. So that
the stalled one is owed more than the kernel holds for it, the tokens of its conversation are long.
"""

import statistics
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import msgspec
import psutil

from tests.bench.processes import read_line, spawn, write_line
from tests.bench.runs import QUANTILES, expect
from tests.bench.spectators import Crowd, Round, Watched, read_watched
from tests.bench.usage import PeakRss, Strangers, percentile, read_family_cpu_s

CONVERSATIONS = 5
RATE = 10.0
OWED_CHARACTERS = 360_000  # nearly the longest reply there is
WARM_TOKENS = 20
TIMES = 2  # as many rounds as streams get: a tail is noisier than a cost


@dataclass(frozen=True, slots=True)
class Show:
    """One round. `cores` that the web process used, `grown_bytes` at its highest over what it had before."""

    watched: Watched
    cores: float
    grown_bytes: int
    strangers_cores: float

    def get_latency_ms(self, share: float) -> float:
        return percentile(self.watched.latencies, share) / 10


@dataclass(frozen=True, slots=True)
class CrowdResult:
    """`many`: how many were stalled, in the rounds with them."""

    viewers: int
    many: int
    without: list[Show]
    stalled: list[Show]

    @property
    def ratio(self) -> float:
        """p95 of the healthy in the middle round with the stalled one, to that in the middle round without."""
        middle = [statistics.median(show.get_latency_ms(0.95) for show in shows) for shows in (self.stalled, self.without)]
        return middle[0] / middle[1]

    @property
    def ratios(self) -> list[float]:
        """The same round by round: how far they differ is the machine's noise."""
        pairs = zip(self.stalled, self.without, strict=True)
        return [theirs.get_latency_ms(0.95) / ours.get_latency_ms(0.95) for theirs, ours in pairs]

    @property
    def problems(self) -> list[str]:
        return [problem for show in (*self.without, *self.stalled) for problem in show.watched.problems]


def pool_ms(shows: Sequence[Show]) -> list[float]:
    """p50, p95 and p99 of all tokens of these rounds."""
    latencies = [latency for show in shows for latency in show.watched.latencies]
    return [percentile(latencies, share) / 10 for share in QUANTILES]


def build_crowd(address: str, upstream: str, bearer: str, *, viewers: int) -> Crowd:
    return Crowd(
        address=address,
        upstream=upstream,
        bearer=bearer,
        viewers=viewers,
        conversations=CONVERSATIONS,
        rate=RATE,
    )


def build_round(name: str, tokens: int, stalled: int) -> Round:
    return Round(name=name, tokens=tokens, filler=OWED_CHARACTERS // tokens, stalled=stalled)


def measure(crowd: Crowd, processes: Mapping[str, psutil.Process], *, rounds: int, seconds: float, stalled: int) -> CrowdResult:
    """Without and with, then with and without, and so on, so that what drifts meets both alike."""
    result = CrowdResult(crowd.viewers, stalled, [], [])
    with ExitStack() as stack:
        spectators = stack.enter_context(spawn("spectators"))
        write_line(spectators, msgspec.json.encode(crowd).decode())
        _play(spectators, build_round("crowd-warm", WARM_TOKENS, 0), processes["web"])
        for number in range(rounds):
            for many in (0, stalled) if number % 2 == 0 else (stalled, 0):
                this = build_round(f"crowd-{number}-{many}", int(seconds * crowd.rate), many)
                (result.stalled if many else result.without).append(_play(spectators, this, processes["web"]))
                print(".", end="", flush=True)
    return result


def _play(spectators: "subprocess.Popen[str]", this: Round, web: psutil.Process) -> Show:
    write_line(spectators, msgspec.json.encode(this).decode())
    expect(read_line(spectators), "ready")
    rss_before, cpu_before = web.memory_info().rss, read_family_cpu_s(web)
    with PeakRss({"web": web}) as peak, Strangers() as strangers:
        write_line(spectators, "go")
        expect(read_line(spectators), "streamed")
        cpu_s = read_family_cpu_s(web) - cpu_before
    write_line(spectators, "check")
    watched = read_watched(read_line(spectators))
    return Show(watched, cpu_s / strangers.seconds, peak.bytes["web"] - rss_before, strangers.cores)


def print_crowd(result: CrowdResult) -> None:
    print(
        f"\n{result.viewers} viewers of {CONVERSATIONS} conversations, {RATE:g} tokens a second each; ms p50/p95/p99 of a token"
    )
    for name, shows in (("without", result.without), ("stalled", result.stalled)):
        print(f"{name:8} {_describe(shows)}")
    rounds = "/".join(f"{ratio:.2f}" for ratio in result.ratios)
    print(f"p95 with {result.many} stalled: {result.ratio:.2f} × that without, of the middle rounds ({rounds}; target 1.2)")
    for show in result.stalled:
        print(_describe_stalled(show, result.many))
    for problem in sorted(set(result.problems))[:3]:
        print(f"! {problem}")


def _describe(shows: Sequence[Show]) -> str:
    rounds = "/".join(f"{show.get_latency_ms(0.95):.1f}" for show in shows)
    latency = "/".join(f"{value:.1f}" for value in pool_ms(shows))
    cores, strangers = (max(getattr(show, name) for show in shows) for name in ("cores", "strangers_cores"))
    grown = "/".join(f"{show.grown_bytes / 1e6:.1f}" for show in shows)
    faults = sum(len(show.watched.problems) for show in shows)
    return (
        f"{latency:20} (p95 by rounds {rounds})   web {cores:.2f} cores, grown by {grown} MB   "
        f"{faults} viewers incomplete or inexact, {sum(show.watched.resyncs for show in shows)} resyncs   "
        f"strangers {strangers:.2f} cores"
    )


def _describe_stalled(show: Show, many: int) -> str:
    seen = show.watched
    owed, held, left = seen.owed_bytes / 1e3, seen.held_bytes / 1e3, len(seen.let_go_s)
    gone = f"let go, after {max(seen.let_go_s):.1f} s at the latest" if seen.let_go_s else "let go"
    return f"stalled, each: owed {owed:.0f} kB, of which the kernel held up to {held:.0f} kB; {left} of {many} {gone}"
