"""The visitor of ``tests.browser``, who uses the admin and APIs here."""

from tests.browser.conftest import commits, other, row_of, visitor

__all__ = ["commits", "other", "row_of", "visitor"]
