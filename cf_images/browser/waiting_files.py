"""Uploads to a storage of local files, from their arrival until a field saves them.

They wait in a hidden folder of the storage, under names that cannot be guessed.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from cf_images.storage import LocalImagesStorage

_FOLDER = ".cf_images/uploads"


def new_name() -> str:
    """Return the name of a file that is to arrive."""
    return f"{_FOLDER}/{secrets.token_hex(16)}"


def exists(storage: LocalImagesStorage, name: str) -> bool:
    """Return whether the file has arrived."""
    return Path(storage.path(name)).is_file()


def opened(storage: LocalImagesStorage, name: str) -> BinaryIO:
    """Return the file at its start; ``FileNotFoundError`` where there is none."""
    return open(storage.path(name), "rb")


def write(storage: LocalImagesStorage, name: str, chunks: Iterable[bytes]) -> bool:
    """Keep the whole file or nothing; return ``False`` where it had arrived before."""
    path = Path(storage.path(name))
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        with part.open("xb") as file:
            for chunk in chunks:
                file.write(chunk)
        os.link(part, path)  # unlike a renamed one, it never replaces another
    except FileExistsError:
        return False
    finally:
        part.unlink(missing_ok=True)
    return True
