"""What Prometheus is told of the whole installation, read when it asks. Each app's own counters are beside its code."""

import logging
from collections.abc import Iterator

from prometheus_client.core import REGISTRY, GaugeMetricFamily
from prometheus_client.registry import Collector
from redis.exceptions import RedisError

from ops import canary

log = logging.getLogger(__name__)


class CanaryAges(Collector):
    """By worker; one that was told to go is not there any more, one that died is there for an hour."""

    def describe(self) -> list[GaugeMetricFamily]:
        return [build_ages()]

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Without samples while the bus is away: the other metrics are wanted then."""
        ages = build_ages()
        try:
            for worker, age_s in canary.list_ages().items():
                ages.add_metric([worker], age_s)
        except (RedisError, OSError) as error:
            log.warning("the ages of the canaries are unknown: %s", error)
        yield ages


def build_ages() -> GaugeMetricFamily:
    told = "Since a worker last took a task from its own queue, which it is given every 15 s."
    return GaugeMetricFamily("chatbox_ops_canary_age_seconds", told, labels=["worker"])


REGISTRY.register(CanaryAges())
