"""One run: so many streams at once through the product or the relay, and what that took."""

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
import psutil

from tests.bench.processes import read_line, spawn, write_line
from tests.bench.usage import PeakRss, Strangers, percentile, read_all_cpu_s, read_rss
from tests.bench.viewers import Job, Seen, read_seen

QUANTILES = (0.5, 0.95, 0.99)


@dataclass(frozen=True, slots=True)
class Run:
    """CPU in seconds by process, from the first question to the last end; memory in bytes before and at its highest.

    `strangers_cores`: what everybody else had of the machine meanwhile. Above a tenth, CPU and latency are not to be trusted.
    """

    target: str
    streams: int
    cpu_s: dict[str, float]
    rss_before: dict[str, int]
    rss_peak: dict[str, int]
    strangers_cores: float
    seen: list[Seen]

    @property
    def tokens(self) -> int:
        return sum(one.tokens for one in self.seen)


@dataclass(frozen=True, slots=True)
class Result:
    """All runs of one kind together."""

    target: str
    streams: int
    runs: list[Run]

    @property
    def cost_us(self) -> dict[str, float]:
        """Microseconds of CPU for a token, by process."""
        tokens = sum(run.tokens for run in self.runs)
        return {name: 1e6 * sum(run.cpu_s[name] for run in self.runs) / tokens for name in self.runs[0].cpu_s}

    @property
    def streams_seen(self) -> list[Seen]:
        return [one for run in self.runs for one in run.seen]

    @property
    def added_ms(self) -> list[float]:
        """Of the streams that were answered."""
        added = [one.added_ms for one in self.streams_seen if one.latencies] or [0.0]
        return [percentile(added, share) for share in QUANTILES]

    @property
    def latency_ms(self) -> list[float]:
        latencies = [latency / 10 for one in self.streams_seen for latency in one.latencies] or [0.0]
        return [percentile(latencies, share) for share in QUANTILES]

    @property
    def problems(self) -> list[str]:
        return [one.problem for one in self.streams_seen if one.problem]

    @property
    def resyncs(self) -> int:
        return sum(one.resyncs for one in self.streams_seen)

    @property
    def frames_per_token(self) -> float:
        return sum(one.frames for one in self.streams_seen) / sum(run.tokens for run in self.runs)


def measure(job: Job, processes: Mapping[str, psutil.Process]) -> Run:
    """Viewers connect first and compare afterwards, so that neither is counted."""
    with spawn("viewers") as viewers:
        write_line(viewers, msgspec.json.encode(job).decode())
        expect(read_line(viewers), "ready")
        rss_before, cpu_before = read_rss(processes), read_all_cpu_s(processes)
        with PeakRss(processes) as peak, Strangers() as strangers:
            write_line(viewers, "go")
            expect(read_line(viewers), "streamed")
            cpu_after = read_all_cpu_s(processes)
        write_line(viewers, "check")
        seen = read_seen(read_line(viewers))
    cpu_s = {name: cpu_after[name] - cpu_before[name] for name in cpu_before}
    return Run(job.target, job.streams, cpu_s, rss_before, peak.bytes, strangers.cores, seen)


def expect(line: str, word: str) -> None:
    assert line == word, line
