"""Whether this machine's clock agrees with Cloudflare's, on which the ends of signed addresses depend."""

from __future__ import annotations

import time
from collections.abc import Iterator

from cf_images.doctor.accounts import Account, Asked
from cf_images.doctor.findings import Finding, failure, ok, skipped, warning

# NTP keeps a clock within a second; half a minute is a machine that nobody synchronizes.
_WARNING = 30  # seconds
# What Kerberos tolerates, and a fair lifetime of an address: behind by more, such a one is born dead.
_FAILURE = 300  # seconds
_REMEDY = "Synchronize this machine's clock, by NTP (timedatectl set-ntp true) or that of its host."


def clock(account: Account, _asked: Asked) -> Iterator[Finding]:
    """The difference to the ``Date`` of an answer."""
    before = time.time()
    theirs = account.client.server_time()
    ours = (before + time.time()) / 2
    if theirs is None:
        yield skipped("clock", "The clock: the answer has no Date to compare with.")
        return
    ahead = round(ours - theirs.timestamp() - 0.5)  # a Date is cut to the second
    words = f"This machine's clock is {abs(ahead):,} s {'ahead of' if ahead > 0 else 'behind'} Cloudflare's"
    if abs(ahead) < _WARNING:
        yield ok("clock", "This machine's clock agrees with Cloudflare's.")
    elif abs(ahead) < _FAILURE:
        yield warning("clock", f"{words}: {_effect(ahead)}.", remedy=_REMEDY)
    else:
        short = "much too late" if ahead > 0 else "before anybody opens them"
        yield failure("clock", f"{words}: {_effect(ahead)}, short ones {short}.", remedy=_REMEDY)


def _effect(ahead: int) -> str:
    return f"signed addresses end {abs(ahead):,} s {'later' if ahead > 0 else 'earlier'} than they should"
