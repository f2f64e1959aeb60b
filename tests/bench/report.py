"""The table, for people."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace

from tests.bench.installation import APART, SERVING
from tests.bench.openings import Opening
from tests.bench.runs import Result
from tests.bench.sends import SendCost
from tests.bench.usage import percentile

MB, KB = 1e6, 1e3


def join(values: Iterable[float], digits: int = 0) -> str:
    return "/".join(f"{value:.{digits}f}" for value in values)


def compute_ratio(product: Result, relay: Result) -> float:
    """CPU of a token in the product to the relay's. The job worker does not count."""
    return sum(product.cost_us[name] for name in SERVING) / relay.cost_us["relay"]


def compute_ratios(product: Result, relay: Result) -> list[float]:
    """The same round by round: how far they differ is the machine's noise."""
    pairs = zip(product.runs, relay.runs, strict=True)
    return [compute_ratio(replace(product, runs=[ours]), replace(relay, runs=[theirs])) for ours, theirs in pairs]


def print_load(word: str) -> None:
    print(f"load average {word}: {join(os.getloadavg(), 2)} on {os.cpu_count()} cores", flush=True)


def print_streams(pairs: Sequence[tuple[Result, Result]]) -> None:
    print("\nCPU, microseconds a token                                       ratio (rounds)  frames a token   strangers' cores")
    print("streams   product =  web + worker + valkey + postgres   (jobs)   relay             product relay    product, relay")
    for product, relay in pairs:
        cost = product.cost_us
        parts = " + ".join(f"{cost[name]:.0f}" for name in SERVING)
        total = sum(cost[name] for name in SERVING)
        apart = ", ".join(f"{cost[name]:.0f}" for name in APART)
        rounds = join(compute_ratios(product, relay), 1)
        strangers = ", ".join(join((run.strangers_cores for run in result.runs), 2) for result in (product, relay))
        print(
            f"{product.streams:7}   {total:7.0f} = {parts:32}   ({apart})   {relay.cost_us['relay']:5.0f}"
            f"  {compute_ratio(product, relay):5.2f} ({rounds})   {product.frames_per_token:.2f}  {relay.frames_per_token:.2f}"
            f"   {strangers}"
        )
    print("\nMilliseconds, p50/p95/p99         added to first token        of a token")
    for result in (result for pair in pairs for result in pair):
        exact = f"{len(result.streams_seen) - len(result.problems)} of {len(result.streams_seen)} exact"
        print(
            f"{result.streams:7} {result.target:10}             {join(result.added_ms, 1):24}   {join(result.latency_ms, 1):24}"
            f"   {exact}" + (f", {result.resyncs} resyncs" if result.resyncs else "")
        )
        for problem in sorted(set(result.problems))[:3]:
            print(f"        ! {problem}")


def print_idle(idle: dict[str, int]) -> None:
    print("\nIdle, MB: " + ", ".join(f"{name} {size / MB:.0f}" for name, size in idle.items()))


def print_sockets(socket_bytes: float, sockets: int) -> None:
    print(f"\nAn idle socket, kB of the web process: {socket_bytes / KB:.0f}   ({sockets} sockets)")


def print_memory(pairs: Sequence[tuple[Result, Result]]) -> None:
    """A stream's share: the highest of the largest run over what its first began with."""
    first, last = pairs[0][0].runs[0], pairs[-1][0].runs  # memory that a smaller run took is not given back
    print("\nA stream, kB of memory")
    for name in ("worker", "web"):
        grown = max(run.rss_peak[name] for run in last) - first.rss_before[name]
        print(f"{name:10} {grown / last[0].streams / KB:.0f}   ({last[0].streams} streams)")


def print_stops(kinds: dict[str, list[float]]) -> None:
    print("\nStop → provider's connection closed, ms p50/p99")
    for kind, delays in kinds.items():
        print(f"{kind:20} {join((percentile(delays, 0.5), percentile(delays, 0.99)), 1)}   ({len(delays)} times)")


def print_sends(costs: Sequence[SendCost]) -> None:
    """The last is compared with the first; by halves too, since how far those differ is the machine's noise."""
    print("\nA send (the whole request), ms p50/p95 and queries")
    for cost in costs:
        times = join((percentile(cost.milliseconds, 0.5), percentile(cost.milliseconds, 0.95)), 1)
        print(f"{cost.length:>6} messages   {times:12} {cost.queries} queries   ({len(cost.milliseconds)} times)")
    short, long = costs[0], costs[-1]
    halves = join((compare_medians(half(long), half(short)) for half in (SendCost.get_first, SendCost.get_second)), 2)
    ratio, more = compare_medians(long.milliseconds, short.milliseconds), long.queries - short.queries
    print(f"{long.length} to {short.length}: {ratio:.2f} × the time (by halves {halves}; target 1.2), {more:+d} queries")


def compare_medians(these: Sequence[float], those: Sequence[float]) -> float:
    return percentile(these, 0.5) / percentile(those, 0.5)


def print_openings(openings: Sequence[Opening]) -> None:
    print("\nOpened in Chromium: from the navigation to the newest message on the screen, ms p50/p95/most (target 1000)")
    if not openings:
        print("not measured: Chromium is not installed")
    for one in openings:
        shown = join((percentile(one.shown_ms, 0.5), percentile(one.shown_ms, 0.95), max(one.shown_ms)))
        print(f"{one.length:>6} messages   {shown:14} ({len(one.shown_ms)} times)   {describe_older(one.older_ms)}")


def describe_older(older_ms: Sequence[float]) -> str:
    if not older_ms:
        return "no older ones"
    return f"{len(older_ms)} pages of older ones by scrolling up, p50/most {join((percentile(older_ms, 0.5), max(older_ms)))}"


def print_ratios(pairs: Sequence[tuple[Result, Result]]) -> None:
    for product, relay in pairs:
        if product.streams in (50, 200):
            print(f"ratio@{product.streams} {compute_ratio(product, relay):.2f}", flush=True)
