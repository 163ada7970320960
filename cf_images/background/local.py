"""Uploads by URL for storages on this machine: here, our worker fetches the image itself."""

from __future__ import annotations

from collections.abc import Callable

from django.core.files.base import File
from django.core.files.storage import Storage

from cf_images import images
from cf_images.background import settling
from cf_images.background.claims import Claim
from cf_images.background.fetching import FetchError, fetch
from cf_images.exceptions import ImageRejectedError
from cf_images.models import State


def work(claim: Claim, storage: Storage) -> None:
    """Fetch and save the image under the name that it was promised, or delete it."""
    row = claim.upload
    if row.state == State.DOOMED:
        storage.delete(row.name)
        settling.gone(claim)
        return
    try:
        with fetch(row.source_url) as file:
            info = images.validate(file)
            claim.renew()
            _remove(storage, row.name)  # half a file, if a worker was killed while it wrote
            storage.save(row.name, File(file, name=row.name))
    except FetchError as error:
        settling.later(claim, error)
    except ImageRejectedError as error:
        settling.rejected(claim, error)
    else:
        facts = {"content_type": info.content_type, "size": info.size}
        settling.stored(claim, remote_id=row.name, **facts, width=info.width, height=info.height)


def _remove(storage: Storage, name: str) -> None:
    """Delete the file, and not also the row, as ``delete()`` of our own local storage would."""
    remove: Callable[[str], None] = getattr(storage, "remove", storage.delete)
    remove(name)
