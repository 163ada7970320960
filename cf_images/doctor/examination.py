"""What is examined, in which order, and where it makes no sense to continue."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from django.core.exceptions import ImproperlyConfigured

from cf_images.accounts import Account, usable_accounts
from cf_images.doctor import (
    access,
    clock,
    keys,
    mirrors,
    probes,
    project,
    quota,
    templates,
    uploads,
    variants,
)
from cf_images.doctor.failures import ACCOUNT, CLOUDFLARE, SUBSCRIPTION, TOKEN, UNREACHABLE, guarded
from cf_images.doctor.findings import Finding, Level, skipped, warning
from cf_images.doctor.shared_accounts import Request, SharedAccount, shared_accounts
from cf_images.doctor.templates import Reading

OfAccount = Callable[[SharedAccount, Request], Iterator[Finding]]

# Without these, every other examination of an account would fail for the same reason.
_NEEDED: tuple[tuple[str, OfAccount], ...] = (
    ("settings", access.settings),
    ("network", access.network),
    ("clock", clock.clock),
    ("token", access.token),
    ("subscription", access.subscription),
)
_OTHERS: tuple[tuple[str, OfAccount], ...] = (
    ("quota", quota.quota),
    ("variants", variants.named),
    ("flexible", variants.flexible),
    ("keys", keys.keys),
    ("probe", probes.probes),
)
_PROJECT: tuple[tuple[str, Callable[[], Iterator[Finding]]], ...] = (
    ("environment", project.environment),
    ("checks", project.system_checks),
    ("uploads", uploads.uploads),
    ("mirrors", mirrors.mirrors),
    ("queue", uploads.queue),
)
_IN_THE_WAY = ("settings", UNREACHABLE, CLOUDFLARE, ACCOUNT, TOKEN, SUBSCRIPTION)
_SHORTEST_SECRET = 8  # a shorter one may be a word of a sentence


def examine(*, storage: str | None = None, probe: bool = False) -> Iterator[Finding]:
    """Yield all findings: the project, then account by account, or only that of ``storage``."""
    yield from map(_scrubbed, _everything(storage, probe=probe))


def examine_templates() -> Iterator[Finding]:
    """Yield the findings about templates, without a request."""
    yield from map(_scrubbed, guarded("templates", lambda: templates.judged(templates.read())))


def _everything(storage: str | None, *, probe: bool) -> Iterator[Finding]:
    for name, examination in _PROJECT:
        yield from guarded(name, examination)
    readings: list[Reading] = []

    def in_templates() -> Iterator[Finding]:
        readings.append(templates.read())
        return templates.judged(readings[0])

    yield from guarded("templates", in_templates)
    request = Request(probe=probe, flexible_at=readings[0].first_flexible if readings else "")
    yield from _accounts(storage, request)


def _accounts(storage: str | None, request: Request) -> Iterator[Finding]:
    found: list[SharedAccount] = []

    def all_accounts() -> Iterator[Finding]:
        for account in shared_accounts(storage):
            if isinstance(account, Finding):
                yield account
            else:
                found.append(account)

    findings = guarded("settings", all_accounts)
    yield from findings
    if not (found or findings):
        message = "No alias in STORAGES is a CloudflareImagesStorage: there is no account to examine."
        yield warning("accounts", message, hint="The README's first screen has a whole STORAGES.")
    for account in found:
        for finding in _one_account(account, request):
            yield replace(finding, storages=account.aliases)


def _one_account(account: SharedAccount, request: Request) -> Iterator[Finding]:
    for name, examination in (*_NEEDED, *_OTHERS):
        found = guarded(name, partial(examination, account, request))
        yield from found
        if any(finding.name in _IN_THE_WAY and finding.level is Level.FAILURE for finding in found):
            yield skipped("others", "The rest of this account was not examined: fix this first.")
            return


def _scrubbed(finding: Finding) -> Finding:
    """Hide the secrets of the settings, in case a foreign message repeats one."""
    secrets = _secrets()
    message, hint = finding.message, finding.hint
    for secret in secrets:
        message, hint = message.replace(secret, "[hidden]"), hint.replace(secret, "[hidden]")
    return replace(finding, message=message, hint=hint)


def _secrets() -> list[str]:
    found: list[str] = []
    for account in (*usable_accounts(), Account({})):
        try:
            found += [account.options.api_token or "", *account.options.signing_keys]
        except ImproperlyConfigured:
            continue  # then it is not used
    return [secret for secret in found if len(secret) >= _SHORTEST_SECRET]
