"""Take rows that are due, try each once, and write down what came of it."""

from __future__ import annotations

import logging
import time
from datetime import timedelta

from django.core.exceptions import ImproperlyConfigured

from cf_images.background import bell, doomed, gate, local, private, public, settling, timing
from cf_images.background.claims import Claim, LeaseLostError, candidates, claim
from cf_images.background.dimensions import learned
from cf_images.background.targets import Target, targets
from cf_images.exceptions import (
    CloudflareImagesError,
    CloudflareUnavailableError,
    CredentialsRefusedError,
    ImageRejectedError,
    RateLimitedError,
)
from cf_images.models import State

logger = logging.getLogger("cf_images.background")


def deliver(hint: int | None = None) -> int:
    """Work on the row ``hint`` if it is due, then on others: up to ten rows or five seconds.

    Returns the number of rows tried. Rings for somebody else when it stops with more to do.
    """
    done, began = 0, time.monotonic()
    if hint is not None and deliver_one(hint):
        done += 1
    while done < timing.MOST_ROWS and time.monotonic() - began < timing.LONGEST_RUN:
        if not deliver_one():
            return done
        done += 1
    if not bell.rings_inline():
        bell.ring()
    return done


def deliver_one(hint: int | None = None) -> bool:
    """Try one row that is due (that of ``hint``); ``False`` when there is none, or none may be tried now."""
    usable = targets()
    shut = gate.shut_accounts()
    open_aliases = [alias for alias, target in usable.items() if target.account_id not in shut]
    passages: dict[str, gate.Passage | None] = {}
    for row in candidates(open_aliases, hint):
        target = usable[row.storage]
        account = target.account_id
        if account not in passages:
            passages[account] = gate.passage(account)
        passage = passages[account]
        if passage and (taken := claim(row.pk)):
            _try(taken, target, passage)
            return True
    return False


def _try(taken: Claim, target: Target, passage: gate.Passage) -> None:
    try:
        _try_or_put_off(taken, target, passage)
    except LeaseLostError:
        logger.info("Another worker has taken over %s.", taken.upload.name)


def _try_or_put_off(taken: Claim, target: Target, passage: gate.Passage) -> None:
    try:
        if target.is_cloudflare:
            _try_cloudflare(taken, target, passage)
        else:
            local.work(taken, target.storage)
    except LeaseLostError:
        raise
    except Exception as error:
        # A row that nobody foresaw must neither come back at once nor keep the others waiting. First the
        # row: where the lease is lost, as the bytes are that another worker has delivered, nothing is wrong.
        settling.later(taken, error)
        logger.exception("Unexpected, the image is tried again later: %s", taken.upload.name)


def _try_cloudflare(taken: Claim, target: Target, passage: gate.Passage) -> None:
    """One attempt, and what its answer means for the row and for the gate."""
    try:
        _attempt(taken, target)
    except RateLimitedError as error:
        gate.rate_limited(passage, retry_after=error.retry_after)
        settling.postponed(taken, error)
    except (CredentialsRefusedError, ImproperlyConfigured) as error:
        gate.refused(passage, _reason(error))
        settling.postponed(taken, error)
    except CloudflareUnavailableError as error:
        gate.unclear(passage, _reason(error))
        settling.later(taken, error, at_least=_shortest_pause(taken))
    except CloudflareImagesError as error:
        gate.answered(passage)
        settle = settling.rejected if _is_final(error) else settling.refused
        settle(taken, error)
    else:
        gate.answered(passage)


def _attempt(taken: Claim, target: Target) -> None:
    row = taken.upload
    # The lease must outlast the request, whatever the settings give a visitor's.
    client = target.storage.make_client(  # type: ignore[attr-defined]  # is_cloudflare
        retry=False, longest=timing.REQUEST
    )
    if row.state == State.DOOMED:
        if doomed.delete(taken, client):
            settling.gone(taken)
        return
    image = (private if row.require_signed_urls else public).upload(taken, client)
    settling.stored(taken, remote_id=image.id, **learned(taken, client, image.id))


def _is_final(error: CloudflareImagesError) -> bool:
    # Outages have been seen with HTTP 415; without Cloudflare's code it proves nothing about the image.
    return isinstance(error, ImageRejectedError) and (error.code is not None or error.status != 415)


def _shortest_pause(taken: Claim) -> timedelta:
    row = taken.upload
    nameless = row.require_signed_urls and row.source_url
    return timing.FETCHED_BY_CLOUDFLARE if nameless else timedelta(0)


def _reason(error: Exception) -> str:
    if isinstance(error, CloudflareImagesError) and error.code:
        return f"{error.message} ({error.code})"
    return error.message if isinstance(error, CloudflareImagesError) else str(error)
