"""One circuit breaker per account, shared by all workers: it opens when Cloudflare refuses or does not
respond.

Closed, it costs a process two queries a second. Open, the account is paused until a moment. After a rate
limit, all workers go on then; after anything else a single one sends a probe, whose result closes the
breaker or pauses the account again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import F, QuerySet
from django.utils import timezone

from cf_images import conf
from cf_images.background import outages, timing
from cf_images.background.rows import breakers
from cf_images.models import MAX_ERROR_LENGTH, TOKEN_DIGEST_LENGTH, CircuitBreaker

# For so long a process takes a breaker for closed, as it was when it was read: another process may have
# opened it since.
_FRESH = timedelta(seconds=0.5)

RATE_LIMITED = "Cloudflare asks to wait: too many requests"


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """The right to send requests to an account; a ``probe`` finds out whether the breaker can close."""

    account_key: str
    token_digest: str = ""
    probe: bool = False


def pauses(token_digests: Mapping[str, str]) -> dict[str, datetime]:
    """Return the accounts that are paused now, and until when.

    Not those whose token was refused and is another one by now: ``token_digests`` has it by account.
    """
    now = timezone.now()
    paused = breakers().filter(paused_until__gt=now, paused_until__lte=now + timing.BREAKER_MAX_RETRY_AFTER)
    return {
        breaker.account_key: breaker.paused_until
        for breaker in paused
        if breaker.paused_until and not _has_another(breaker, token_digests.get(breaker.account_key))
    }


def admit(account_key: str, token_digest: str = "") -> Admission | None:
    """Admit a worker; when the pause is over, a single one. ``None`` while the account is paused."""
    admission = Admission(account_key=account_key, token_digest=token_digest)
    if _is_known_closed(account_key):
        return admission
    read_at = timezone.now()
    breaker = breakers().filter(pk=account_key).first()
    if breaker is None or breaker.paused_until is None:  # also where there is no account: local files
        if breaker is None or not breaker.failures:
            _closed()[account_key] = read_at
        return admission
    now = timezone.now()
    if _has_another(breaker, token_digest):
        # Not at once: a process that still has the refused token would try it again and again.
        if breaker.paused_until <= now + timing.BREAKER_CREDENTIALS - timing.BREAKER_OTHER_TOKEN:
            resume([account_key])
        return admission
    if now < breaker.paused_until <= now + timing.BREAKER_MAX_RETRY_AFTER:  # later: the clock was set back
        return None
    unchanged = breakers().filter(pk=account_key, paused_until=breaker.paused_until)
    if breaker.reason == RATE_LIMITED:
        outages.ended(unchanged)
        unchanged.update(paused_until=None, reason="", failures=0)
        return admission
    # A probe without a result (its worker was killed) must not pause the account for good.
    if not unchanged.update(paused_until=now + timing.LEASE):
        return None
    return Admission(account_key=account_key, token_digest=token_digest, probe=True)


def unused(admission: Admission) -> None:
    """Let another worker send the probe: this one has found nothing to send."""
    if admission.probe:
        breakers().filter(pk=admission.account_key).update(paused_until=timezone.now())


def resume(account_keys: Iterable[str]) -> int:
    """Close the breakers of these accounts; return how many were open."""
    account_keys = list(account_keys)
    for account_key in account_keys:
        outages.ended(breakers().filter(pk=account_key))
    open_breakers = breakers().filter(pk__in=account_keys).exclude(paused_until=None)
    return open_breakers.update(paused_until=None, failures=0, reason="", token_digest="")


def responded(admission: Admission) -> None:
    """Cloudflare has responded, whatever it said. Only a probe closes the breaker: others were admitted
    before.
    """
    if admission.probe:
        resume([admission.account_key])
        return
    if _is_known_closed(admission.account_key):
        return
    breaker = breakers().filter(pk=admission.account_key, failures__gt=0)
    if breaker.exists():
        breaker.filter(paused_until=None).update(failures=0)


def rate_limited(admission: Admission, *, retry_after: float | None) -> timedelta:
    """Cloudflare asks for a pause of ``retry_after`` seconds; return how long it is."""
    wait = timing.BREAKER_RATE_LIMITED if retry_after is None else timedelta(seconds=retry_after)
    wait = max(timing.BREAKER_MIN_RETRY_AFTER, min(wait, timing.BREAKER_MAX_RETRY_AFTER))
    _pause(admission, wait, RATE_LIMITED)
    return wait


def credentials_refused(admission: Admission, reason: str) -> None:
    """Cloudflare refuses the credentials; the images are not at fault. Another token is used at once."""
    known = breakers().filter(pk=admission.account_key, paused_until__gt=timezone.now())
    before = known.values_list("token_digest", flat=True).first() or ""
    # The last two: while tokens are changed, processes may have either of them.
    digests = dict.fromkeys([admission.token_digest, *_digests(before)])
    token_digest = "".join(list(digests)[:2])
    _pause(admission, timing.BREAKER_CREDENTIALS, reason, token_digest=token_digest, refused=True)


def failed(admission: Admission, reason: str) -> None:
    """No response, or an unclear one: several in a row pause the account, each failed probe for longer."""
    breaker = _row(admission)
    if not admission.probe and not breaker.filter(paused_until=None).exists():
        return  # admitted before the breaker opened, which it need not do again
    breaker.update(failures=F("failures") + 1)
    failures = breaker.values_list("failures", flat=True).get()
    if failures >= timing.BREAKER_FAILURES or admission.probe:
        doubled = timing.BREAKER_UNCLEAR * 2 ** min(max(failures - timing.BREAKER_FAILURES, 0), 10)
        _pause(admission, min(doubled, timing.BREAKER_MAX_UNCLEAR), reason)


def is_refused(breaker: CircuitBreaker, token_digest: str) -> bool:
    """Return whether this token was refused."""
    return token_digest in _digests(breaker.token_digest)


def _has_another(breaker: CircuitBreaker, token_digest: str | None) -> bool:
    """Return whether a token was refused, and ``token_digest`` is that of another one."""
    return bool(breaker.token_digest and token_digest) and not is_refused(breaker, token_digest or "")


def _digests(tokens: str) -> list[str]:
    """Return the digests that a column holds one behind the other."""
    return [
        tokens[start : start + TOKEN_DIGEST_LENGTH] for start in range(0, len(tokens), TOKEN_DIGEST_LENGTH)
    ]


def _pause(
    admission: Admission, wait: timedelta, reason: str, *, token_digest: str = "", refused: bool = False
) -> None:
    breaker = _row(admission)
    reason = reason[:MAX_ERROR_LENGTH]
    # In the same UPDATE as the reason, so that one worker logs it: a person has to correct the credentials.
    log_anew = {"logged_since": None} if refused else {}
    breaker.exclude(reason=reason).update(reason=reason, **log_anew)
    paused_until = timezone.now() + wait
    breaker.update(paused_until=paused_until, token_digest=token_digest)
    outages.goes_on(breaker, paused_until, reason, refused=refused)


def clear_cache() -> None:
    """Forget which breakers are closed."""
    _closed().clear()


@conf.cached
def _closed() -> dict[str, datetime]:
    """When the breaker of an account was read, closed and without failures."""
    return {}


def _is_known_closed(account_key: str) -> bool:
    read_at = _closed().get(account_key)
    return read_at is not None and abs(timezone.now() - read_at) < _FRESH


def _row(admission: Admission) -> QuerySet[CircuitBreaker]:
    """Return the row, which is about to change."""
    _closed().pop(admission.account_key, None)
    breakers().get_or_create(pk=admission.account_key)
    return breakers().filter(pk=admission.account_key)
