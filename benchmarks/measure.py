"""What the benchmarks share: tables, pictures, and an emulator in a process of its own."""

from __future__ import annotations

import io
import multiprocessing
import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from PIL import Image


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a Markdown table, ready for the README."""
    for row in (head, ["---"] * len(head), *rows):
        print("| " + " | ".join(str(cell) for cell in row) + " |")


def jpeg(width: int, height: int, *, at_least: int = 0, seed: int = 1) -> bytes:
    """A photo-like JPEG, padded behind its end to ``at_least`` bytes."""
    noise = random.Random(seed).randbytes(64 * 64 * 3)
    picture = Image.frombytes("RGB", (64, 64), noise).resize((width, height), Image.Resampling.BICUBIC)
    body = io.BytesIO()
    picture.save(body, "JPEG", quality=80)
    return body.getvalue().ljust(at_least, b"\0")


def best(run: Callable[[], object], *, number: int, rounds: int = 5) -> float:
    """Seconds for one call of ``run``: the median of ``rounds`` times the mean of ``number`` calls."""

    def once() -> float:
        began = time.perf_counter()
        for _ in range(number):
            run()
        return (time.perf_counter() - began) / number

    return statistics.median(once() for _ in range(rounds))


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningEmulator:
    """An emulator in another process, so that it does not share our interpreter lock."""

    api_url: str
    delivery_url: str
    ask: Callable[[str], Any]

    def reset(self) -> None:
        """Forget images and counters."""
        self.ask("reset")

    def connections(self) -> int:
        """TCP connections accepted since ``reset``."""
        return int(self.ask("connections"))


@contextmanager
def emulator(*, latency: float = 0.0, connect_latency: float = 0.0) -> Iterator[RunningEmulator]:
    """Start one; ``latency`` in seconds for each request, ``connect_latency`` for each new connection."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, latency, connect_latency), daemon=True)
    process.start()

    def ask(question: str) -> Any:
        ours.send(question)
        return ours.recv()

    try:
        api_url, delivery_url = ours.recv()
        yield RunningEmulator(api_url=api_url, delivery_url=delivery_url, ask=ask)
    finally:
        ours.send("stop")
        process.join(10)
        process.kill()


def _serve(pipe: Connection, latency: float, connect_latency: float) -> None:
    from benchmarks import settings
    from cf_images.emulator import Emulator

    with Emulator(
        account_id=settings.CF_ACCT_ID, token=settings.CF_IMG_TOKEN, account_hash=settings.CF_IMG_HASH
    ) as emulator:
        emulator.latency, emulator.connect_latency = latency, connect_latency
        pipe.send((emulator.api_url, emulator.delivery_url))
        while (question := pipe.recv()) != "stop":
            if question == "reset":
                emulator.reset()
                emulator.latency, emulator.connect_latency = latency, connect_latency
            pipe.send(emulator.connections)
