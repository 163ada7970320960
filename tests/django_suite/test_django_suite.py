"""What keeps the run of Django's tests honest: text in images, the list of failures, a missing sdist."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import unittest
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from PIL import Image

from cf_images.images import validate
from tests.django_suite import __main__ as command
from tests.django_suite.expected import REASONS, Reason
from tests.django_suite.images_for_text import image_of, text_of
from tests.django_suite.modes import MODES
from tests.django_suite.result import Excuses, Result, matches
from tests.django_suite.storages import DirectStorage
from tests.pictures import picture

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("text", [b"", b"content", bytes(range(256)) * 500])
def test_text_survives_in_a_valid_image(text: bytes) -> None:
    image = image_of(text)
    assert text_of(image) == text
    assert validate(io.BytesIO(image)).format == "png"
    assert Image.open(io.BytesIO(image)).size == (1, 1)


@pytest.mark.parametrize("content", [b"", b"content", picture(), picture("JPEG")])
def test_other_images_carry_no_text(content: bytes) -> None:
    assert text_of(content) is None


@pytest.mark.parametrize(
    "content", [b"", b"content", "text", picture()], ids=["empty", "bytes", "text", "image"]
)
def test_an_image_is_stored_and_its_text_read(cloudflare: Any, content: str | bytes) -> None:
    storage = DirectStorage(location="/ignored", base_url="/ignored/")
    name = storage.save("folder/file.txt", ContentFile(content))
    expected = content.encode() if isinstance(content, str) else content
    with storage.open(name) as file:
        assert file.read() == expected
    assert storage.size(name) == len(expected)
    with storage.client.download(name) as download:
        assert b"".join(download).startswith(b"\x89PNG")


class Listed(unittest.TestCase):
    """Tests as Django has them."""

    __test__ = False  # not for pytest

    def test_passes(self) -> None:
        pass

    def test_fails(self) -> None:
        raise FileNotFoundError("no folder")

    def test_fails_in_parts(self) -> None:
        for part in range(2):
            with self.subTest(part=part):
                raise FileNotFoundError("no folder")

    def test_fails_in_its_cleanup(self) -> None:
        self.addCleanup(self.test_fails)


def run(method: str, *tests: str, error: str = "no folder") -> tuple[unittest.TestResult, Excuses]:
    """Run one of the tests above, with a list that has ``tests``."""
    reason = Reason(because="There are no folders.", error=error, modes=frozenset({"direct"}), tests=tests)
    excuses = Excuses("direct", [reason])
    result_class = partial(Result, excuses=excuses, before_each=lambda: None)
    runner = unittest.TextTestRunner(io.StringIO(), resultclass=result_class)
    return runner.run(Listed(method)), excuses


@pytest.mark.parametrize("method", ["test_fails", "test_fails_in_parts", "test_fails_in_its_cleanup"])
def test_a_listed_failure_is_expected(method: str) -> None:
    result, excuses = run(method, "Listed.test_f*")
    assert result.wasSuccessful()
    assert len(result.expectedFailures) == 1
    assert excuses.unused() == []


@pytest.mark.parametrize("method", ["test_fails", "test_fails_in_parts", "test_fails_in_its_cleanup"])
def test_a_failure_that_is_not_listed_is_one(method: str) -> None:
    assert not run(method, "Other.test_f*")[0].wasSuccessful()


def test_a_listed_test_that_fails_otherwise_is_a_failure() -> None:
    assert not run("test_fails", "test_fails", error="no path")[0].wasSuccessful()


def test_a_listed_test_that_passes_is_an_error() -> None:
    result, _ = run("test_passes", "test_passes")
    assert len(result.unexpectedSuccesses) == 1
    assert not result.wasSuccessful()


def test_an_entry_that_excuses_nothing_is_named() -> None:
    _, excuses = run("test_fails", "test_fails", "test_gone")
    assert excuses.unused() == ["test_gone (There are no folders.)"]


def test_reasons_of_other_modes_do_not_count() -> None:
    reason = Reason(because="…", error="", modes=frozenset({"local"}), tests=("*",))
    excuses = Excuses("direct", [reason])
    assert not excuses.excuse("module.Class.test", "")
    assert excuses.unused() == []


@pytest.mark.parametrize(
    ("pattern", "matched"),
    [
        ("test_url", True),
        ("test_*", True),
        ("FileTests.test_url", True),
        ("File*.test_url", True),
        ("url", False),
        ("test_url_base", False),
        ("OtherTests.test_url", False),
    ],
)
def test_patterns_mean_classes_and_methods(pattern: str, matched: bool) -> None:
    assert matches("file_storage.tests.FileTests.test_url", pattern) == matched


def test_each_reason_counts_in_some_mode() -> None:
    assert all(reason.modes and reason.modes <= set(MODES) for reason in REASONS)


def test_without_the_sdist_the_status_is_that_of_a_skip() -> None:
    offline = {"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": ""}
    ended = subprocess.run(
        [sys.executable, "-m", "tests.django_suite", "local"],
        cwd=ROOT,
        env={**os.environ, **offline},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == command.SKIPPED
    assert "SKIPPED: pip cannot download the sdist of Django" in ended.stderr


def test_an_unknown_mode_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main("local", "remote") == 2
    assert "no mode remote; there are local, direct," in capsys.readouterr().err
