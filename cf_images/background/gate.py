"""One gate per account, shared by all workers: shut when Cloudflare refuses or does not answer.

Open, it costs one query a row. When the time it is shut for is over, one worker at a time goes through as
a probe; what the probe learns opens the gate or shuts it again.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta

from django.db.models import F, QuerySet
from django.utils import timezone

from cf_images.background import timing
from cf_images.background.database import gates
from cf_images.models import MAX_ERROR_LENGTH, Gate

logger = logging.getLogger("cf_images.background")


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """The permission to make a request for an account; ``probe``: to find out whether the gate can open."""

    account_id: str
    probe: bool = False


def shut_accounts() -> set[str]:
    """The accounts whose rows nobody needs to look at now."""
    now = timezone.now()
    shut = gates().filter(closed_until__gt=now, closed_until__lte=now + timing.GATE_LONGEST_RETRY_AFTER)
    return set(shut.values_list("account_id", flat=True))


def passage(account_id: str) -> Passage | None:
    """The permission to go through now; for a single worker when the gate has been shut long enough."""
    gate = gates().filter(pk=account_id).first()
    if gate is None or gate.closed_until is None:  # also where there is no account: local files
        return Passage(account_id=account_id)
    now = timezone.now()
    if now < gate.closed_until <= now + timing.GATE_LONGEST_RETRY_AFTER:  # later: the clock was set back
        return None
    # A probe that is never heard of again (its worker was killed) must not keep the gate shut for good.
    unchanged = gates().filter(pk=account_id, closed_until=gate.closed_until)
    if not unchanged.update(closed_until=now + timing.LEASE):
        return None
    return Passage(account_id=account_id, probe=True)


def answered(passage: Passage) -> None:
    """Cloudflare has answered, whatever it was. Only a probe opens the gate: others went through before."""
    gate = gates().filter(pk=passage.account_id)
    if passage.probe:
        gate.update(closed_until=None, failures=0, reason="")
    elif gate.filter(failures__gt=0).exists():
        gate.filter(closed_until=None).update(failures=0)


def rate_limited(passage: Passage, *, retry_after: float | None) -> None:
    """Cloudflare asks for a pause."""
    wait = timing.GATE_RATE_LIMITED if retry_after is None else timedelta(seconds=retry_after)
    wait = max(timing.GATE_SHORTEST_RETRY_AFTER, min(wait, timing.GATE_LONGEST_RETRY_AFTER))
    _shut(passage, wait, "Cloudflare asks to wait: too many requests")


def refused(passage: Passage, reason: str) -> None:
    """Cloudflare refuses our credentials: nothing is wrong with the images."""
    if _shut(passage, timing.GATE_REFUSED, reason):
        logger.error("Cloudflare refuses this site; images wait until that is mended. %s", reason)


def unclear(passage: Passage, reason: str) -> None:
    """No answer, or an unclear one; five in a row shut the gate, each probe that fails for longer."""
    gate = _row(passage)
    if not passage.probe and not gate.filter(closed_until=None).exists():
        return  # one of those that went through before: the gate knows already
    gate.update(failures=F("failures") + 1)
    failures = gate.values_list("failures", flat=True).get()
    if failures >= timing.GATE_FAILURES or passage.probe:
        doubled = timing.GATE_UNCLEAR * 2 ** min(max(failures - timing.GATE_FAILURES, 0), 10)
        _shut(passage, min(doubled, timing.GATE_LONGEST_UNCLEAR), reason)


def _shut(passage: Passage, wait: timedelta, reason: str) -> bool:
    """Shut the gate; whether it was open before, or shut for another reason."""
    gate = _row(passage)
    reason = reason[:MAX_ERROR_LENGTH]
    changed = gate.exclude(reason=reason).update(reason=reason)
    gate.update(closed_until=timezone.now() + wait)
    return bool(changed)


def _row(passage: Passage) -> QuerySet[Gate]:
    gates().get_or_create(pk=passage.account_id)
    return gates().filter(pk=passage.account_id)
