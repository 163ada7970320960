"""One attempt at a row that a worker has claimed, and what follows from its result."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.utils import timezone

from cf_images.accounts import Account
from cf_images.background import circuit_breaker, copying, operations, outcomes, places, reserved, timing
from cf_images.background.circuit_breaker import Admission
from cf_images.background.database_connections import write_down
from cf_images.background.destinations import Destination
from cf_images.background.fetch import FetchError
from cf_images.background.leases import Claim, LeaseLostError
from cf_images.background.outcomes import Stored
from cf_images.background.pace import Ticket, pace_of
from cf_images.client import CloudflareImagesClient
from cf_images.exceptions import (
    CloudflareImagesError,
    CloudflareUnavailableError,
    CredentialsRefusedError,
    ImageRejectedError,
    RateLimitedError,
)
from cf_images.models import Reservation, State, Transfer, Upload

logger = logging.getLogger("cf_images.background")

Attempt = Callable[[CloudflareImagesClient], Stored | None]


def attempt(claimed: Claim[Any], destination: Destination, admission: Admission) -> Stored | bool:
    """Make one attempt. Return what is to be written for a stored image, otherwise whether all went well."""
    try:
        return _attempt_or_retry_later(claimed, destination, admission)
    except LeaseLostError:
        logger.info("Another worker has taken over %s.", claimed.row)
        return False


def _attempt_or_retry_later(
    claimed: Claim[Any], destination: Destination, admission: Admission
) -> Stored | bool:
    try:
        if isinstance(claimed.row, Transfer):
            return _transfer(claimed, destination, admission)
        if isinstance(claimed.row, Reservation):
            return _reservation(claimed, destination, admission)
        if destination.accounts:
            return _at_cloudflare(claimed, destination, admission, partial(_upload, claimed))
        return _locally(claimed, destination)
    except LeaseLostError:
        raise
    except Exception as error:
        # An unforeseen failure must neither come back at once nor keep the other rows from being processed.
        # First the row: where the lease is lost (another worker has stored the image), nothing is wrong.
        write_down(partial(outcomes.retry_later, claimed, error))
        logger.exception("Unexpected error; the image is tried again later: %s", claimed.row)
        return False


# At Cloudflare


def _at_cloudflare(
    claimed: Claim[Any], destination: Destination, admission: Admission, attempt: Attempt
) -> Stored | bool:
    """Apply the result of an attempt to the row and to the circuit breaker."""
    pace, account = pace_of(admission.account_key), destination.account_for(claimed.row.storage)
    try:
        with destination.slots:
            stored = attempt(_client(account, destination, claimed))
    except RateLimitedError as error:
        wait = circuit_breaker.rate_limited(admission, retry_after=error.retry_after)
        pace.limited(pause=wait.total_seconds())
        outcomes.retry_when_resumed(claimed, error)
    except (CredentialsRefusedError, ImproperlyConfigured) as error:
        if destination.is_batch and account.forget_batch_token():  # it may have expired
            circuit_breaker.unused(admission)
        else:
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
        if stored and admission.probe:
            outcomes.stored(stored)  # first: the log of the resumption counts it
            stored = None
        circuit_breaker.responded(admission)
        return stored or True
    return False


def _client(account: Account, destination: Destination, claimed: Claim[Any]) -> CloudflareImagesClient:
    # The lease must outlast the request, whatever timeout the settings give to visitors.
    pace = Ticket(pace_of(destination.account_key), claimed.renew)
    if destination.is_batch:
        return account.batch_client(max_timeout=timing.REQUEST_SECONDS, pace=pace)
    return account.client(retry=False, max_timeout=timing.REQUEST_SECONDS, pace=pace)


def _upload(claimed: Claim[Upload], client: CloudflareImagesClient) -> Stored | None:
    row = claimed.row
    if row.state == State.DELETING:
        _delete(claimed, client)
        return None
    image = operations.upload(claimed, client, operations.Sending.of(row))
    columns = operations.missing_columns(claimed, client, image.id)
    return Stored(claimed, remote_id=image.id, columns=columns)


def _delete(claimed: Claim[Any], client: CloudflareImagesClient) -> None:
    _deleted_or_once_more(claimed, operations.delete(claimed, client))


def _deleted_or_once_more(claimed: Claim[Any], once_more_at: datetime | None) -> None:
    if once_more_at is None:
        outcomes.deleted(claimed)
    else:
        outcomes.delete_once_more(claimed, at=once_more_at)


# Transfers


def _transfer(claimed: Claim[Transfer], destination: Destination, admission: Admission) -> Stored | bool:
    """Do first what needs no request: a file that cannot be read says nothing about the account."""
    row = claimed.row
    try:
        if (target := places.account_of(row.storage)) is not None:
            return _to_cloudflare(claimed, destination, admission, target)
        if row.state == State.DELETING:
            copying.delete_file(row)
            outcomes.deleted(claimed)
            circuit_breaker.unused(admission)
            return True
        if places.account_of(row.source) is not None:
            return _at_cloudflare(claimed, destination, admission, partial(copying.fetch, claimed))
        return copying.copy_file(claimed)
    except ImageRejectedError as error:
        outcomes.rejected(claimed, error)
    except copying.TransferError as error:
        outcomes.unknown_error(claimed, error)
    except ImproperlyConfigured as error:  # another worker may have the storages
        outcomes.retry_later(claimed, error)
    circuit_breaker.unused(admission)
    return False


def _to_cloudflare(
    claimed: Claim[Transfer], destination: Destination, admission: Admission, target: Account
) -> Stored | bool:
    if claimed.row.state == State.DELETING:

        def delete(client: CloudflareImagesClient) -> None:
            _delete(claimed, client)

        return _at_cloudflare(claimed, destination, admission, delete)
    with copying.prepared(claimed.row) as source:
        claimed.renew()

        def send(client: CloudflareImagesClient) -> Stored:
            return copying.send(claimed, client, source, target)

        return _at_cloudflare(claimed, destination, admission, send)


# Uploads from browsers that were never saved


def _reservation(
    claimed: Claim[Reservation], destination: Destination, admission: Admission
) -> Stored | bool:
    if not reserved.begin_deletion(claimed):
        circuit_breaker.unused(admission)
        return True
    if destination.accounts:
        return _at_cloudflare(claimed, destination, admission, partial(_delete_reserved, claimed))
    destination.storages[claimed.row.storage].delete(claimed.row.remote_id)
    _deleted_or_once_more(claimed, reserved.once_more_at(claimed.row))
    return True


def _delete_reserved(claimed: Claim[Reservation], client: CloudflareImagesClient) -> None:
    _deleted_or_once_more(claimed, reserved.delete(claimed, client))


# Local files


def _locally(claimed: Claim[Upload], destination: Destination) -> Stored | bool:
    row = claimed.row
    storage = destination.storages[row.storage]
    if row.state == State.DELETING:
        storage.delete(row.name)
        outcomes.deleted(claimed)
        return True
    try:
        info = operations.fetch_for_local_files(claimed, storage)
    except FetchError as error:
        outcomes.retry_later(claimed, error)
    except ImageRejectedError as error:
        outcomes.rejected(claimed, error)
    else:
        return Stored(claimed, remote_id=row.name, columns=operations.columns_of(info))
    return False


# What an error means


def _is_final(error: CloudflareImagesError) -> bool:
    # Outages have been seen with HTTP 415; without Cloudflare's code it proves nothing about the image.
    return isinstance(error, ImageRejectedError) and (error.code is not None or error.status != 415)


def _min_pause(claimed: Claim[Any]) -> timedelta:
    row = claimed.row
    if isinstance(row, Upload) and row.fetching_since and operations.may_be_fetching(row):
        return row.fetching_since + timing.FETCHED_BY_CLOUDFLARE - timezone.now()
    return timing.SECOND_LOOK if row.missing_at else timedelta(0)


def _reason(error: Exception) -> str:
    if isinstance(error, CloudflareImagesError) and error.code:
        return f"{error.message} ({error.code})"
    return error.message if isinstance(error, CloudflareImagesError) else str(error)
