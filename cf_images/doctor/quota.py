"""Whether the account has room for more images."""

from __future__ import annotations

from collections.abc import Iterator

from cf_images.doctor.findings import Finding, failure, ok, warning
from cf_images.doctor.shared_accounts import Request, SharedAccount

_NEARLY_FULL = 0.9


def quota(account: SharedAccount, _request: Request) -> Iterator[Finding]:
    """Examine the image quota."""
    stats = account.client.stats()
    used = f"{stats.current:,} of {stats.allowed:,} images are stored"
    hint = "Buy more (dashboard: Images, Plans), or delete images that are not needed."
    if stats.current >= stats.allowed:
        yield failure("quota", f"The account is full: {used}.", hint=hint)
    elif stats.current >= stats.allowed * _NEARLY_FULL:
        yield warning("quota", f"The account is nearly full: {used}.", hint=hint)
    else:
        yield ok("quota", f"{used}.")
