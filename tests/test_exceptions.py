"""The tree of errors: what else each of them is, what it prints, and that something raises it."""

from __future__ import annotations

import ast
import inspect
import pickle
from pathlib import Path

import pytest

from cf_images import exceptions
from cf_images.exceptions import (
    CloudflareImagesError,
    CloudflareUnavailableError,
    CredentialsRefusedError,
    ImageExistsError,
    ImageNotFoundError,
    ImageRejectedError,
    InvalidNameError,
    InvalidVariantError,
    RateLimitedError,
    RenderingError,
)

ERRORS = [error for _, error in inspect.getmembers(exceptions, inspect.isclass)]


def test_every_error_stands_in_the_tree_of_the_docstring() -> None:
    tree = exceptions.__doc__ or ""
    assert {error.__name__ for error in ERRORS} == {word for word in tree.split() if word.endswith("Error")}


@pytest.mark.parametrize("error", ERRORS)
def test_every_error_is_a_cloudflare_images_error(error: type[Exception]) -> None:
    assert issubclass(error, CloudflareImagesError)


@pytest.mark.parametrize(
    ("error", "parents"),
    [
        (InvalidNameError, (ImageRejectedError, ValueError)),
        (InvalidVariantError, (ValueError,)),
        (ImageNotFoundError, (FileNotFoundError,)),
        (ImageExistsError, (FileExistsError,)),
        (RateLimitedError, (CloudflareUnavailableError,)),
    ],
)
def test_errors_are_also_pythons_own(error: type[Exception], parents: tuple[type, ...]) -> None:
    assert all(issubclass(error, parent) for parent in parents)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (CloudflareImagesError, 502),
        (ImageRejectedError, 400),
        (InvalidNameError, 400),
        (InvalidVariantError, 400),
        (RenderingError, 400),
        (ImageNotFoundError, 404),
        (ImageExistsError, 409),
        (CredentialsRefusedError, 502),
        (CloudflareUnavailableError, 502),
        (RateLimitedError, 502),
    ],
)
def test_each_error_has_the_status_of_a_views_response(
    error: type[CloudflareImagesError], status: int
) -> None:
    assert error("x").http_status == status


def test_an_error_prints_the_evidence() -> None:
    error = ImageRejectedError("No.", status=400, code=5400, request="POST images/v1")
    assert error.summary == "No. (code 5400, HTTP 400, POST images/v1)"
    assert str(error).startswith("No. (code 5400, HTTP 400, POST images/v1). See https://")
    assert (error.message, error.status, error.code, error.request) == ("No.", 400, 5400, "POST images/v1")


def test_an_error_without_evidence_is_its_message() -> None:
    assert CloudflareUnavailableError("No response.").summary == "No response."


def test_an_error_that_is_also_a_file_error_prints_its_own_message() -> None:
    assert str(ImageNotFoundError("There is no image.", status=404)).startswith(
        "There is no image. (HTTP 404)"
    )
    assert str(ImageExistsError("Taken.", code=5409)).startswith("Taken. (code 5409)")


@pytest.mark.parametrize("retry_after", [None, 300.0])
def test_a_rate_limit_has_the_seconds_to_wait(retry_after: float | None) -> None:
    assert RateLimitedError("Slow down.", status=429, retry_after=retry_after).retry_after == retry_after


@pytest.mark.parametrize("error", ERRORS)
def test_an_error_survives_pickling(error: type[CloudflareImagesError]) -> None:
    sent = error("x", status=500, code=5550, request="GET images/v1/a")
    received = pickle.loads(pickle.dumps(sent))
    assert type(received) is error
    assert str(received) == str(sent)
    assert vars(received) == vars(sent)


def test_every_error_is_raised_somewhere() -> None:
    package = Path(exceptions.__file__).parent
    named: set[str] = set()
    for path in package.rglob("*.py"):
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        caught = {
            node
            for handler in nodes
            if isinstance(handler, ast.ExceptHandler) and handler.type
            for node in ast.walk(handler.type)
        }
        named |= {node.id for node in nodes if isinstance(node, ast.Name) and node not in caught}
    assert {error.__name__ for error in ERRORS} <= named | {"CloudflareImagesError"}
