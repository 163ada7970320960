"""The modes: which storage takes the place of Django's, and with which options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """One storage of ``storages``, and its options."""

    storage: str
    background: bool = False
    unique_names: bool = True

    @property
    def options(self) -> dict[str, Any]:
        """``CF_IMAGES`` of the run, but for the account."""
        return {
            "BACKGROUND": self.background,
            "UNIQUE_NAMES": self.unique_names,
            "QUEUE": "none",  # only the storage itself processes images
            "API_RATE": None,
            "VALIDATE_LOCAL_FILES": False,  # the tests store text
        }


MODES = {
    "local": Mode(storage="LocalStorage", unique_names=False),
    "direct": Mode(storage="DirectStorage"),
    "direct-given": Mode(storage="DirectStorage", unique_names=False),
    "pending": Mode(storage="PendingStorage", background=True),
    "pending-given": Mode(storage="PendingStorage", background=True, unique_names=False),
    "stored": Mode(storage="StoredStorage", background=True),
    "stored-given": Mode(storage="StoredStorage", background=True, unique_names=False),
}
