"""The result of a run: failures that are expected, and those that are expected in vain."""

from __future__ import annotations

import re
import traceback
import unittest
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from typing import Any

from tests.django_suite.expected import LEFT_OUT, REASONS, Reason


class Excuses:
    """The entries of the list that count in one mode, and which of them have excused a failure."""

    def __init__(self, mode: str, reasons: Iterable[Reason] = REASONS) -> None:
        self._entries = [
            (pattern, reason) for reason in reasons if mode in reason.modes for pattern in reason.tests
        ]
        self._used: set[tuple[str, Reason]] = set()

    def expect_failure_of(self, test_id: str) -> bool:
        """Return whether the list has the test."""
        return any(matches(test_id, pattern) for pattern, _ in self._entries)

    def excuse(self, test_id: str, error: str) -> bool:
        """Return whether the list has the test with this error."""
        found = {
            (pattern, reason)
            for pattern, reason in self._entries
            if matches(test_id, pattern) and re.search(reason.error, error)
        }
        self._used |= found
        return bool(found)

    def unused(self) -> list[str]:
        """Return the entries that have excused nothing."""
        return [
            f"{pattern} ({reason.because})"
            for pattern, reason in self._entries
            if (pattern, reason) not in self._used
        ]


class Result(unittest.TextTestResult):
    """A result for which an excused failure is expected, and the success of a listed test is none."""

    def __init__(
        self, *arguments: Any, excuses: Excuses, before_each: Callable[[], None], **keywords: Any
    ) -> None:
        super().__init__(*arguments, **keywords)
        self._excuses, self._before_each = excuses, before_each
        self._excused: set[str] = set()

    def startTest(self, test: unittest.TestCase) -> None:  # noqa: N802
        """Prepare the test."""
        super().startTest(test)
        self._before_each()

    def addSuccess(self, test: unittest.TestCase) -> None:  # noqa: N802
        """Count the success of a listed test as unexpected."""
        if self._excuses.expect_failure_of(test.id()):
            self.addUnexpectedSuccess(test)
        else:
            super().addSuccess(test)

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:  # noqa: N802
        """Count the failure, unless it is excused."""
        if not self._excuse(test, err):
            super().addFailure(test, err)

    def addError(self, test: unittest.TestCase, err: Any) -> None:  # noqa: N802
        """Count the error, unless it is excused."""
        if not self._excuse(test, err):
            super().addError(test, err)

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: Any) -> None:  # noqa: N802
        """Count the failure of a part, unless it is excused."""
        if err is None or not self._excuse(test, err):
            super().addSubTest(test, subtest, err)

    def _excuse(self, test: unittest.TestCase, err: Any) -> bool:
        if not self._excuses.excuse(test.id(), "".join(traceback.format_exception(*err))):
            return False
        if test.id() not in self._excused:  # once, whatever else fails: its parts, its cleanup
            self._excused.add(test.id())
            self.addExpectedFailure(test, err)
        return True


def is_left_out(test_id: str) -> bool:
    """Return whether the test is no test of a storage."""
    return any(matches(test_id, pattern) for pattern in LEFT_OUT)


def matches(test_id: str, pattern: str) -> bool:
    """Return whether a pattern of ``Class.method``, or of ``method`` alone, means this test."""
    _, test_class, method = test_id.rsplit(".", 2)
    return fnmatchcase(f"{test_class}.{method}" if "." in pattern else method, pattern)
