"""The example project: its one command, its settings, and what becomes of its processes."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

fcntl = pytest.importorskip("fcntl", reason="the example needs Linux, macOS or WSL")

from example_project.processes import HOST, Children, DemoError, alone, answers, free_port  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
# What may stand in the environment of whoever runs the tests, and would send images elsewhere.
OURS = ("CF_", "ENV_NAME", "EXAMPLE_", "DJANGO_SETTINGS_MODULE")


def python(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """``python -m`` in an empty home, with temporary files in a path that has a space."""
    temporary = folder / "a folder"
    temporary.mkdir(parents=True)
    clean = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env={**clean, "HOME": str(folder), "TMPDIR": str(temporary), **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def wait_until(is_done: Callable[[], bool]) -> None:
    """Poll; the test's own timeout is the limit."""
    while not is_done():
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("env_name", "address"),
    [
        pytest.param("demo", r"http://127\.0\.0\.1:\d+/\w+/avatars/%s-[\w-]+\.jpg/%s", id="emulator"),
        pytest.param("dev", r"http://127\.0\.0\.1:\d+/cf-images/local/%s/avatars/%s[\w-]*\.jpg", id="local"),
    ],
)
def test_once_fetches_both_first_pictures_back_in_every_size(
    tmp_path: Path, env_name: str, address: str
) -> None:
    run = python(tmp_path, "example_project", "--once", ENV_NAME=env_name)

    assert run.returncode == 0, run.stdout + run.stderr
    sizes = {"avatar": "240 x 240", "w=200": "200 x 133", "public": "1153 x 768"}
    for picture in ("dusk", "night"):
        for variant, size in sizes.items():
            parts = (variant, picture) if env_name == "dev" else (picture, variant)
            assert re.search(f"{size}  {address % parts}\n", run.stdout), run.stdout
    assert re.search(r"Open +http://127\.0\.0\.1:\d+/\n", run.stdout)
    assert not list((tmp_path / "a folder").iterdir())  # nothing stays behind


@pytest.mark.parametrize(
    "command", [("check", "--fail-level", "WARNING"), ("makemigrations", "--check", "--dry-run")]
)
def test_the_settings_are_sound(tmp_path: Path, command: tuple[str, ...]) -> None:
    run = python(
        tmp_path, "django", *command, "--settings", "example_project.settings", EXAMPLE_STATE=str(tmp_path)
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_a_second_one_is_told_where_the_first_is(tmp_path: Path) -> None:
    with alone(tmp_path):
        (tmp_path / "address").write_text("http://127.0.0.1:8000/")
        with (
            pytest.raises(DemoError, match=r"running already, at http://127\.0\.0\.1:8000/"),
            alone(tmp_path),
        ):
            pass
    with alone(tmp_path):
        assert not (tmp_path / "address").exists()  # the next one is not told of the first


def test_a_taken_port_is_replaced_by_a_free_one() -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        assert free_port(port) not in (0, port)
    assert free_port(port) == port


def test_a_process_that_ends_is_named_with_the_end_of_its_log(tmp_path: Path) -> None:
    children = Children(tmp_path)
    children.start("broken", "no_such_module")
    try:
        with pytest.raises(DemoError, match=r"The broken has ended(.|\n)*No module named '?no_such_module"):
            children.wait_for("nothing", lambda: False)
    finally:
        children.stop()


def test_the_optional_process_may_be_stopped_and_started_again(tmp_path: Path) -> None:
    children = Children(tmp_path)
    port = free_port()
    children.optional = server = children.start("server", "http.server", str(port), "--bind", HOST)
    try:
        children.wait_for("the start", lambda: answers(f"http://{HOST}:{port}/"))
        children.toggle_optional()
        children.check()
        assert not server.is_running
        children.toggle_optional()
        children.wait_for("the second start", lambda: answers(f"http://{HOST}:{port}/"))
    finally:
        children.stop()
    assert not answers(f"http://{HOST}:{port}/")


def test_children_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    port = free_port()
    parent = f"""
import pathlib, time
from example_project.processes import Children
Children(pathlib.Path({str(tmp_path)!r})).start("server", "http.server", "{port}", "--bind", "{HOST}")
time.sleep(600)
"""
    process = subprocess.Popen([sys.executable, "-c", parent], cwd=ROOT)
    wait_until(lambda: answers(f"http://{HOST}:{port}/"))

    process.send_signal(signal.SIGKILL)
    process.wait()

    wait_until(lambda: not answers(f"http://{HOST}:{port}/"))
