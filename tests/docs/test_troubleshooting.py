"""Each message of the troubleshooting page is one that the code prints, and at the level that it says."""

from __future__ import annotations

import ast
import io
import re
import urllib.error
import urllib.request
from functools import cache
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.management import call_command

from cf_images.client.responses import Response, error_for
from cf_images.management.commands.cf_images import SUBCOMMANDS
from cf_images.models import Worker
from tests.docs.pages import DOCS, PACKAGE, all_pages
from tests.pictures import picture

PAGE = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
_FORMATTED = re.compile(r"%\([a-z]+\)s|%[srd]|%\.1f")
_LEVELS = {"DEBUG", "INFO", "WARNING", "ERROR", "EXCEPTION", "LOG"}


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def rows() -> list[list[str]]:
    lines = [line for line in section("By message").splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return [row for row in cells if any(cell.startswith("`") for cell in row)]


def message_of(row: list[str]) -> str:
    return next(cell for cell in row if cell.startswith("`")).strip().strip("`")


@cache
def texts() -> dict[str, str]:
    """Return every text of the code, with a NUL for what differs, and the level it is logged with, if any."""
    found: dict[str, str] = {}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (text := _text(node)) is not None:
                found.setdefault(text, "")
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                level = node.func.attr.upper()
                for argument in node.args if level in _LEVELS else ():
                    if (text := _text(argument)) is not None:
                        found[text] = level
    return found


def _text(node: ast.AST) -> str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return _FORMATTED.sub("\0", node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "\0" for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = _text(node.left), _text(node.right)
        return None if left is None and right is None else f"{left or chr(0)}{right or chr(0)}"
    return None


def matching(message: str) -> list[str]:
    """Return the texts of the code that can be this message: ``…`` is what differs, or the rest."""
    parts = [re.escape(part) for part in message.split("…")]
    pattern = re.compile("[\0]*.*?".join(parts), re.DOTALL)
    return [text for text in texts() if pattern.search(text)]


@pytest.mark.parametrize("row", rows(), ids=message_of)
def test_message_is_one_of_the_code(row: list[str]) -> None:
    assert matching(message_of(row)), f"nothing in cf_images prints {message_of(row)!r}"


LOGGED = [row for row in rows() if row[0] in ("INFO", "WARNING", "ERROR")]


@pytest.mark.parametrize("row", LOGGED, ids=message_of)
def test_message_is_logged_at_this_level(row: list[str]) -> None:
    levels = {texts()[text] for text in matching(message_of(row))}
    levels = {"ERROR" if level == "EXCEPTION" else level for level in levels}
    assert row[0] in levels or "LOG" in levels  # that chooses a level by what happened before


def test_test_notices_a_message_that_is_not_in_the_code() -> None:
    assert not matching("Uploads to … are stopped until …")
    assert matching("Uploads to … are paused until …: …")


def test_codes_have_the_error_that_the_page_says() -> None:
    lines = [line for line in section("Cloudflare's codes").splitlines() if re.match(r"\| \d", line)]
    assert len(lines) > 10
    for line in lines:
        codes, _, error = (cell.strip() for cell in line.strip("|").split(" | "))
        for code in map(int, re.findall(r"\b\d{3,5}\b", codes)):
            if named := re.search(r"`(\w+)`", error):
                status, body = (code, b"") if code == 429 else (418, f"ERROR {code}: x".encode())
                found = error_for(Response(status=status, body=body), request="", secrets=[])
                assert type(found).__name__ == named[1], code


@pytest.mark.parametrize("page", all_pages())
def test_commands_that_a_page_names_in_a_sentence_exist(page: str) -> None:
    source = (DOCS / page).read_text(encoding="utf-8")
    for command in re.findall(r"`(?:python )?(?:manage\.py )?cf_images ([a-z]+)[^`.]*`", source):
        assert command in SUBCOMMANDS, command


def delivered(url: str) -> tuple[int, str]:
    """Return the status and the text of a delivery URL."""
    try:
        with urllib.request.urlopen(url, timeout=10) as response:
            return response.status, ""
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_what_browsers_get_is_what_the_page_says(cloudflare: Any, images: Any) -> None:
    images.client.update_config(flexible_variants=False)
    name = images.save("jane.png", ContentFile(picture()))
    url = images.url(name)
    cases = {
        images.url(name, "unknown"): "9425",
        images.url(name, "w=20"): "9429",
        images.url("nothing.png"): "9404",
        url.replace(cloudflare.account_hash, "another-hash"): "9427",
    }
    table = PAGE.partition("### An image is not shown")[2].partition("###")[0]
    for requested, code in cases.items():
        status, text = delivered(requested)
        assert code in text
        assert f"| {status} with `{code}`" in table
    assert delivered(url) == (200, "")


@pytest.mark.django_db
def test_uploads_prints_what_the_page_says_of_a_missing_worker() -> None:
    Worker.objects.all().delete()  # the heartbeat of a worker that an earlier test has run
    out = io.StringIO()
    call_command("cf_images", "uploads", stdout=out)
    assert "never active" in out.getvalue()
    assert "`never active`" in PAGE
