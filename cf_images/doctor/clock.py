"""Whether this machine's clock agrees with Cloudflare's, on which the expiry of signed URLs depends."""

from __future__ import annotations

import time
from collections.abc import Iterator

from cf_images.doctor.findings import Finding, failure, ok, skipped, warning
from cf_images.doctor.shared_accounts import Request, SharedAccount

# NTP keeps a clock within a second; a machine that is off by half a minute is not synchronized.
_WARNING = 30  # seconds
# What Kerberos tolerates, and a usual lifetime of a URL: a clock that is later by more expires it at once.
_FAILURE = 300  # seconds
_HINT = "Synchronize this machine's clock, by NTP (timedatectl set-ntp true) or that of its host."


def clock(account: SharedAccount, _request: Request) -> Iterator[Finding]:
    """Examine the difference to the ``Date`` of a response."""
    before = time.time()
    cloudflare_time = account.client.server_time()
    local_time = (before + time.time()) / 2
    if cloudflare_time is None:
        yield skipped("clock", "The clock: the response has no Date to compare with.")
        return
    ahead = round(local_time - cloudflare_time.timestamp() - 0.5)  # a Date is cut to the second
    words = f"This machine's clock is {abs(ahead):,} s {'ahead of' if ahead > 0 else 'behind'} Cloudflare's"
    if abs(ahead) < _WARNING:
        yield ok("clock", "This machine's clock agrees with Cloudflare's.")
    elif abs(ahead) < _FAILURE:
        yield warning("clock", f"{words}: {_effect(ahead)}.", hint=_HINT)
    else:
        short = "much too late" if ahead > 0 else "before they are opened"
        yield failure("clock", f"{words}: {_effect(ahead)}, short ones {short}.", hint=_HINT)


def _effect(ahead: int) -> str:
    return f"signed URLs expire {abs(ahead):,} s {'later' if ahead > 0 else 'earlier'} than they should"
