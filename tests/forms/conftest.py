"""The visitor of ``tests.browser``, who sends forms here."""

from tests.browser.conftest import anonymous, clock, commits, other, row_of, visitor

__all__ = ["anonymous", "clock", "commits", "other", "row_of", "visitor"]
