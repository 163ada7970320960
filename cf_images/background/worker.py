"""Claim rows that are due, try each once, and write down the outcome."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from datetime import timedelta

from django.core.exceptions import ImproperlyConfigured

from cf_images.accounts import Account
from cf_images.background import circuit_breaker, operations, outcomes, timing
from cf_images.background.circuit_breaker import Admission
from cf_images.background.destinations import Destination, destinations, report, unknown_storages
from cf_images.background.fetch import FetchError
from cf_images.background.leases import Claim, LeaseLostError, candidates, claim, due
from cf_images.exceptions import (
    CloudflareImagesError,
    CloudflareUnavailableError,
    CredentialsRefusedError,
    ImageRejectedError,
    RateLimitedError,
)
from cf_images.models import State

logger = logging.getLogger("cf_images.background")

_MAX_MESSAGES = 100  # a minute; a worker that stops with more to do sends another


@dataclass(frozen=True, slots=True, kw_only=True)
class Processed:
    """The number of rows that were tried, and whether more may be due."""

    rows: int
    more_due: bool


def process(hint: int | None = None) -> Processed:
    """Process the row ``hint`` if it is due, then others: up to ten rows or five seconds.

    The caller notifies the queue where more is due.
    """
    rows, began = 0, time.monotonic()
    if hint is not None and process_one(hint):
        rows += 1
    while rows < timing.MAX_ROWS and time.monotonic() - began < timing.MAX_RUN_SECONDS:
        if not process_one():
            return Processed(rows=rows, more_due=False)
        rows += 1
    return Processed(rows=rows, more_due=True)


def process_one(hint: int | None = None) -> bool:
    """Try one row that is due (that of ``hint``); return ``False`` when there is none, or its account is
    paused.
    """
    usable = destinations()
    paused = circuit_breaker.paused_accounts()
    open_aliases = [alias for alias, found in usable.items() if found.account_key not in paused]
    admissions: dict[str, Admission | None] = {}
    for row in candidates(open_aliases, hint):
        destination = usable[row.storage]
        key = destination.account_key
        if key not in admissions:
            admissions[key] = circuit_breaker.admit(key)
        admission = admissions[key]
        if admission and (claimed := claim(row.pk)):
            _try(claimed, destination, admission)
            return True
    return False


def messages_due() -> int:
    """Return how many messages the sweep sends: one for every ten rows that are due."""
    for alias in unknown_storages():
        report(alias, "it is not in STORAGES")
    rows = due()[: _MAX_MESSAGES * timing.MAX_ROWS].count()
    return -(-rows // timing.MAX_ROWS)


def _try(claimed: Claim, destination: Destination, admission: Admission) -> None:
    try:
        _try_or_retry_later(claimed, destination, admission)
    except LeaseLostError:
        logger.info("Another worker has taken over %s.", claimed.upload.name)


def _try_or_retry_later(claimed: Claim, destination: Destination, admission: Admission) -> None:
    try:
        if destination.account:
            _try_at_cloudflare(claimed, destination.account, admission)
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
    try:
        _attempt(claimed, account)
    except RateLimitedError as error:
        circuit_breaker.rate_limited(admission, retry_after=error.retry_after)
        outcomes.retry_when_resumed(claimed, error)
    except (CredentialsRefusedError, ImproperlyConfigured) as error:
        circuit_breaker.credentials_refused(admission, _reason(error))
        outcomes.retry_when_resumed(claimed, error)
    except CloudflareUnavailableError as error:
        circuit_breaker.failed(admission, _reason(error))
        outcomes.retry_later(claimed, error, at_least=_min_pause(claimed))
    except CloudflareImagesError as error:
        circuit_breaker.responded(admission)
        if _is_final(error):
            outcomes.rejected(claimed, error)
        else:
            outcomes.unknown_error(claimed, error)
    else:
        circuit_breaker.responded(admission)


def _attempt(claimed: Claim, account: Account) -> None:
    # The lease must outlast the request, whatever timeout the settings give to visitors.
    client = account.client(retry=False, max_timeout=timing.REQUEST_SECONDS)
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
    if row.state == State.DELETING:
        destination.storage.delete(row.name)
        outcomes.deleted(claimed)
        return
    try:
        info = operations.fetch_for_local_files(claimed, destination.storage)
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
    has_no_id = row.require_signed_urls and row.source_url
    return timing.FETCHED_BY_CLOUDFLARE if has_no_id else timedelta(0)


def _reason(error: Exception) -> str:
    if isinstance(error, CloudflareImagesError) and error.code:
        return f"{error.message} ({error.code})"
    return error.message if isinstance(error, CloudflareImagesError) else str(error)
