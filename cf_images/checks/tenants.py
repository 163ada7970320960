"""Check of projects in which each tenant has tables of its own (django-tenants)."""

from __future__ import annotations

from collections.abc import Iterator

from django.core import checks

from cf_images import conf
from cf_images.accounts import is_mirror, usable_accounts
from cf_images.checks.storages import Check, Messages

_APP = "cf_images"


def tenant_apps() -> Messages:
    """E030, W030: each tenant has its own table of uploads, and workers read that of the public schema."""
    for setting, apps in _declared():
        if not any(app == _APP or app.startswith(f"{_APP}.") for app in apps):
            continue
        has_mirror = any(map(is_mirror, conf.storage_declarations()))
        is_used = has_mirror or any(account.options.background for account in usable_accounts())
        outcome = "images stay pending for ever" if is_used else "background uploads would never end"
        yield (checks.Error if is_used else checks.Warning)(
            f"cf_images is in {setting}: workers read the tables of the public schema, so that {outcome}.",
            hint="Move it to SHARED_APPS (or to the public type) alone: tenants share its tables.",
            id="cf_images.E030" if is_used else "cf_images.W030",
        )


CHECKS: tuple[Check, ...] = (tenant_apps,)


def _declared() -> Iterator[tuple[str, list[str]]]:
    """Yield the settings of django-tenants that give apps to tenants."""
    yield "TENANT_APPS", list(conf.project_setting("TENANT_APPS") or ())
    public = conf.project_setting("PUBLIC_SCHEMA_NAME") or "public"
    for kind, declared in (conf.project_setting("TENANT_TYPES") or {}).items():
        if kind != public:
            yield f'TENANT_TYPES["{kind}"]', list(declared.get("APPS") or ())
