"""``python -m cf_images.emulator``: a local Cloudflare Images for development."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Sequence

from cf_images.emulator.app import LoggedRequest
from cf_images.emulator.faults import Faults
from cf_images.emulator.limits import CLOUDFLARE_RATES, Limits
from cf_images.emulator.server import ACCOUNT_HASH, ACCOUNT_ID, API_TOKEN, Emulator

ENVIRONMENT = {
    "account_id": ("CF_ACCT_ID", "CF_ACCOUNT_ID"),
    "token": ("CF_IMG_TOKEN", "CF_API_TOKEN"),
    "account_hash": ("CF_IMG_HASH",),
}
# Python runs the handler of a signal in the main thread alone, and the kernel may give the signal to another,
# for example after a pause. A wait without an end would sleep through it.
_AWAKE_SECONDS = 0.5
DEFAULTS = {"account_id": ACCOUNT_ID, "token": API_TOKEN, "account_hash": ACCOUNT_HASH}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until interrupted; the exit status."""
    options = parser().parse_args(arguments)
    try:
        emulator = Emulator(
            account_id=_chosen(options, "account_id"),
            token=_chosen(options, "token"),
            account_hash=_chosen(options, "account_hash"),
            data=options.data,
            flexible_variants=not options.no_flexible_variants,
            subscribed=not options.no_subscription,
            limits=Limits(**CLOUDFLARE_RATES) if options.rate_limits else Limits(),
            fetch_from=options.fetch_from,
            host=options.host,
            port=options.port,
        )
    except BlockingIOError as error:
        sys.stderr.write(f"{options.data}: {error}\n")
        return 1
    with emulator:
        emulator.faults.set(**_faults(options))
        emulator.app.on_request = _log
        interrupted = _interruption()
        _say(_introduction(emulator, data=options.data))
        while not interrupted.wait(_AWAKE_SECONDS):
            pass
    return 0


def parser() -> argparse.ArgumentParser:
    """All options."""
    made = argparse.ArgumentParser(prog="python -m cf_images.emulator", description=__doc__)
    made.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    made.add_argument("--port", type=int, default=8787, help="default: %(default)s; 0 takes a free one")
    made.add_argument("--data", metavar="DIR", help="keep images here across restarts (default: in memory)")
    for name, variables in ENVIRONMENT.items():
        made.add_argument(
            f"--{name.replace('_', '-')}", help=f"default: ${variables[0]} of the environment, or a fixed one"
        )
    made.add_argument("--no-flexible-variants", action="store_true", help="named variants only")
    made.add_argument("--no-subscription", action="store_true", help="an account without Cloudflare Images")
    made.add_argument("--rate-limits", action="store_true", help="1,200 requests in five minutes")
    made.add_argument(
        "--fetch-from",
        metavar="HOST",
        action="append",
        default=[],
        help="let uploads by URL fetch from this host, not from loopback alone; may be repeated",
    )
    faults = made.add_argument_group("faults on demand")
    faults.add_argument("--latency", type=float, metavar="SECONDS", help="more for each request")
    faults.add_argument("--connect-latency", type=float, metavar="SECONDS", help="more for each connection")
    faults.add_argument(
        "--fault", type=_rate, metavar="KIND=RATE", action="append", default=[], help="such as 429=0.1"
    )
    faults.add_argument("--seed", type=int, default=0, help="repeats a run of faults")
    return made


def _rate(text: str) -> tuple[str, float]:
    kind, _, rate = text.partition("=")
    Faults().set(rates={kind: float(rate)})  # argparse shows a ValueError with the option's name
    return kind, float(rate)


def _faults(options: argparse.Namespace) -> dict[str, object]:
    given = {"latency": options.latency, "connect_latency": options.connect_latency}
    return {
        "rates": dict(options.fault),
        "seed": options.seed,
        **{name: value for name, value in given.items() if value is not None},
    }


def _chosen(options: argparse.Namespace, name: str) -> str:
    """By option, else from the environment, else the fixed one."""
    given = [getattr(options, name), *map(os.environ.get, ENVIRONMENT[name]), DEFAULTS[name]]
    return str(next(value for value in given if value))


def _introduction(emulator: Emulator, *, data: str | None) -> str:
    """Where it is and how to use it; a token that is not the published one is not shown."""
    token = API_TOKEN if emulator.api_token == API_TOKEN else "(as given)"
    return "\n".join(
        [
            f"Cloudflare Images emulator at {emulator.url}  (a page with what is stored: open it)",
            f"  CF_ACCT_ID={emulator.account_id}",
            f"  CF_IMG_TOKEN={token}",
            f"  CF_IMG_HASH={emulator.account_hash}",
            f"  api_url       {emulator.api_url}",
            f"  delivery_url  {emulator.delivery_url}",
            f"  images        {data or 'in memory, gone at the end'}",
        ]
    )


def _log(request: LoggedRequest, seconds: float) -> None:
    outcome = request.status or "connection ended"
    _say(f"{request.method} {request.path} {outcome} {seconds * 1000:.1f} ms")


def _say(text: str) -> None:
    sys.stdout.write(text.encode("ascii", "backslashreplace").decode() + "\n")
    sys.stdout.flush()


def _interruption() -> threading.Event:
    """What Ctrl-C and the end of a container set."""
    interrupted = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: interrupted.set())
    return interrupted


if __name__ == "__main__":
    sys.exit(main())
