"""Names that ``save()`` has changed: a warning when code asks for one of them afterwards.

An app that keeps names of its own finds nothing under them in a storage with unique names. This process
remembers what it has renamed, and logs each such name once.
"""

from __future__ import annotations

import logging
from collections import OrderedDict

logger = logging.getLogger("cf_images.storage")

MAX_NAMES = 1000  # about 200 KB
_MAX_LENGTH = 1024  # of a name that is remembered

# Each requested name with the name that it was given; empty once it is logged.
changed: OrderedDict[str, str] = OrderedDict()


def remember(requested: str, given: str) -> None:
    """Remember that an image was saved under another name than the requested one."""
    if requested == given or len(requested) > _MAX_LENGTH or changed.get(requested) == "":
        return
    changed[requested] = given
    while len(changed) > MAX_NAMES:
        try:
            changed.popitem(last=False)
        except KeyError:  # another thread was faster
            break


def asked_for(name: str) -> None:
    """Log that a name is asked for that a save in this process was requested under, and not given."""
    given = changed.get(name)
    if not given:
        return
    changed[name] = ""
    logger.warning(
        "%r was saved as %r, and is now asked for under the first name, where that image is not. Keep the "
        "name that save() returns; for an app that keeps names of its own, see the option unique_names.",
        name,
        given,
    )


def clear() -> None:
    """Forget all names, in tests."""
    changed.clear()
