"""CPU seconds and resident memory of processes, as the kernel counts them."""

import threading
import time
from collections.abc import Mapping, Sequence

import psutil

SAMPLE_S = 0.2


def read_cpu_s(process: psutil.Process) -> float:
    """User and system time."""
    times = process.cpu_times()
    return float(times.user + times.system)


def read_family_cpu_s(process: psutil.Process) -> float:
    """With its children, living and ended, as PostgreSQL's sessions come and go."""
    times = process.cpu_times()
    total = float(times.user + times.system + times.children_user + times.children_system)
    for child in process.children(recursive=True):
        try:
            total += read_cpu_s(child)
        except psutil.NoSuchProcess:
            continue  # between two looks it has moved to `children_user`, and is counted at the next
    return total


def read_all_cpu_s(processes: Mapping[str, psutil.Process]) -> dict[str, float]:
    return {name: read_family_cpu_s(process) for name, process in processes.items()}


class Strangers:
    """How many cores everybody else used while the block ran, time stolen by other machines included.

    `cores` afterwards, and the block's `seconds`.
    """

    def __enter__(self) -> "Strangers":
        self._began = time.monotonic()
        self._before_s = self._read_s()
        self.cores, self.seconds = 0.0, 0.0
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.monotonic() - self._began
        self.cores = max(0.0, (self._read_s() - self._before_s) / self.seconds)

    def _read_s(self) -> float:
        times = psutil.cpu_times()
        busy_s = times.user + times.nice + times.system + sum(getattr(times, name, 0) for name in ("irq", "softirq", "steal"))
        return float(busy_s) - read_family_cpu_s(psutil.Process())


def read_rss(processes: Mapping[str, psutil.Process]) -> dict[str, int]:
    """Bytes."""
    return {name: process.memory_info().rss for name, process in processes.items()}


class PeakRss:
    """The highest resident memory of each process while the block runs. `bytes` afterwards."""

    def __init__(self, processes: Mapping[str, psutil.Process]) -> None:
        self._processes = processes
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.bytes = read_rss(processes)

    def __enter__(self) -> "PeakRss":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(SAMPLE_S):
            now = read_rss(self._processes)
            self.bytes = {name: max(peak, now[name]) for name, peak in self.bytes.items()}


def percentile(values: Sequence[float], share: float) -> float:
    """Of at least one value, by the nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
