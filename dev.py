"""The workshop in one file: sets up ``.venv`` when it has to, then does one thing in it.

    python3 dev.py run [--once]      the example project (--once: try it out and leave)
    python3 dev.py test              all tests, with branch coverage
    python3 dev.py test ARGS         pytest with these arguments, e.g. tests/test_naming.py -k stem
    python3 dev.py check             ruff, mypy, and whether a migration is missing
    python3 dev.py bench [ARGS]      the benchmarks

Paths in the arguments start at the folder of this file, wherever the command is typed.
Needs Python 3.11 or newer and nothing else.
"""

# Python 3.6 must get as far as the message in main(): no newer syntax, no ``annotations`` from the future.

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
STAMP = VENV / "dev-stamp"  # says which extra of which pyproject.toml is installed
UNFINISHED = "unfinished"
EXTRAS = ("emulator", "test", "bench", "dev")  # each contains the one before
COMMANDS = {"run": "emulator", "test": "test", "check": "dev", "bench": "bench"}

# What a caller's shell may have set that would bring foreign code or settings in here, or lead pip out.
FOREIGN = ("PYTHONPATH", "PYTHONHOME", "PYTHONSAFEPATH", "DJANGO_SETTINGS_MODULE", "PIP_USER", "PIP_TARGET")

# A worker has a database and an emulator of its own; more than four only wait for each other.
COVERAGE = ("-n", "auto", "--maxprocesses", "4", "--cov", "--cov-report", "term", "--cov-fail-under", "95")
CHECKS = {
    "ruff check": ("-m", "ruff", "check", "."),
    "ruff format": ("-m", "ruff", "format", "--check", "."),
    "mypy": ("-m", "mypy"),
    "makemigrations": (
        *("-m", "django", "makemigrations", "cf_images", "--check", "--dry-run"),
        *("--settings", "tests.settings"),
    ),
}


def main() -> None:
    """Read the command, set up what it needs, and run it."""
    if sys.version_info < (3, 11):  # noqa: UP036 - only an older interpreter ever sees this
        sys.exit(f"dev.py: needs Python 3.11 or newer; {sys.executable} is {sys.version.split()[0]}")
    command, arguments = (sys.argv[1:2] or [""])[0], sys.argv[2:]
    if command not in COMMANDS:
        print(__doc__)
        sys.exit(0 if command in ("-h", "--help") else 2)
    set_up(COMMANDS[command])
    if command == "run":
        become("-m", "example_project", *arguments)
    if command == "bench":
        become("-m", "benchmarks", *arguments)
    if command == "test":
        become("-m", "pytest", *(arguments or COVERAGE))
    check()


def check() -> None:
    """Run every check, then say which failed."""
    failed = []
    for name, arguments in CHECKS.items():
        print(f"== {name}", flush=True)  # before what the other process writes
        if call(PYTHON, *arguments):
            failed.append(name)
    sys.exit("dev.py: failed: " + ", ".join(failed) if failed else 0)


def set_up(extra: str) -> None:
    """See to it that ``.venv`` has the package, editable, with this extra of today's pyproject.toml."""
    larger = EXTRAS[EXTRAS.index(extra) :]
    if PYTHON.exists() and stamp() in [f"{name} {fingerprint()}" for name in larger]:
        return
    print(f"dev.py: setting up .venv with [{extra}]; the first time takes a minute or two", flush=True)
    if not usable():
        create()
    STAMP.write_text(UNFINISHED)
    if call(PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-e", f".[{extra}]"):
        sys.exit("dev.py: .venv could not be set up, see above; the same command tries again")
    STAMP.write_text(f"{extra} {fingerprint()}")


def stamp() -> str:
    """What the last setup left behind."""
    return STAMP.read_text() if STAMP.exists() else ""


def fingerprint() -> str:
    """What an installation depends on: the build file, the interpreter, and where the clone lies."""
    build_file = (ROOT / "pyproject.toml").read_bytes()
    return hashlib.sha256(build_file + f"{sys.implementation.cache_tag} {ROOT}".encode()).hexdigest()


def usable() -> bool:
    """Whether ``.venv`` is whole and has an interpreter like this one; if so, pip can bring it up to date."""
    if not PYTHON.exists() or stamp() == UNFINISHED:
        return False
    probe = "import pip, sys; print(sys.implementation.cache_tag)"
    found = subprocess.run([str(PYTHON), "-c", probe], env=environment(), stdout=subprocess.PIPE, check=False)
    return found.stdout.decode().strip() == sys.implementation.cache_tag


def create() -> None:
    """Make a new ``.venv``, stamped as unfinished before the first step, so that an interruption shows."""
    try:
        import ensurepip  # noqa: F401 - the half that Debian leaves out
        import venv
    except ImportError as error:
        sys.exit(
            f"dev.py: {sys.executable} cannot make virtual environments: no module {error.name}.\n"
            "On Debian and Ubuntu: apt install python3-venv"
        )
    shutil.rmtree(str(VENV), ignore_errors=True)
    VENV.mkdir()
    STAMP.write_text(UNFINISHED)
    venv.create(str(VENV), symlinks=os.name != "nt", with_pip=True)


def call(*command: object) -> int:
    """Run a process to its end, in the root folder; its exit status."""
    return subprocess.call([str(part) for part in command], cwd=str(ROOT), env=environment())


def become(*arguments: str) -> None:
    """Hand over to the Python of ``.venv``: signals and the exit status are its own from here on."""
    command = [str(PYTHON), *arguments]
    os.chdir(str(ROOT))
    if os.name != "nt":  # where exec would return to the shell at once and leave the child behind
        os.execve(command[0], command, environment())  # noqa: S606 - no shell is wanted
    with subprocess.Popen(command, env=environment()) as child:
        while child.poll() is None:
            try:
                child.wait()
            except KeyboardInterrupt:  # the child got it, too, and decides when it is done
                continue
    sys.exit(child.returncode)


def environment() -> "dict[str, str]":
    """The caller's environment as if ``.venv`` were activated, without what leads out of it."""
    kept = {key: value for key, value in os.environ.items() if key not in FOREIGN}
    path = os.pathsep.join([str(PYTHON.parent), kept.get("PATH", os.defpath)])
    return {**kept, "VIRTUAL_ENV": str(VENV), "PATH": path}


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"dev.py: {error}")
