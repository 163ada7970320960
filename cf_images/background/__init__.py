"""Background uploads: what ``save()`` has accepted reaches Cloudflare, exactly once, whatever fails.

::

    staging ──▶ a row, and its bytes beside it ──▶ bell ──▶ worker ──▶ settling
                            ▲                        ▲
                            └──── sweeper, each minute, for what is still due

The row is the truth; a queue message only rings and may be lost, doubled or late. A worker takes a row
with one conditional ``UPDATE`` and holds a lease; whatever it writes afterwards is fenced by that lease
(``claims``). The ID is chosen before the first byte is sent, so that a repetition is harmless, and every
unclear answer is settled by asking (``asking``). What fails for no fault of the image is tried again
without end; what is refused for good keeps its bytes until somebody decides.
"""

from cf_images.background.held import (
    doomed_names,
    find,
    has_row,
    is_doomed,
    open_pending,
    pending_size,
    remote_id,
    waiting_names,
)
from cf_images.background.incoming import upload_from_file, upload_from_url
from cf_images.background.repairs import prune, retry
from cf_images.background.reporting import GateStatus, Status, status
from cf_images.background.staging import discard, stage
from cf_images.background.undelivered import is_undelivered, is_young
from cf_images.waiting import waiting_address

__all__ = [
    "GateStatus",
    "Status",
    "deliver",
    "discard",
    "doomed_names",
    "find",
    "has_row",
    "is_doomed",
    "is_undelivered",
    "is_young",
    "open_pending",
    "pending_size",
    "prune",
    "remote_id",
    "retry",
    "stage",
    "status",
    "upload_from_file",
    "upload_from_url",
    "waiting_address",
    "waiting_names",
]


def deliver(hint: int | None = None) -> int:
    """Deliver the row ``hint`` if it is due, then others: up to ten rows or five seconds.

    Returns how many were tried. What a queue other than huey calls in its worker.
    """
    from cf_images.background import worker  # httpx, only where something is sent

    return worker.deliver(hint)
