"""The page of figures: run benchmarks one after the other, keep what each has printed, and write the page.

``python3 dev.py bench --page``. Each run leaves a file in ``benchmarks/results/``: tables and comparisons,
when it ran, for how long, and on which machine with which versions. A run that was interrupted leaves
nothing, and the same command goes on with it. ``docs/figures.md`` has only what these files have.
"""

from __future__ import annotations

import ast
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from benchmarks.measure import COMPARISONS

ROOT = Path(__file__).parent.parent
RESULTS, PAGE = ROOT / "benchmarks/results", ROOT / "docs/figures.md"
_AS_FAST = 1.05  # a ratio up to here is noise
_PACKAGES = (
    *("django", "httpx", "pillow", "huey"),
    # What is compared, where it is installed:
    *("cloudflare", "cloudinary", "django-cloudflare-images", "django-cloudflareimages-toolkit"),
    *("django-storages", "imgix"),
)
Printed = Callable[[str], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A benchmark with arguments; ``minutes`` is how long it takes, about. Not ``wanted``: only by name."""

    words: str
    title: str
    minutes: float
    wanted: bool = True

    @property
    def benchmark(self) -> str:
        """The module in ``benchmarks``."""
        return self.words.split()[0]

    @property
    def file_name(self) -> str:
        """The name of the file with its result."""
        return f"{self.words.replace(' ', '')}.json"


RUNS = (  # in the order of the page
    Run(words="delivery_urls", title="URLs, signed URLs and tags", minutes=2),
    Run(words="saving", title="Saving images", minutes=2),
    Run(words="memory", title="Memory of uploads", minutes=0.5),
    Run(words="imports", title="Imports", minutes=0.5),
    Run(words="rendering", title="Rendering a local variant", minutes=0.5),
    Run(words="background", title="Background uploads: what they cost", minutes=3),
    Run(words="pending_view", title="The view of pending images", minutes=3),
    Run(words="browser_uploads", title="Uploads from browsers", minutes=2),
    Run(words="emulator", title="The emulator", minutes=1),
    Run(words="guest", title="Tasks of the site in the same queue", minutes=2),
    Run(words="consumers", title="Several workers", minutes=3),
    Run(words="draining", title="Draining a backlog", minutes=6),
    Run(words="draining --long", title="Draining a backlog at the documented rate", minutes=35),
    Run(words="draining --matrix", title="Draining: all combinations", minutes=40, wanted=False),
    Run(words="backlog", title="A backlog of a million rows", minutes=6),
    Run(words="faults", title="Two of five requests fail", minutes=10),
    Run(words="chaos", title="Killed workers", minutes=3),
    Run(words="chaos --long", title="Killed workers: 2,000 uploads", minutes=35, wanted=False),
    Run(words="transfers", title="Moving in", minutes=20),
    Run(words="transfers --rows 20000", title="Moving in: 20,000 rows", minutes=15, wanted=False),
    Run(words="transfers --memory --rows 100000", title="Moving in: 100,000 rows", minutes=20),
    Run(words="moving", title="Moving in while the API fails", minutes=13),
    Run(words="orphans", title="Orphans", minutes=6),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """``name`` takes ``ratio`` times as long, or as much, as ``rival`` in the same run."""

    name: str
    rival: str
    ratio: float
    peer: bool = True  # another package; else the least that could be done


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a run has left; ``carried`` says where figures come from that this command has not measured."""

    words: str
    title: str
    about: str
    date: str
    machine: str
    versions: dict[str, str]
    output: str
    seconds: float | None = None
    load: float | None = None  # of the machine, when it began
    comparisons: list[Comparison] = field(default_factory=list)
    carried: str = ""

    @classmethod
    def read(cls, path: Path) -> Result:
        """Return what a file says."""
        values = json.loads(path.read_text(encoding="utf-8"))
        return cls(**{**values, "comparisons": [Comparison(**found) for found in values["comparisons"]]})

    def write(self, folder: Path, name: str) -> None:
        """Write the file as a whole or not at all."""
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"
        with tempfile.NamedTemporaryFile("w", dir=folder, delete=False, encoding="utf-8") as file:
            file.write(text)
        Path(file.name).chmod(0o644)
        Path(file.name).replace(folder / name)


def results(folder: Path = RESULTS) -> list[Result]:
    """Return the results that are there, in the order of the page."""
    paths = [folder / run.file_name for run in RUNS]
    return [Result.read(path) for path in paths if path.exists()]


def chosen(names: Sequence[str] | None, folder: Path = RESULTS) -> list[Run]:
    """Return the named runs; without names, those that are wanted and have no result of this command.

    Raise ``ValueError`` for a name that is none.
    """
    if names is None:
        measured = {result.words for result in results(folder) if not result.carried}
        return [run for run in RUNS if run.wanted and run.words not in measured]
    known = {run.words: run for run in RUNS}
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"There is no run {', '.join(map(repr, unknown))}. Choose from {', '.join(known)}.")
    return [known[name] for name in dict.fromkeys(names)]


def minutes(runs: Iterable[Run], folder: Path = RESULTS) -> float:
    """Return how long the runs take, as the last time, else as estimated."""
    last = {result.words: result.seconds / 60 for result in results(folder) if result.seconds}
    return sum(last.get(run.words, run.minutes) for run in runs)


def make(
    runs: Sequence[Run], *, folder: Path = RESULTS, page: Path = PAGE, say: Printed = print
) -> list[str]:
    """Make the runs, and write the page after each of them; return those that have failed."""
    failed = []
    for number, run in enumerate(runs, 1):
        left = minutes(runs[number - 1 :], folder)
        say(f"\n== {number} of {len(runs)}: {run.words}; about {max(left, 1):.0f} min are left\n")
        result = measured(run, say=say)
        if result is None:
            failed.append(run.words)
            continue
        result.write(folder, run.file_name)
        write_page(folder=folder, page=page)
    write_page(folder=folder, page=page)
    return failed


def write_page(*, folder: Path = RESULTS, page: Path = PAGE) -> None:
    """Write the page of all results."""
    page.write_text(page_of(results(folder)), encoding="utf-8")


def measured(run: Run, *, say: Printed = print) -> Result | None:
    """Run a benchmark in a process of its own; return what it has printed, or ``None`` if it fails."""
    load, began = os.getloadavg()[0], time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        comparisons = Path(folder, "comparisons")
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "benchmarks.settings",
            COMPARISONS: str(comparisons),
        }
        command = [sys.executable, "-c", f"from benchmarks.{run.benchmark} import main; main()"]
        process = subprocess.Popen(
            [*command, *run.words.split()[1:]],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        lines = []
        with process:
            for line in process.stdout or ():
                say(line.rstrip("\n"))
                lines.append(line)
        if process.returncode:
            return None
        found = comparisons.read_text(encoding="utf-8").splitlines() if comparisons.exists() else []
    return Result(
        words=run.words,
        title=run.title,
        about=about(run.benchmark),
        date=datetime.now(UTC).date().isoformat(),
        machine=machine(),
        versions=versions(),
        output="".join(lines).strip(),
        seconds=round(time.monotonic() - began, 1),
        load=round(load, 1),
        comparisons=[Comparison(**json.loads(line)) for line in found],
    )


def about(benchmark: str) -> str:
    """Return the docstring of a benchmark: what it measures, and how."""
    source = (ROOT / "benchmarks" / f"{benchmark}.py").read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(source)) or "").replace("``", "`")


def machine() -> str:
    """Return the processor, its cores, the memory and the system."""
    found = {"model name": platform.machine(), "MemTotal": ""}
    for path in ("/proc/cpuinfo", "/proc/meminfo"):
        if os.path.exists(path):
            for line in Path(path).read_text(encoding="utf-8").splitlines():
                key, _, value = line.partition(":")
                if key.strip() in found:
                    found[key.strip()] = " ".join(value.split())
    memory = re.match(r"\d+", found["MemTotal"])
    gigabytes = f"{int(memory[0]) / 1024**2:.0f} GB" if memory else ""
    return ", ".join(
        filter(None, [found["model name"], f"{os.cpu_count()} cores", gigabytes, platform.system()])
    )


def versions() -> dict[str, str]:
    """Return the versions of Python, of what the package uses, of what is compared, and of the servers."""
    from tests.chaos import servers  # its drivers are not needed to write the page

    found = {"Python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {**found, **servers.versions()}


# The page


def page_of(found: Sequence[Result]) -> str:
    """Return the page: what is slower than another, then the rest of the comparisons, then the tables."""
    machines = list(dict.fromkeys(_machine_line(result) for result in found if not result.carried))
    compared = [(comparison, result) for result in found for comparison in result.comparisons]
    slower = [each for each in compared if each[0].ratio > _AS_FAST]
    others = [each for each in compared if each[0].ratio <= _AS_FAST]
    slower.sort(key=lambda each: (not each[0].peer, -each[0].ratio))
    parts = [
        _HEAD.format(machines=_listed(machines)),
        "## What is slower than something else",
        _SLOWER,
        _comparisons(slower),
        "## What is as fast, or faster",
        _comparisons(others),
        *(_section(result, machines) for result in found),
    ]
    return "\n\n".join(parts) + "\n"


_HEAD = """# Figures

This page says how fast django-cf-images is, beside other packages in the same run, and how that was
measured.

`python3 dev.py bench --page` writes this page from what the benchmarks have printed (`benchmarks/results/`).
Compare ratios rather than milliseconds: your machine is another one.

{machines}"""
_SLOWER = """The ratio says how much longer it takes, or how much more memory. What is called *bare* is no
package: it is the least that could be done, and keeps no promise. Other packages come first."""
_NOTHING = "Nothing that was compared."


def _comparisons(found: Iterable[tuple[Comparison, Result]]) -> str:
    rows = []
    for one, result in found:
        kind = "another package" if one.peer else "bare"
        rows.append((one.name, one.rival, f"{one.ratio:.2f} ×", kind, f"`{result.words}`"))
    return _table(("what", "compared with", "ratio", "which is", "benchmark"), rows) if rows else _NOTHING


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines)


def _listed(machines: Sequence[str]) -> str:
    if not machines:
        return "No benchmark has been run by this command yet: all figures are carried over."
    if len(machines) == 1:
        return f"Machine and versions: {machines[0]}."
    numbered = [f"{number}. {line}" for number, line in enumerate(machines, 1)]
    return "\n".join(["Machines and versions:", "", *numbered])


def _machine_line(result: Result) -> str:
    return ", ".join([result.machine, *(f"{name} {version}" for name, version in result.versions.items())])


def _section(result: Result, machines: Sequence[str]) -> str:
    facts = [result.date]
    if result.carried:
        facts.append(f"**carried over**: {result.carried}")
    elif len(machines) > 1:
        facts.append(f"machine {machines.index(_machine_line(result)) + 1}")
    if result.seconds is not None:
        facts.append(f"took {_duration(result.seconds)}")
    if result.load is not None:
        facts.append(f"load of the machine before: {result.load:g}")
    command = f"```sh\npython3 dev.py bench {result.words}\n```"
    parts = [f"## {result.title}", result.about, command, f"Measured: {'; '.join(facts)}.", result.output]
    return "\n\n".join(filter(None, parts))


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def describe(runs: Sequence[Run], folder: Path = RESULTS) -> str:
    """Return a line for each run with its estimate, and their sum."""
    lines = [f"  {minutes([run], folder):5.1f} min  {run.words}" for run in runs]
    return "\n".join([*lines, f"  {minutes(runs, folder):5.1f} min  in all"])
