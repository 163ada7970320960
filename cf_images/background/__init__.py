"""Background uploads: what ``save()`` accepted reaches Cloudflare exactly once, whatever fails.

::

    enqueue ──▶ a row, and its bytes in chunks ──▶ notify ──▶ worker ──▶ operations ──▶ outcomes
                            ▲                                   ▲
                            └── the sweep, each minute, for rows that are still due

Messages only wake workers; the database row is the source of truth. A message may be lost, doubled or late. A
worker claims a row with one conditional ``UPDATE`` and holds a lease; the lease fences whatever it writes
afterwards (``leases``). The image ID is chosen before the first byte is sent, so that repeating a request is
harmless, and every unclear response is resolved by asking Cloudflare (``confirm``). What fails for a reason
outside of the image is retried without end; a rejected image keeps its bytes until a person decides.

A save under the name of an image that is being deleted supersedes the deletion: its row replaces the other
one, begins after that one's lease, deletes the old image first, and keeps its bytes while a DELETE may still
arrive.
"""

from cf_images.background import heartbeat, queue_state, tables
from cf_images.background.enqueue import delete, enqueue_file, enqueue_url, upload_from_file, upload_from_url
from cf_images.background.maintenance import prune, resume, retry
from cf_images.background.pending import is_assumed_pending, is_pending, refresh_names
from cf_images.background.queue_notifier import is_inline, notify
from cf_images.background.reporting import PausedAccount, Status, status
from cf_images.background.rows import (
    database,
    deleting_names,
    find,
    has_row,
    is_deleting,
    known_remote_id,
    open_pending,
    pending_names,
    pending_row,
    pending_size,
    remote_id,
    saved_names,
)
from cf_images.models import MAX_NAME_LENGTH

__all__ = [
    "MAX_NAME_LENGTH",
    "PausedAccount",
    "Status",
    "database",
    "delete",
    "deleting_names",
    "enqueue_file",
    "enqueue_url",
    "find",
    "has_row",
    "is_assumed_pending",
    "is_deleting",
    "is_pending",
    "known_remote_id",
    "open_pending",
    "pending_names",
    "pending_row",
    "pending_size",
    "process",
    "prune",
    "refresh_names",
    "remote_id",
    "resume",
    "retry",
    "saved_names",
    "status",
    "upload_from_file",
    "upload_from_url",
]


def process(hint: int | None = None) -> int:
    """Process the row ``hint`` if it is due, then others, for five seconds. Return their number.

    A queue other than huey calls this in its worker. Notifies the queue again when more is due. Without the
    tables, it is ``ImproperlyConfigured``.
    """
    from cf_images.background import worker  # httpx, only where something is sent

    with tables.required():
        heartbeat.worked()
        heartbeat.touch()
        queue_state.received()
        if not is_inline() and worker.has_work_for_others():
            notify()
        done = worker.process(hint)
        if done.more_due and not is_inline():
            notify()
        return done.rows
