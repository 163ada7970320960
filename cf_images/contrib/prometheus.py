"""Prometheus: the state of background uploads as metrics of ``prometheus_client``.

``REGISTRY.register(CloudflareImagesCollector())``, once in a process. The figures come from the database at
each scrape, so that every process gives the same ones, and no worker needs a port.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.core.exceptions import ImproperlyConfigured, SynchronousOnlyOperation
from django.db import connections
from django.utils import timezone
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from cf_images.background import database, database_connections, tables, wording
from cf_images.background.figures import PAUSE_REASONS, Figures, figures
from cf_images.background.rows import savepoint

logger = logging.getLogger(__name__)

Sample = tuple[tuple[str, ...], float]  # the values of the labels, and the value

UP: Final = "cf_images_up"
_UP_HELP: Final = "1 if the figures could be read from the database, else 0 and no other metric."
_API, _BATCH = "api", "batch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A metric, and how it follows from the figures. The name of a counter is without ``_total``."""

    name: str
    help: str
    labels: tuple[str, ...] = ()
    is_counter: bool = False
    samples: Callable[[Figures], Iterable[Sample]]

    def family(self, found: Figures | None = None) -> Family:
        """Return the metric with its samples; without figures, only its description."""
        kind = CounterMetricFamily if self.is_counter else GaugeMetricFamily
        family = kind(self.name, self.help, labels=self.labels)
        for labels, value in self.samples(found) if found else ():
            family.add_metric(labels, value)
        return family


class CloudflareImagesCollector(Collector):
    """Reads the figures at each scrape; ``cf_images_up`` is 0 where the database cannot be read."""

    def __init__(self) -> None:
        self._is_failing = False

    def describe(self) -> Iterator[Family]:
        """Yield every metric without samples: registering must not query."""
        yield GaugeMetricFamily(UP, _UP_HELP)
        for metric in METRICS:
            yield metric.family()

    def collect(self) -> Iterator[Family]:
        """Yield every metric; never raise, since a scrape is also that of all other collectors."""
        try:
            found = _read()
        except Exception as error:  # noqa: BLE001  # settings, routers and drivers raise anything
            self._log(error)
            yield GaugeMetricFamily(UP, _UP_HELP, value=0)
            return
        if self._is_failing:
            self._is_failing = False
            logger.warning("The figures can be read again.")
        yield GaugeMetricFamily(UP, _UP_HELP, value=1)
        for metric in METRICS:
            yield metric.family(found)

    def _log(self, error: Exception) -> None:
        """Log the first failure of several: there is a scrape every few seconds."""
        is_safe = isinstance(error, ImproperlyConfigured | SynchronousOnlyOperation)
        reason = str(error) if is_safe else wording.failure(error)
        level = logging.DEBUG if self._is_failing else logging.WARNING
        self._is_failing = True
        logger.log(level, "The figures of Cloudflare Images cannot be read: %s", reason)


def _read() -> Figures:
    """Read the figures, and leave the connection as it was: a scrape may have a thread of its own."""
    database_connections.close_broken()
    connection = connections[database()]
    was_open = connection.connection is not None
    try:
        with savepoint(), tables.required():
            return figures()
    finally:
        if not was_open:
            connection.close()


def _single(value: Callable[[Figures], float]) -> Callable[[Figures], Iterable[Sample]]:
    return lambda found: [((), value(found))]


def _age(since: datetime | None) -> float:
    return max(0.0, (timezone.now() - since).total_seconds()) if since else 0.0


def _seconds(length: timedelta | None) -> float:
    return max(0.0, length.total_seconds()) if length else 0.0


def _timestamp(moment: datetime | None) -> float:
    return moment.timestamp() if moment else 0.0


def _host(is_batch: bool) -> str:
    return _BATCH if is_batch else _API


def _uploads(found: Figures) -> Iterator[Sample]:
    for (account, state), count in found.uploads.items():
        yield (account, state.value), count


def _oldest_pending(found: Figures) -> Iterator[Sample]:
    for account, moment in found.oldest_pending_at.items():
        yield (account,), _age(moment)


def _reservations(found: Figures) -> Iterator[Sample]:
    for (account, state), count in found.reservations.items():
        yield (account, state.value), count


def _transfers(found: Figures) -> Iterator[Sample]:
    for state, count in found.transfers.items():
        yield (state.value,), count


def _paused(found: Figures) -> Iterator[Sample]:
    for host in found.hosts:
        for reason in PAUSE_REASONS:
            yield (host.account, _host(host.is_batch), reason), float(host.pause == reason)


def _paused_for(found: Figures) -> Iterator[Sample]:
    for host in found.hosts:
        yield (host.account, _host(host.is_batch)), _age(host.paused_since)


def _pace(found: Figures) -> Iterator[Sample]:
    for host in found.hosts:
        for source, rate in (("configured", host.configured), ("learned", host.learned)):
            if rate is not None:
                yield (host.account, _host(host.is_batch), source), rate


def _requests(found: Figures) -> Iterator[Sample]:
    for host in found.hosts:
        yield (host.account, _host(host.is_batch)), host.passed


METRICS: Final = (
    Metric(
        name="cf_images_uploads",
        help="Background uploads and deletions that are not finished.",
        labels=("account", "state"),
        samples=_uploads,
    ),
    Metric(
        name="cf_images_stored_uploads",
        help="Rows of stored images; manage.py cf_images prune deletes old ones.",
        samples=_single(lambda found: found.status.stored),
    ),
    Metric(
        name="cf_images_oldest_pending_age_seconds",
        help="Age of the image that has been pending for longest; 0 for none.",
        labels=("account",),
        samples=_oldest_pending,
    ),
    Metric(
        name="cf_images_oldest_due_age_seconds",
        help="For how long work has been due that is not done, without paused accounts; 0 for none.",
        samples=_single(lambda found: _age(found.status.oldest_due_at)),
    ),
    Metric(
        name="cf_images_idle_seconds",
        help="For how long work has been due while no worker was active; 0 for none.",
        samples=_single(lambda found: _seconds(found.status.idle)),
    ),
    Metric(
        name="cf_images_unprocessable_storages",
        help="Storages with images that no worker with these settings can process.",
        samples=_single(lambda found: len(found.status.unprocessable_problems())),
    ),
    Metric(
        name="cf_images_paused",
        help="1 while the account is paused for this reason, else 0.",
        labels=("account", "host", "reason"),
        samples=_paused,
    ),
    Metric(
        name="cf_images_paused_seconds",
        help="For how long the account has been paused; 0 where it is not.",
        labels=("account", "host"),
        samples=_paused_for,
    ),
    Metric(
        name="cf_images_pace_requests_per_second",
        help="The most requests that workers send: as configured, and as learned from responses.",
        labels=("account", "host", "source"),
        samples=_pace,
    ),
    Metric(
        name="cf_images_background_requests",
        help="Requests of workers that Cloudflare has not limited.",
        labels=("account", "host"),
        is_counter=True,
        samples=_requests,
    ),
    Metric(
        name="cf_images_workers",
        help="Processes of workers that were seen in the last minute.",
        samples=_single(lambda found: found.workers),
    ),
    Metric(
        name="cf_images_worker_threads",
        help="Threads of these processes.",
        samples=_single(lambda found: found.threads),
    ),
    Metric(
        name="cf_images_last_heartbeat_timestamp_seconds",
        help="When a worker was last seen, with work or without; 0 for never.",
        samples=_single(lambda found: _timestamp(found.last_heartbeat_at)),
    ),
    Metric(
        name="cf_images_last_processed_timestamp_seconds",
        help="When a worker last looked for work or did some; 0 for never.",
        samples=_single(lambda found: _timestamp(found.status.last_processed_at)),
    ),
    Metric(
        name="cf_images_reservations",
        help="Uploads from browsers that no form has saved.",
        labels=("account", "state"),
        samples=_reservations,
    ),
    Metric(
        name="cf_images_transfers",
        help="Files that are copied between storages: the ledger.",
        labels=("state",),
        samples=_transfers,
    ),
)
