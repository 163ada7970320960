"""What is examined, in which order, and where it makes no sense to go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from django.core.exceptions import ImproperlyConfigured

from cf_images import conf
from cf_images.doctor import access, clock, keys, probes, project, templates, uploads, variants
from cf_images.doctor.accounts import Account, Asked, accounts
from cf_images.doctor.findings import Finding, Level, skipped, warning
from cf_images.doctor.refusals import ACCOUNT, CLOUDFLARE, SUBSCRIPTION, TOKEN, UNREACHABLE, guarded
from cf_images.doctor.templates import Reading

OfAccount = Callable[[Account, Asked], Iterator[Finding]]

# Without these nothing else of an account can be asked: each would fail for the same reason.
_NEEDED: tuple[tuple[str, OfAccount], ...] = (
    ("settings", access.settings),
    ("network", access.network),
    ("clock", clock.clock),
    ("token", access.token),
    ("subscription", access.subscription),
)
_OTHERS: tuple[tuple[str, OfAccount], ...] = (
    ("quota", access.quota),
    ("variants", variants.named),
    ("flexible", variants.flexible),
    ("keys", keys.keys),
    ("probe", probes.probes),
)
_PROJECT: tuple[tuple[str, Callable[[], Iterator[Finding]]], ...] = (
    ("environment", project.environment),
    ("checks", project.system_checks),
    ("uploads", uploads.uploads),
    ("queue", uploads.queue),
)
_IN_THE_WAY = ("settings", UNREACHABLE, CLOUDFLARE, ACCOUNT, TOKEN, SUBSCRIPTION)
_SHORTEST_SECRET = 8  # a shorter one is a word that sentences have, too


def examine(*, storage: str | None = None, probe: bool = False) -> Iterator[Finding]:
    """Everything, as it is found: the project, then account by account, or only that of ``storage``."""
    yield from map(_scrubbed, _everything(storage, probe=probe))


def examine_templates() -> Iterator[Finding]:
    """Only the templates; asks nobody."""
    yield from map(_scrubbed, guarded("templates", lambda: templates.judged(templates.read())))


def _everything(storage: str | None, *, probe: bool) -> Iterator[Finding]:
    for name, examination in _PROJECT:
        yield from guarded(name, examination)
    readings: list[Reading] = []

    def in_templates() -> Iterator[Finding]:
        readings.append(templates.read())
        return templates.judged(readings[0])

    yield from guarded("templates", in_templates)
    asked = Asked(probe=probe, flexible_at=readings[0].first_flexible if readings else "")
    yield from _accounts(storage, asked)


def _accounts(storage: str | None, asked: Asked) -> Iterator[Finding]:
    found: list[Account] = []

    def all_accounts() -> Iterator[Finding]:
        for account in accounts(storage):
            if isinstance(account, Finding):
                yield account
            else:
                found.append(account)

    findings = guarded("settings", all_accounts)
    yield from findings
    if not (found or findings):
        message = "No alias in STORAGES is a CloudflareImagesStorage: there is no account to examine."
        yield warning("accounts", message, remedy="The README's first screen has a whole STORAGES.")
    for account in found:
        for finding in _one_account(account, asked):
            yield replace(finding, storages=account.aliases)


def _one_account(account: Account, asked: Asked) -> Iterator[Finding]:
    for name, examination in (*_NEEDED, *_OTHERS):
        found = guarded(name, partial(examination, account, asked))
        yield from found
        if any(finding.name in _IN_THE_WAY and finding.level is Level.FAILURE for finding in found):
            yield skipped("others", "The rest of this account was not examined: mend this first.")
            return


def _scrubbed(finding: Finding) -> Finding:
    """Without the settings' secrets, should anybody's words repeat one."""
    secrets = _secrets()
    message, remedy = finding.message, finding.remedy
    for secret in secrets:
        message, remedy = message.replace(secret, "[hidden]"), remedy.replace(secret, "[hidden]")
    return replace(finding, message=message, remedy=remedy)


def _secrets() -> list[str]:
    found: list[str] = []
    for options in conf.storage_options():
        try:
            found += [str(conf.option("api_token", options) or ""), *conf.signing_keys(options)]
        except ImproperlyConfigured:
            continue  # it is no secret, then
    return [secret for secret in found if len(secret) >= _SHORTEST_SECRET]
