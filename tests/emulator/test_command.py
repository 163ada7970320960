"""``python -m cf_images.emulator`` as a process: options, output, and being killed at any moment."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from cf_images.emulator.__main__ import main
from cf_images.emulator.server import ACCOUNT_ID, API_TOKEN, Emulator
from tests.emulator.conftest import picture


class Process:
    """A running emulator process."""

    def __init__(self, *options: str, env: dict[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "cf_images.emulator", "--port", "0", *options],
            stdout=subprocess.PIPE,
            text=True,
            env={name: os.environ[name] for name in os.environ if not name.startswith("CF_")} | (env or {}),
        )
        assert self.process.stdout
        self.introduction = ""
        for line in self.process.stdout:
            self.introduction += line
            if line.startswith("  images"):
                break
        found = re.search(r"http://[\d.:]+", self.introduction)
        assert found, self.introduction
        self.url = found[0]

    def images(self, account_id: str = ACCOUNT_ID) -> str:
        return f"{self.url}/client/v4/accounts/{account_id}/images/"

    def stop(self, number: int = signal.SIGTERM) -> str:
        """End it and return its output after the introduction."""
        self.process.send_signal(number)
        rest, _ = self.process.communicate(timeout=20)
        return rest


@pytest.fixture
def run() -> Iterator[Callable[..., Process]]:
    """Start emulators that do not outlive the test."""
    running: list[Process] = []

    def start(*options: str, **environment: str) -> Process:
        running.append(Process(*options, env=environment))
        return running[-1]

    yield start
    for process in running:
        if process.process.poll() is None:
            process.stop(signal.SIGKILL)
        if process.process.stdout:
            process.process.stdout.close()


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with httpx.Client(verify=False, timeout=20, headers={"Authorization": f"Bearer {API_TOKEN}"}) as client:
        yield client


def test_it_prints_its_urls_and_logs_each_request(run: Callable[..., Process], client: httpx.Client) -> None:
    process = run()
    for line in (f"CF_ACCT_ID={ACCOUNT_ID}", f"CF_IMG_TOKEN={API_TOKEN}", "CF_IMG_HASH="):
        assert line in process.introduction
    assert client.get(process.images() + "v1/stats").status_code == 200
    assert client.get(process.images() + "v1/%0a?secret=1").status_code == 404
    first, second = process.stop().splitlines()
    assert re.fullmatch(r"GET /client/v4/accounts/\w+/images/v1/stats 200 [\d.]+ ms", first)
    assert "/images/v1/%0a 404" in second
    assert "secret" not in second
    assert process.process.returncode == 0


def test_ctrl_c_ends_it_without_a_traceback(run: Callable[..., Process]) -> None:
    process = run()
    assert process.stop(signal.SIGINT) == ""
    assert process.process.returncode == 0


def test_a_token_of_the_environment_is_used_and_not_printed(
    run: Callable[..., Process], client: httpx.Client
) -> None:
    process = run(CF_ACCOUNT_ID="f00", CF_IMG_TOKEN="s3cret-token", CF_IMG_HASH="hash")
    assert "s3cret-token" not in process.introduction
    assert "CF_ACCT_ID=f00" in process.introduction
    headers = {"Authorization": "Bearer s3cret-token"}
    response = client.get(process.images("f00") + "v1/stats", headers=headers)
    assert response.status_code == 200
    assert "s3cret-token" not in process.stop()


def test_options_override_the_environment_and_set_faults(
    run: Callable[..., Process], client: httpx.Client
) -> None:
    options = ("--fault", "500=1", "--fault", "429=0", "--seed", "7", "--latency", "0.001", "--rate-limits")
    process = run(*options, "--account-id", "f00", CF_ACCT_ID="other")
    assert "CF_ACCT_ID=f00" in process.introduction
    assert client.get(process.images("f00") + "v1/stats").status_code == 500
    faults = client.get(process.url + "/__emulator__/faults").json()
    assert (faults["rates"], faults["latency"]) == ({"500": 1.0, "429": 0.0}, 0.001)


@pytest.mark.parametrize("option", ["418=0.1", "429=2", "429", "429=often"])
def test_an_invalid_fault_is_an_error(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--fault", option])
    assert "--fault" in capsys.readouterr().err


def test_a_folder_in_use_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Emulator(data=tmp_path):
        assert main(["--data", str(tmp_path)]) == 1
    assert f"{tmp_path}: This data folder is in use" in capsys.readouterr().err


def upload(client: httpx.Client, process: Process, image_id: str, body: bytes) -> Any:
    return client.post(
        process.images() + "v1", files={"file": ("a.png", body, "image/png")}, data={"id": image_id}
    )


def body_of(number: int) -> bytes:
    """Return a unique image for a number; its 60 KB need several writes."""
    return picture("PNG", (140, 140), color=(number % 256, number // 256, 9), compress_level=0)


class Uploader(threading.Thread):
    """A thread that uploads until the emulator ends; ``stored`` has the confirmed images."""

    def __init__(self, process: Process, name: str, enough: threading.Semaphore) -> None:
        super().__init__(name=name)
        self.process = process
        self.enough = enough
        self.stored: dict[str, int] = {}

    def run(self) -> None:
        with httpx.Client(
            verify=False, timeout=20, headers={"Authorization": f"Bearer {API_TOKEN}"}
        ) as client:
            for number in range(5_000):
                image_id = f"{self.name}-{number}"
                try:
                    response = upload(client, self.process, image_id, body_of(number))
                except httpx.TransportError:
                    return
                assert response.status_code == 200
                self.stored[image_id] = number
                self.enough.release()


def test_it_ends_when_it_was_paused_with_open_connections(
    run: Callable[..., Process], client: httpx.Client
) -> None:
    process = run()
    with contextlib.ExitStack() as stack:
        for _ in range(8):
            other = stack.enter_context(httpx.Client(headers=client.headers))
            assert other.get(process.images() + "v1/stats").status_code == 200
        process.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.process.pid, os.WSTOPPED)
        process.process.send_signal(signal.SIGTERM)
        process.process.send_signal(signal.SIGCONT)
        assert process.process.wait(timeout=10) == 0


@pytest.mark.parametrize("round_", range(3))
def test_no_confirmed_upload_is_lost_if_it_is_killed_at_any_moment(
    run: Callable[..., Process], client: httpx.Client, tmp_path: Path, round_: int
) -> None:
    process = run("--data", str(tmp_path))
    enough = threading.Semaphore(0)
    uploaders = [Uploader(process, f"thread{number}", enough) for number in range(4)]
    for uploader in uploaders:
        uploader.start()
    for _ in range(5 + 3 * round_):
        assert enough.acquire(timeout=20)
    process.stop(signal.SIGKILL)
    for uploader in uploaders:
        uploader.join()

    process = run("--data", str(tmp_path))
    stored = {image_id: number for uploader in uploaders for image_id, number in uploader.stored.items()}
    listed = {image["id"] for image in client.get(process.images() + "v2").json()["result"]["images"]}
    assert stored.keys() <= listed
    for image_id in listed:
        body = client.get(process.images() + f"v1/{image_id}/blob").content
        assert body == body_of(int(image_id.partition("-")[2]))
    kept = [path for path in (tmp_path / "images").rglob("*") if path.is_file()]
    assert len(kept) == len(listed)
