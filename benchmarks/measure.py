"""What the benchmarks share: measuring, tables, and an emulator in another process."""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import statistics
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

COMPARISONS = "BENCHMARKS_COMPARISONS"  # the variable that names the file for the page of figures


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a Markdown table, ready for the page of figures."""
    for row in (head, ["---"] * len(head), *rows):
        print("| " + " | ".join(str(cell).replace("|", r"\|") for cell in row) + " |")


def compared(name: str, rival: str, ratio: float, *, peer: bool = True) -> None:
    """Tell the page of figures that ``name`` takes ``ratio`` times as long, or as much, as ``rival``.

    Not a ``peer`` is what no package offers: the least that could be done.
    """
    if path := os.environ.get(COMPARISONS):
        line = json.dumps({"name": name, "rival": rival, "ratio": round(ratio, 2), "peer": peer})
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")


def per_call(run: Callable[[], object], *, number: int, rounds: int = 5) -> float:
    """Return the seconds of one call of ``run``: the median of ``rounds`` means of ``number`` calls."""

    def once() -> float:
        began = time.perf_counter()
        for _ in range(number):
            run()
        return (time.perf_counter() - began) / number

    return statistics.median(once() for _ in range(rounds))


def public_names(count: int) -> list[str]:
    """Return different names of public images; the time in them, ``t9f2k0``, is in January 2026."""
    return [f"avatars/jane-t9f2k0-{uuid.uuid4().hex[:16]}.jpg" for _ in range(count)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One row or more of a comparison: ``run`` is called once with each of ``inputs``.

    What it returns for the first of them must contain ``expected``, so that no mistake is measured.
    ``targets`` maps the name of another operation to the largest ratio to it that is wanted, or to ``None``
    if its ratio is only printed. ``is_bare``: it is no package's, but the least that could be done.
    """

    name: str
    run: Callable[[Any], object]
    inputs: Sequence[Any]
    expected: str = ""
    targets: Mapping[str, float | None] = field(default_factory=dict)
    is_bare: bool = False


def compare(operations: Iterable[Operation], *, rounds: int, unit: str = "µs") -> None:
    """Measure the operations in turns and print their CPU time, their ratios, and whether targets are met.

    Each round takes the next slice of every operation's inputs, and every other round runs backwards. Ratios
    are taken within a round, so that a slow moment of the machine strikes both sides. Figures are medians.
    """
    operations = list(operations)
    for operation in operations:
        output = operation.run(operation.inputs[0])
        if operation.expected not in str(output):
            raise RuntimeError(f"{operation.name} returned {output!r}, without {operation.expected!r}.")
    seconds = _seconds_of_calls(operations, rounds)
    factor = {"µs": 1e6, "ms": 1e3}[unit]
    bare = {operation.name for operation in operations if operation.is_bare}
    rows = []
    for operation in operations:
        figure = f"{statistics.median(seconds[operation.name]) * factor:.2f}"
        # A rival may not be installed.
        targets = {rival: target for rival, target in operation.targets.items() if rival in seconds}
        if not targets:
            rows.append((operation.name, figure, "", "", "", ""))
        for rival, target in targets.items():
            ratio = _ratio(seconds[operation.name], seconds[rival])
            compared(operation.name, rival, ratio, peer=rival not in bare)
            rows.append((operation.name, figure, rival, f"{ratio:.2f}", *_verdict(ratio, target)))
    table(("operation", f"{unit} of CPU", "compared with", "ratio", "target", "met?"), rows)


def _seconds_of_calls(operations: Sequence[Operation], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of one call of each operation, a figure for each round."""
    seconds: dict[str, list[float]] = {operation.name: [] for operation in operations}
    gc.collect()
    gc.freeze()  # the prepared inputs are no part of what the collector has to look at in a site
    for number in range(rounds):
        for operation in operations[:: -1 if number % 2 else 1]:
            inputs = operation.inputs[number::rounds]
            run = operation.run
            began = time.process_time()
            for value in inputs:
                run(value)
            seconds[operation.name].append((time.process_time() - began) / len(inputs))
    gc.unfreeze()
    return seconds


def _ratio(seconds: Sequence[float], others: Sequence[float]) -> float:
    return statistics.median(one / other for one, other in zip(seconds, others, strict=True))


def _verdict(ratio: float, target: float | None) -> tuple[str, str]:
    return ("", "") if target is None else (f"≤ {target:g}", "yes" if ratio <= target else "no")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningEmulator:
    """An emulator in another process, so that it does not share the interpreter lock."""

    api_url: str
    delivery_url: str
    pipe: Connection

    def reset(self, *, latency: float = 0, connect_latency: float = 0) -> None:
        """Forget images and counters; delay each request and each new connection by so many seconds."""
        self._ask("reset", latency, connect_latency)

    def connections(self) -> int:
        """Return the number of TCP connections accepted since ``reset``."""
        return self._ask("connections")

    def _ask(self, *question: object) -> int:
        self.pipe.send(question)
        return int(self.pipe.recv())


@contextmanager
def emulator() -> Iterator[RunningEmulator]:
    """Start an emulator, without delays."""
    context = multiprocessing.get_context("spawn")
    pipe, other_end = context.Pipe()
    process = context.Process(target=_serve, args=(other_end,), daemon=True)
    process.start()
    try:
        api_url, delivery_url = pipe.recv()
        yield RunningEmulator(api_url=api_url, delivery_url=delivery_url, pipe=pipe)
    finally:
        pipe.send(("stop",))
        process.join(10)
        process.kill()


def _serve(pipe: Connection) -> None:
    from benchmarks import settings
    from cf_images.emulator import Emulator

    with Emulator(
        account_id=settings.CF_ACCT_ID, token=settings.CF_IMG_TOKEN, account_hash=settings.CF_IMG_HASH
    ) as emulator:
        pipe.send((emulator.api_url, emulator.delivery_url))
        while (question := pipe.recv())[0] != "stop":
            if question[0] == "reset":
                emulator.reset()
                _, emulator.latency, emulator.connect_latency = question
            pipe.send(emulator.connections)
