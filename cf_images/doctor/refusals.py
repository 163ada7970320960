"""What went wrong while something was examined, as a finding: in words, never a traceback."""

from __future__ import annotations

import os
import re
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError

from cf_images import conf
from cf_images.doctor.findings import Finding, failure
from cf_images.exceptions import (
    CloudflareImagesError,
    CloudflareUnavailableError,
    CredentialsRefusedError,
    RateLimitedError,
)

UNREACHABLE = "unreachable"  # no answer at all
CLOUDFLARE = "cloudflare"  # an answer, but Cloudflare fails or asks to wait
ACCOUNT, TOKEN, SUBSCRIPTION = "account", "token", "subscription"  # what a finding is about

_CREDENTIALS = "dashboard: My Profile, API tokens; permission Cloudflare Images: Edit, for this very account"
_SUBSCRIPTION_CODES = (5403, 5453)
_TOKEN_CODES = (6003, 6111, 9109)
# What Python and OpenSSL say, and what to do about it.
_REASONS = {
    r"proxy": "Check the proxy's address in the environment, and that it lets requests to this host pass.",
    r"name or service|name resolution|getaddrinfo|nodename|no address associated": (
        "The host's name is not found: check DNS on this machine, and api_url."
    ),
    r"certificate|ssl|tls|wrong version number": (
        "TLS fails: check this machine's clock and CA certificates (SSL_CERT_FILE), and whether something "
        "between here and Cloudflare opens TLS."
    ),
    r"refused": "Nothing listens there: check api_url and delivery_url, and that a firewall lets HTTPS out.",
    r"no complete answer": "The packets get lost, or the network is slow: check firewall and routes.",
}
_PROXIES = ("http_proxy", "https_proxy", "all_proxy")  # what httpx obeys
_OTHERWISE = "Check that this machine reaches the internet by HTTPS."


def guarded(name: str, examine: Callable[[], Iterable[Finding]]) -> list[Finding]:
    """All findings of an examination; one that breaks is a finding itself, after those that came before."""
    found: list[Finding] = []
    try:
        for finding in examine():
            found.append(finding)  # noqa: PERF402  # keeps what came before an error
    except CloudflareImagesError as error:
        found.append(refusal(name, error))
    except ImproperlyConfigured as error:
        found.append(failure(name, str(error), remedy="Correct it in the settings."))
    except DatabaseError as error:
        remedy = "Check DATABASES, and run manage.py migrate."
        found.append(failure(name, f"The database does not answer: {_line(error)}", remedy=remedy))
    except (Exception, SystemExit) as error:  # noqa: BLE001  # huey exits; a defect must not hide the rest
        found.append(_broken(name, error))
    return found


def refusal(name: str, error: CloudflareImagesError) -> Finding:
    """What Cloudflare, or the network, has against us; of the examination ``name`` if of nothing else."""
    if isinstance(error, RateLimitedError):
        remedy = "Wait some minutes: 1,200 requests in five minutes are allowed to all tokens of a user."
        return failure(CLOUDFLARE, f"Cloudflare asks to wait: {error}", remedy=remedy)
    if isinstance(error, CloudflareUnavailableError):
        return unavailable(error)
    if isinstance(error, CredentialsRefusedError):
        return _refused(error)
    return failure(name, f"Cloudflare refuses: {error}", remedy="Check api_url and the account ID.")


def unavailable(error: CloudflareUnavailableError) -> Finding:
    """No answer, or none that helps."""
    if error.status is None:
        return failure(UNREACHABLE, str(error), remedy=network_remedy(error.message))
    remedy = "Wait, and look at https://www.cloudflarestatus.com; if it goes on, check api_url and proxies."
    return failure(CLOUDFLARE, f"Cloudflare answers, but fails: {error}", remedy=remedy)


def not_permitted(error: CredentialsRefusedError) -> Finding:
    """The same of a token that was good for something else just before."""
    if error.code in (*_SUBSCRIPTION_CODES, 7003):
        return _refused(error)
    return failure(
        TOKEN,
        f"The token is valid, but may not edit images: {error}",
        remedy=f"Give it the right permission ({_CREDENTIALS}).",
    )


def _refused(error: CredentialsRefusedError) -> Finding:
    if error.code in _SUBSCRIPTION_CODES:
        return failure(
            SUBSCRIPTION,
            f"The account has no subscription of Cloudflare Images, or has used all of it: {error}",
            remedy="Buy or extend it (dashboard: Images, Plans), and check that the account ID is its own.",
        )
    if error.code == 7003:
        return failure(
            ACCOUNT,
            f"Cloudflare knows no such account: {error}",
            remedy=f"Correct the account ID: {conf.remedy('account_id')}.",
        )
    if error.status == 403 and error.code not in _TOKEN_CODES:
        return failure(
            TOKEN,
            f"Cloudflare does not let the token into this account: {error}",
            remedy=f"Check the account ID, and that the token is whole and not revoked ({_CREDENTIALS}).",
        )
    return failure(
        TOKEN,
        f"Cloudflare does not accept the token: {error}",
        remedy=f"Copy it again, or make a new one if it was revoked or is over ({_CREDENTIALS}); "
        f"then {conf.remedy('api_token')}.",
    )


def network_remedy(reason: str) -> str:
    """What to do where no answer came, for this ``reason``."""
    remedies = (remedy for pattern, remedy in _REASONS.items() if re.search(pattern, reason, re.IGNORECASE))
    remedy = next(remedies, _OTHERWISE)
    proxies = [name for name in os.environ if name.lower() in _PROXIES]
    if not proxies:
        return remedy
    return f"{remedy} Requests go through the proxy in {', '.join(proxies)}."  # not its value


def _broken(name: str, error: BaseException) -> Finding:
    """By its kind and place alone: what an unknown error says may contain anything."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" in {Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else ""
    return failure(
        name,
        f"This examination broke with {type(error).__name__}{place}.",
        remedy="Nothing is known about this topic; please report it. All other findings are good.",
    )


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
