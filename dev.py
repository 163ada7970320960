"""Development commands; each sets up ``.venv`` first if necessary.

    python3 dev.py run [--once]      the example project (--once: on free ports, try it out and exit)
    python3 dev.py run --once --screenshots FOLDER
                                     the same, and take the screenshots of the README: needs Chromium
    python3 dev.py test              all tests, one representative of each matrix
    python3 dev.py test --coverage   the same with branch coverage, which takes longer
    python3 dev.py test ARGS         pytest with these arguments, e.g. tests/images/test_names.py -k stem
    python3 dev.py test --all        all tests with coverage, Django's own in all modes, all of tox: hours
    python3 dev.py django-tests [MODE …]
                                     Django's own tests of files with the storages of this package
    python3 dev.py check             ruff, mypy, codespell, and whether a migration is missing
    python3 dev.py docs              the documentation as HTML; every warning is an error
    python3 dev.py translations [LANGUAGE …]
                                     update and compile the catalogs; LANGUAGE adds one
    python3 dev.py bench [ARGS]      the benchmarks
    python3 dev.py lock [--upgrade]  write requirements/*.txt anew, after a change of pyproject.toml
                                     (--upgrade: with the newest versions)
    python3 dev.py audit             whether a locked version has a known vulnerability
    python3 dev.py release --rehearse [--tag TAG]
                                     build a release and try it out, but publish nothing

Paths in the arguments are relative to the folder of this file. Needs Python 3.11 or newer and nothing else.
"""

# Python 3.6 must get as far as the message in main(): no newer syntax, no ``annotations`` from the future.

import contextlib
import hashlib
import os
import runpy
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
STAMP = VENV / "dev-stamp"  # says which setup is installed, and from which files
UNFINISHED = "unfinished"
REQUIREMENTS = ROOT / "requirements"  # NAME.txt pins a setup: see ``maintenance.lock``
# What .venv may hold: extras and dependency groups of pyproject.toml. Each contains the one before.
SETUPS = {
    "run": (("emulator",), ("install", "example")),
    "dev": (("emulator", "heic", "prometheus"), ("dev",)),
}
COMMANDS = {
    "run": "run",
    "test": "dev",
    "django-tests": "dev",
    "check": "dev",
    "docs": "dev",
    "translations": "dev",
    "bench": "dev",
    "lock": "dev",
    "audit": "dev",
    "release": "dev",
}
# Commands that another module carries out
MODULES = {
    "bench": "benchmarks",
    "django-tests": "tests.django_suite",
    "translations": "tests.translations",
    "lock": "maintenance.lock",
    "audit": "maintenance.audit",
    "release": "maintenance.release",
}

# Variables that would bring in other code or settings, or send pip elsewhere.
FOREIGN = ("PYTHONPATH", "PYTHONHOME", "PYTHONSAFEPATH", "DJANGO_SETTINGS_MODULE", "PIP_USER", "PIP_TARGET")

PIP = ("--quiet", "--disable-pip-version-check")
# Each worker has its own database and emulator; more than three only slow each other down.
TOGETHER = ("-n", "3")  # also on two cores: many tests wait for other processes
COVERAGE = ("--cov", "--cov-report", "term", "--cov-fail-under", "95")
ONE_OF_EACH = ("-m", "not every")  # one representative of each matrix
ALL_TESTS = {
    "pytest": ("-m", "pytest", *TOGETHER, *COVERAGE),
    "django-tests": ("-m", "tests.django_suite"),
    "tox": ("-m", "tox", "run"),
}
SKIPPED = 77  # the status of what could not run, for example without a network
SPELLED = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs", "cf_images", "example_project", "dev.py")
CHECKS = {
    "ruff check": ("-m", "ruff", "check", "."),
    "ruff format": ("-m", "ruff", "format", "--check", "."),
    "mypy": ("-m", "mypy"),
    "codespell": ("-m", "codespell_lib", *SPELLED),
    "makemigrations": (
        *("-m", "django", "makemigrations", "cf_images", "--check", "--dry-run"),
        *("--settings", "tests.settings"),
    ),
}


# The example: where images go, by the environment.
EXAMPLE = ROOT / "example_project"
HOST, SITE_PORT, EMULATOR_PORT = "127.0.0.1", 8000, 8787
LOCAL, CLOUDFLARE, EMULATOR = "local", "cloudflare", "emulator"
PLACES = {
    LOCAL: "Images stay on this machine (ENV_NAME=dev).",
    CLOUDFLARE: "Images go to Cloudflare, as its three credentials are set. Create the named variants once:\n"
    "  ENV_NAME=production .venv/bin/python example_project/manage.py cf_images variants --apply",
    EMULATOR: "Images go to an emulator of Cloudflare on this machine.",
}
CREDENTIALS = (("CF_ACCT_ID", "CF_ACCOUNT_ID"), ("CF_IMG_TOKEN", "CF_API_TOKEN"), ("CF_IMG_HASH",))
EMULATED = {
    "CF_ACCT_ID": "0123456789abcdef0123456789abcdef",
    "CF_IMG_TOKEN": "opens-only-the-emulator-of-this-example",
    "CF_IMG_HASH": "ExampleAccountHash",
}
GRACE = 15  # seconds for a process to end; the worker finishes a running upload first
POLL = 0.1  # seconds


class ExampleError(Exception):
    """The example cannot run; the message says why."""


def main() -> None:
    """Read the command, set up what it needs, and run it."""
    if sys.version_info < (3, 11):  # noqa: UP036 - only an older interpreter ever sees this
        sys.exit(f"dev.py: needs Python 3.11 or newer; {sys.executable} is {sys.version.split()[0]}")
    command, arguments = (sys.argv[1:2] or [""])[0], sys.argv[2:]
    if command not in COMMANDS or (command == "run" and not is_run(arguments)):
        print(__doc__)
        sys.exit(0 if sys.argv[-1] in ("-h", "--help") else 2)
    is_all = command == "test" and arguments == ["--all"]
    set_up(COMMANDS[command])
    if command == "run":
        sys.exit(run(once=bool(arguments), screenshots="".join(arguments[2:])))
    if command == "docs":
        sys.exit(docs())
    if command in MODULES:
        become("-m", MODULES[command], *arguments)
    if command == "test" and not is_all:
        become("-m", "pytest", *pytest_arguments(arguments))
    run_each(ALL_TESTS if is_all else CHECKS)


def pytest_arguments(arguments: "list[str]") -> "tuple[str, ...]":
    """Return what ``test`` gives to pytest: all tests, unless a person chooses."""
    if arguments and arguments != ["--coverage"]:
        return tuple(arguments)
    return (*TOGETHER, *ONE_OF_EACH, *(COVERAGE if arguments else ()))


def is_run(arguments: "list[str]") -> bool:
    """Return whether ``run`` takes these arguments."""
    is_with_screenshots = len(arguments) == 3 and arguments[:2] == ["--once", "--screenshots"]
    return arguments in ([], ["--once"]) or is_with_screenshots


def run_each(commands: "dict[str, tuple[str, ...]]") -> None:
    """Run every command, then say which were skipped and which failed."""
    ended = {}
    for name, arguments in commands.items():
        print(f"== {name}", flush=True)  # before what the other process writes
        ended[name] = call(PYTHON, *arguments)
    skipped = [name for name, status in ended.items() if status == SKIPPED]
    failed = [name for name, status in ended.items() if status not in (0, SKIPPED)]
    if skipped:
        print("dev.py: skipped: " + ", ".join(skipped))
    sys.exit("dev.py: failed: " + ", ".join(failed) if failed else 0)


def docs() -> int:
    """Build the documentation and print where it begins; return the exit status."""
    source, target = ROOT / "docs", ROOT / "docs/_build"
    strict = ("-W", "--keep-going", "-n", "-q")
    status = call(PYTHON, "-m", "sphinx", *strict, "-d", target / "doctrees", source, target / "html")
    if not status:
        print(target / "html/index.html")
    return status


def run(*, once: bool, screenshots: str = "") -> int:
    """Run the example project until Ctrl-C, or try it out ``once``; return the exit status.

    ``screenshots`` is the folder for them; without one, none are taken.
    """
    if fcntl is None:
        raise ExampleError("the example needs Linux, macOS or WSL")
    sys.stdout.reconfigure(line_buffering=True)  # for whatever reads the URL from a pipe or a file
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    place = LOCAL if os.environ.get("ENV_NAME") == "dev" else CLOUDFLARE
    if place == CLOUDFLARE and not all(any(map(os.environ.get, names)) for names in CREDENTIALS):
        place = EMULATOR
    print(PLACES[place])
    if once:
        with tempfile.TemporaryDirectory(prefix="cf-images-example-") as folder:
            return serve(place, Path(folder), once=True, screenshots=screenshots)
    folder = EXAMPLE / "var" / place
    with locked(folder):
        return serve(place, folder, once=False)


def serve(place: str, folder: Path, *, once: bool, screenshots: str = "") -> int:
    """Start all processes, then stay or try them out, and stop them in any case."""
    site = f"http://{HOST}:{free_port(0 if once else SITE_PORT)}"
    emulator = f"http://{HOST}:{emulator_port(folder, once=once)}" if place == EMULATOR else ""
    processes = Processes(folder, example_environment(folder, emulator, site))
    try:
        start(processes, site, emulator)
        print(f"\nOpen     {site}/\nGallery  {site}/gallery/")
        print(f"Admin    {site}/admin/  (user demo, password demo)")
        if not once:
            return stay(processes, site, emulator)
        status = processes.call("-m", "tests.smoke", site)
        if screenshots and not status:
            status = processes.call("-m", "tests.screenshots", site, screenshots)
        if status:
            print(processes.logs(), file=sys.stderr)
        return status
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # stopping is not interrupted
        processes.stop()


def start(processes: "Processes", site: str, emulator: str) -> None:
    """Start emulator, site and worker, and fill the database."""
    if emulator:
        port, data = emulator.rpartition(":")[2], str(processes.folder / "images")
        processes.start("emulator", "cf_images.emulator", "--port", port, "--data", data)
        processes.wait_for("emulator", lambda: responds(emulator))
        print(f"Emulator of Cloudflare: {emulator}/")
        processes.manage("cf_images", "variants", "--apply")
    processes.manage("migrate", "--verbosity", "0")
    processes.manage("demo")
    processes.start("site", "manage", "runserver", "--noreload", site.partition("//")[2])
    processes.start("worker", "manage", "run_huey", "-k", "thread", "-g", "TERM", "-t", "55")
    processes.wait_for("site", lambda: responds(site))
    processes.wait_for("worker", lambda: "consumer started" in processes.log("worker").read_text())
    print(f"Site and worker are running; logs: {processes.folder}")


def stay(processes: "Processes", site: str, emulator: str) -> int:
    """Say what to try, and stay until Ctrl-C."""
    (processes.folder / "url").write_text(f"{site}/")
    if emulator:
        print("Try      Upload pictures, also while Cloudflare is down: a button on each page takes it down")
        print("         and brings it back.")
    print("Stop     Ctrl-C")
    try:
        while True:
            processes.check()
            time.sleep(POLL)
    except KeyboardInterrupt:
        print("\nStopping …")
    return 0


class Processes:
    """The processes of the example, each with a log in ``folder``."""

    def __init__(self, folder: Path, env: "dict[str, str]") -> None:
        self.folder = folder
        self.env = env
        self.running = {}  # type: dict[str, subprocess.Popen[bytes]]

    def start(self, name: str, *command: str) -> None:
        """Start a module, in a session of its own: Ctrl-C reaches dev.py alone, which stops all in order."""
        with self.log(name).open("wb") as log:
            self.running[name] = subprocess.Popen(
                [str(PYTHON), "-c", "import dev; dev.run_module()", *command],
                cwd=str(ROOT),
                env=self.env,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def call(self, *arguments: str, **options: object) -> int:
        """Run Python to its end; return the exit status."""
        return subprocess.call([str(PYTHON), *arguments], cwd=str(ROOT), env=self.env, **options)

    def manage(self, *arguments: str) -> None:
        """Run a command of manage.py; ``ExampleError`` if it fails."""
        with self.log("manage").open("wb") as log:
            status = self.call("-m", "manage", *arguments, stdout=log, stderr=subprocess.STDOUT)
        if status:
            raise ExampleError(f"manage.py {arguments[0]} has failed. {self.end_of('manage')}")

    def check(self) -> None:
        """Raise ``ExampleError`` if a process has ended."""
        for name, process in self.running.items():
            status = process.poll()
            if status is not None:
                how = f"killed by signal {-status}" if status < 0 else f"exit status {status}"
                raise ExampleError(f"The {name} has ended ({how}). {self.end_of(name)}")

    def wait_for(self, name: str, is_ready: "Callable[[], bool]", *, seconds: float = 30) -> None:
        """Return when ``is_ready``; ``ExampleError`` after ``seconds``, or if a process has ended."""
        deadline = time.monotonic() + seconds
        while not is_ready():
            self.check()
            if time.monotonic() > deadline:
                raise ExampleError(f"The {name} did not start in {seconds:g} seconds. {self.end_of(name)}")
            time.sleep(POLL)

    def stop(self) -> None:
        """Stop all, the last one first: the worker may still need the emulator."""
        for process in reversed(list(self.running.values())):
            process.terminate()
            try:
                process.wait(GRACE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdin.close()

    def log(self, name: str) -> Path:
        """Return the path of a log."""
        return self.folder / f"{name}.log"

    def end_of(self, name: str) -> str:
        """Return the last lines of a log, with a heading."""
        lines = self.log(name).read_text(errors="replace").splitlines()[-15:]
        return "\n    ".join([f"The end of {self.log(name)}:", *lines])

    def logs(self) -> str:
        """Return the last lines of all logs."""
        return "\n".join(map(self.end_of, self.running))


def run_module() -> None:
    """Run the module named in the arguments, and end when the process at the other end of stdin has gone."""

    def end_with_parent() -> None:
        while os.read(0, 1024):  # nothing is ever written; the pipe ends with the parent, also after kill -9
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=end_with_parent, daemon=True).start()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


def example_environment(folder: Path, emulator: str, site: str = "") -> "dict[str, str]":
    """Return the environment of the processes."""
    env = environment()
    no_proxy = ",".join(filter(None, [env.get("NO_PROXY") or env.get("no_proxy"), HOST]))
    return {
        **env,
        "ENV_NAME": env.get("ENV_NAME") or "demo",
        "EMULATOR_URL": emulator,
        "SITE_URL": site,
        "EXAMPLE_STATE": str(folder),
        "NO_PROXY": no_proxy,
        "no_proxy": no_proxy,
        "PYTHONPATH": str(EXAMPLE),  # where manage.py and the apps are
        "PYTHONUNBUFFERED": "1",
        **(EMULATED if emulator else {}),
    }


def responds(url: str) -> bool:
    """Return whether a server on this machine responds, with any status below 500."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(url, timeout=10):
            return True
    except urllib.error.HTTPError as error:
        return error.code < 500
    except OSError:
        return False


def free_port(wanted: int) -> int:
    """Return ``wanted`` if it is free, else another free port, and say so."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port that was just released is free
        try:
            probe.bind((HOST, wanted))
        except OSError:
            port = free_port(0)
            print(f"Port {wanted} is taken: using {port}.")
            return port
        return probe.getsockname()[1]


def emulator_port(folder: Path, *, once: bool) -> int:
    """Return a free port: if possible that of the last run, as pending uploads belong to an account there."""
    kept = folder / "emulator-port"
    port = free_port(0 if once else int(kept.read_text()) if kept.exists() else EMULATOR_PORT)
    kept.write_text(str(port))
    return port


@contextlib.contextmanager
def locked(folder: Path) -> "Iterator[None]":
    """Lock ``folder``, or raise ``ExampleError`` with the URL of the example that runs in it."""
    folder.mkdir(parents=True, exist_ok=True)
    url = folder / "url"
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            where = url.read_text() if url.exists() else "a URL that it is about to print"
            raise ExampleError(
                f"The example is already running, at {where}. Use that one, stop it with Ctrl-C where it was "
                "started, or run another one with --once."
            ) from None
        with contextlib.suppress(FileNotFoundError):
            url.unlink()
        yield


def interrupt(*_: object) -> None:
    """Handle a signal as Ctrl-C."""
    raise KeyboardInterrupt


def set_up(name: str) -> None:
    """Install a setup into ``.venv``, in the locked versions, unless it is up to date."""
    larger = list(SETUPS)[list(SETUPS).index(name) :]
    if PYTHON.exists() and stamp() in [f"{each} {fingerprint(each)}" for each in larger]:
        return
    print(f"dev.py: setting up .venv for {name!r}; the first time takes a minute or two", flush=True)
    if not usable():
        create()
    STAMP.write_text(UNFINISHED)
    if any(call(PYTHON, "-m", "pip", "install", *PIP, *arguments) for arguments in installations(name)):
        sys.exit("dev.py: .venv could not be set up, see above; the same command tries again")
    STAMP.write_text(f"{name} {fingerprint(name)}")


def installations(name: str) -> "Iterator[tuple[object, ...]]":
    """Yield the arguments of pip: the locked packages, which include pip itself, then this one.

    The second installs what the lock lacks, too, as while a branch adds a dependency; a test says so.
    """
    extras, groups = SETUPS[name]
    yield "--require-hashes", "-r", lock_file(name)
    chosen = [argument for group in groups for argument in ("--group", group)]
    yield ("--no-build-isolation", "-e", f".[{','.join(extras)}]", *chosen)


def lock_file(name: str) -> Path:
    """Return the file that pins a setup."""
    return REQUIREMENTS / f"{name}.txt"


def stamp() -> str:
    """Return what the last setup installed."""
    return STAMP.read_text() if STAMP.exists() else ""


def fingerprint(name: str) -> str:
    """Return a hash of what a setup depends on: build file, lock, interpreter, path of the clone."""
    files = (ROOT / "pyproject.toml").read_bytes() + lock_file(name).read_bytes()
    return hashlib.sha256(files + f"{sys.implementation.cache_tag} {ROOT}".encode()).hexdigest()


def usable() -> bool:
    """Return whether ``.venv`` is complete and has this version of Python, so that pip can update it."""
    if not PYTHON.exists() or stamp() == UNFINISHED:
        return False
    probe = "import pip, sys; print(sys.implementation.cache_tag)"
    found = subprocess.run([str(PYTHON), "-c", probe], env=environment(), stdout=subprocess.PIPE, check=False)
    return found.stdout.decode().strip() == sys.implementation.cache_tag


def create() -> None:
    """Make a new ``.venv``, stamped as unfinished first, so that the next command notices an interruption."""
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
    """Run a process to its end, in the root folder; return its exit status."""
    return subprocess.call([str(part) for part in command], cwd=str(ROOT), env=environment())


def become(*arguments: str) -> None:
    """Replace this process with the Python of ``.venv``, which handles signals and sets the exit status."""
    command = [str(PYTHON), *arguments]
    os.chdir(str(ROOT))
    if os.name != "nt":  # there, exec would return to the shell at once
        os.execve(command[0], command, environment())  # noqa: S606 - no shell is wanted
    with subprocess.Popen(command, env=environment()) as child:
        while child.poll() is None:
            try:
                child.wait()
            except KeyboardInterrupt:  # the child gets it, too, and decides when to end
                continue
    sys.exit(child.returncode)


def environment() -> "dict[str, str]":
    """Return the environment as if ``.venv`` were activated, without the variables in ``FOREIGN``."""
    kept = {key: value for key, value in os.environ.items() if key not in FOREIGN}
    path = os.pathsep.join([str(PYTHON.parent), kept.get("PATH", os.defpath)])
    return {**kept, "VIRTUAL_ENV": str(VENV), "PATH": path}


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except (ExampleError, OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"dev.py: {error}")
