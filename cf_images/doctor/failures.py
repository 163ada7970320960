"""What went wrong during an examination, as a finding: in words, never a traceback."""

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

UNREACHABLE = "unreachable"  # no response at all
CLOUDFLARE = "cloudflare"  # a response, but Cloudflare fails or asks to wait
ACCOUNT, TOKEN, SUBSCRIPTION = "account", "token", "subscription"  # what a finding is about

_CREDENTIALS = "dashboard: My Profile, API tokens; permission Cloudflare Images: Edit, for this account"
_SUBSCRIPTION_CODES = (5403, 5453)
_TOKEN_CODES = (6003, 6111, 9109)
# What Python and OpenSSL say, and what to do about it.
_REASONS = {
    r"proxy": "Check the proxy's URL in the environment, and that it lets requests to this host pass.",
    r"name or service|name resolution|getaddrinfo|nodename|no address associated": (
        "The host's name is not found: check DNS on this machine, and api_url."
    ),
    r"certificate|ssl|tls|wrong version number": (
        "TLS fails: check this machine's clock and CA certificates (SSL_CERT_FILE), and whether something "
        "between here and Cloudflare opens TLS."
    ),
    r"refused": "Nothing listens there: check api_url and delivery_url, and the firewall's rules for HTTPS.",
    r"no complete response": "The packets get lost, or the network is slow: check firewall and routes.",
}
_PROXIES = ("http_proxy", "https_proxy", "all_proxy")  # the variables that the client reads
_OTHERWISE = "Check that this machine reaches the internet by HTTPS."


def guarded(name: str, examine: Callable[[], Iterable[Finding]]) -> list[Finding]:
    """Return all findings of an examination; if it fails, that is a finding after those that came before."""
    found: list[Finding] = []
    try:
        for finding in examine():
            found.append(finding)  # noqa: PERF402  # keeps what came before an error
    except CloudflareImagesError as error:
        found.append(failure_of(name, error))
    except ImproperlyConfigured as error:
        found.append(failure(name, str(error), hint="Correct it in the settings."))
    except DatabaseError as error:
        hint = "Check DATABASES, and run manage.py migrate."
        found.append(failure(name, f"The database does not respond: {_line(error)}", hint=hint))
    except (Exception, SystemExit) as error:  # noqa: BLE001  # huey exits; a defect must not hide the rest
        found.append(_broken(name, error))
    return found


def failure_of(name: str, error: CloudflareImagesError) -> Finding:
    """Return what Cloudflare, or the network, reports; under ``name`` if it concerns nothing else."""
    if isinstance(error, RateLimitedError):
        hint = "Wait some minutes: 1,200 requests in five minutes are allowed to all tokens of a user."
        return failure(CLOUDFLARE, f"Cloudflare asks to wait: {error}", hint=hint)
    if isinstance(error, CloudflareUnavailableError):
        return unavailable(error)
    if isinstance(error, CredentialsRefusedError):
        return _refused(error)
    return failure(name, f"Cloudflare refuses: {error}", hint="Check api_url and the account ID.")


def unavailable(error: CloudflareUnavailableError) -> Finding:
    """Return that there was no response, or none that helps."""
    if error.status is None:
        return failure(UNREACHABLE, str(error), hint=network_hint(error.message))
    hint = "Wait, and see https://www.cloudflarestatus.com; if it continues, check api_url and proxies."
    return failure(CLOUDFLARE, f"Cloudflare responds, but fails: {error}", hint=hint)


def not_permitted(error: CredentialsRefusedError) -> Finding:
    """Return the same about a token that was just accepted for another request."""
    if error.code in (*_SUBSCRIPTION_CODES, 7003):
        return _refused(error)
    return failure(
        TOKEN,
        f"The token is valid, but may not edit images: {error}",
        hint=f"Give it the right permission ({_CREDENTIALS}).",
    )


def _refused(error: CredentialsRefusedError) -> Finding:
    if error.code in _SUBSCRIPTION_CODES:
        return failure(
            SUBSCRIPTION,
            f"The account has no subscription to Cloudflare Images, or its quota is used up: {error}",
            hint="Buy or extend it (dashboard: Images, Plans), and check that the account ID is its own.",
        )
    if error.code == 7003:
        return failure(
            ACCOUNT,
            f"Cloudflare knows no such account: {error}",
            hint=f"Correct the account ID: {conf.credential_hint('account_id')}.",
        )
    if error.status == 403 and error.code not in _TOKEN_CODES:
        return failure(
            TOKEN,
            f"Cloudflare does not let the token into this account: {error}",
            hint=f"Check the account ID, and that the token is whole and not revoked ({_CREDENTIALS}).",
        )
    return failure(
        TOKEN,
        f"Cloudflare does not accept the token: {error}",
        hint=f"Copy it again, or make a new one if it was revoked or has expired ({_CREDENTIALS}); "
        f"then {conf.credential_hint('api_token')}.",
    )


def network_hint(reason: str) -> str:
    """Return what to do about no response, for this ``reason``."""
    hints = (hint for pattern, hint in _REASONS.items() if re.search(pattern, reason, re.IGNORECASE))
    hint = next(hints, _OTHERWISE)
    proxies = [name for name in os.environ if name.lower() in _PROXIES]
    if not proxies:
        return hint
    return f"{hint} Requests go through the proxy in {', '.join(proxies)}."  # not its value


def _broken(name: str, error: BaseException) -> Finding:
    """Return only its kind and place: the text of an unknown error may contain anything."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" in {Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else ""
    return failure(
        name,
        f"This examination failed with {type(error).__name__}{place}.",
        hint="Nothing is known about this topic; please report it. The other findings are valid.",
    )


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
