"""Claim rows that are due, try each once, and write down the outcome."""

from __future__ import annotations

import logging
import math
import random
import time
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.core.exceptions import ImproperlyConfigured
from django.utils import timezone

from cf_images.accounts import Account
from cf_images.background import circuit_breaker, heartbeat, operations, outcomes, timing
from cf_images.background.circuit_breaker import Admission
from cf_images.background.destinations import Destination, destinations, report_unprocessable
from cf_images.background.fetch import FetchError
from cf_images.background.leases import Claim, LeaseLostError, claim, due, fix_wrong_times, next_candidate
from cf_images.background.pace import Ticket, pace_of
from cf_images.exceptions import (
    CloudflareImagesError,
    CloudflareUnavailableError,
    CredentialsRefusedError,
    ImageRejectedError,
    RateLimitedError,
)
from cf_images.models import State

logger = logging.getLogger("cf_images.background")

_ROWS_FOR_ONE = 2  # more rows than this are worth another worker


@dataclass(frozen=True, slots=True, kw_only=True)
class Processed:
    """The number of rows that were tried, whether more are due now, and when the next one is due."""

    rows: int
    more_due: bool
    next_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tried:
    """Whether a row was tried; if not, the seconds until a slot of the pace, if rows are due."""

    is_done: bool
    wait: float = 0.0


def process(hint: int | None = None) -> Processed:
    """Process the row ``hint`` if it is due, then others, for a few seconds.

    The caller notifies the queue where more is due.
    """
    rows, ends_at = 0, time.monotonic() + timing.MAX_RUN_SECONDS
    if hint is not None and process_one(hint):
        rows += 1
    while (left := ends_at - time.monotonic()) > 0:
        tried = _process_one(None, max_wait=left)
        if tried.is_done:
            rows += 1
        elif 0 < tried.wait <= left:
            time.sleep(tried.wait)  # a pause, or a retry that is due in a moment
        else:
            next_at = timezone.now() + timedelta(seconds=tried.wait) if tried.wait else next_due()
            return Processed(rows=rows, more_due=False, next_at=next_at)
    return Processed(rows=rows, more_due=True)


def process_one(hint: int | None = None) -> bool:
    """Try one row that is due (that of ``hint``); return ``False`` when there is none, or its account is
    paused.
    """
    return _process_one(hint, max_wait=math.inf).is_done


def next_due() -> datetime | None:
    """Return when the next row is due, or its account is not paused any more; ``None`` for no row."""
    paused, moments = _pauses(), []
    for destination in destinations():
        rows = destination.rows().order_by("next_attempt_at")
        if first := rows.values_list("next_attempt_at", flat=True).first():
            moments.append(max(first, paused.get(destination.account_key, first)))
    return min(moments, default=None)


def has_work_for_others() -> bool:
    """Return whether more rows are due than one worker takes at a time."""
    paused = _pauses()
    for destination in destinations():
        if destination.account_key not in paused:
            rows = due(destination).values_list("pk", flat=True)
            if len(rows[: _ROWS_FOR_ONE + 1]) > _ROWS_FOR_ONE:
                return True
    return False


def sweep() -> datetime | None:
    """Repair what a fault may have left, once a minute, and return ``next_due()``."""
    fix_wrong_times()
    report_unprocessable()
    heartbeat.forget_dead()
    return next_due()


def _pauses() -> dict[str, datetime]:
    return circuit_breaker.pauses({found.account_key: found.token_digest for found in destinations()})


def _process_one(hint: int | None, *, max_wait: float) -> _Tried:
    heartbeat.worked()
    usable = destinations()
    random.shuffle(usable)  # a large backlog of one account must not hold up another
    waits = []
    for destination in usable:
        tried = _process_one_of(destination, hint, max_wait=max_wait)
        if tried.is_done:
            return tried
        waits.append(tried.wait)
    return _Tried(is_done=False, wait=min(filter(None, waits), default=0.0))


def _process_one_of(destination: Destination, hint: int | None, *, max_wait: float) -> _Tried:
    pk = next_candidate(destination, hint)
    if pk is None:
        return _Tried(is_done=False)
    admission = circuit_breaker.admit(destination.account_key, destination.token_digest)
    if admission is None:
        return _Tried(is_done=False, wait=_pause_of(destination))
    is_paced = destination.accounts and not admission.probe
    if is_paced and (wait := pace_of(destination.account_key).acquire(max_wait=max_wait)):
        return _Tried(is_done=False, wait=wait)
    while pk is not None:
        if claimed := claim(pk):
            _try(claimed, destination, admission)
            return _Tried(is_done=True)
        pk = next_candidate(destination) if hint is None else None
    circuit_breaker.unused(admission)
    return _Tried(is_done=False)


def _pause_of(destination: Destination) -> float:
    """Return the seconds until the account is not paused any more."""
    paused = circuit_breaker.pauses({destination.account_key: destination.token_digest})
    until = paused.get(destination.account_key)
    return (until - timezone.now()).total_seconds() if until else 0.0


def _try(claimed: Claim, destination: Destination, admission: Admission) -> None:
    try:
        _try_or_retry_later(claimed, destination, admission)
    except LeaseLostError:
        logger.info("Another worker has taken over %s.", claimed.upload.name)


def _try_or_retry_later(claimed: Claim, destination: Destination, admission: Admission) -> None:
    try:
        if destination.accounts:
            _try_at_cloudflare(claimed, destination.account_for(claimed.upload.storage), admission)
        else:
            _try_locally(claimed, destination)
    except LeaseLostError:
        raise
    except Exception as error:
        # An unforeseen failure must neither come back at once nor keep the other rows from being processed.
        # First the row: where the lease is lost (another worker has stored the image), nothing is wrong.
        outcomes.retry_later(claimed, error)
        logger.exception("Unexpected error; the image is tried again later: %s", claimed.upload.name)


def _try_at_cloudflare(claimed: Claim, account: Account, admission: Admission) -> None:
    """Make one attempt, and apply its result to the row and to the circuit breaker."""
    pace = pace_of(admission.account_key)
    try:
        _attempt(claimed, account)
    except RateLimitedError as error:
        wait = circuit_breaker.rate_limited(admission, retry_after=error.retry_after)
        pace.limited(pause=wait.total_seconds())
        outcomes.retry_when_resumed(claimed, error)
    except (CredentialsRefusedError, ImproperlyConfigured) as error:
        circuit_breaker.credentials_refused(admission, _reason(error))
        outcomes.retry_when_resumed(claimed, error)
    except operations.NotYetError as error:
        pace.passed()
        circuit_breaker.responded(admission)
        outcomes.retry_later(claimed, error, at_least=_min_pause(claimed))
    except CloudflareUnavailableError as error:
        circuit_breaker.failed(admission, _reason(error))
        outcomes.retry_later(claimed, error, at_least=_min_pause(claimed))
    except CloudflareImagesError as error:
        pace.passed()
        circuit_breaker.responded(admission)
        if _is_final(error):
            outcomes.rejected(claimed, error)
        else:
            outcomes.unknown_error(claimed, error)
    else:
        pace.passed()
        circuit_breaker.responded(admission)


def _attempt(claimed: Claim, account: Account) -> None:
    # The lease must outlast the request, whatever timeout the settings give to visitors.
    client = account.client(
        retry=False, max_timeout=timing.REQUEST_SECONDS, pace=Ticket(pace_of(account.key))
    )
    if claimed.upload.state == State.DELETING:
        once_more_at = operations.delete(claimed, client)
        if once_more_at is None:
            outcomes.deleted(claimed)
        else:
            outcomes.delete_once_more(claimed, at=once_more_at)
        return
    image = operations.upload(claimed, client)
    columns = operations.missing_columns(claimed, client, image.id)
    outcomes.stored(claimed, remote_id=image.id, **columns)


def _try_locally(claimed: Claim, destination: Destination) -> None:
    row = claimed.upload
    storage = destination.storages[row.storage]
    if row.state == State.DELETING:
        storage.delete(row.name)
        outcomes.deleted(claimed)
        return
    try:
        info = operations.fetch_for_local_files(claimed, storage)
    except FetchError as error:
        outcomes.retry_later(claimed, error)
    except ImageRejectedError as error:
        outcomes.rejected(claimed, error)
    else:
        outcomes.stored(claimed, remote_id=row.name, **operations.columns_of(info))


def _is_final(error: CloudflareImagesError) -> bool:
    # Outages have been seen with HTTP 415; without Cloudflare's code it proves nothing about the image.
    return isinstance(error, ImageRejectedError) and (error.code is not None or error.status != 415)


def _min_pause(claimed: Claim) -> timedelta:
    row = claimed.upload
    if row.fetching_since and operations.may_be_fetching(row):
        return row.fetching_since + timing.FETCHED_BY_CLOUDFLARE - timezone.now()
    return timing.SECOND_LOOK if row.missing_at else timedelta(0)


def _reason(error: Exception) -> str:
    if isinstance(error, CloudflareImagesError) and error.code:
        return f"{error.message} ({error.code})"
    return error.message if isinstance(error, CloudflareImagesError) else str(error)
