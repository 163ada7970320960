"""Run a local Cloudflare Images service for development."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Sequence
from typing import Any

from cf_images.emulator.app import LoggedRequest
from cf_images.emulator.faults import KINDS, Faults
from cf_images.emulator.hosts import checked_host
from cf_images.emulator.limits import CLOUDFLARE_RATES, Limits
from cf_images.emulator.server import ACCOUNT_HASH, ACCOUNT_ID, API_TOKEN, Emulator

# Option: help, default, environment variables
IDENTITY = {
    "account_id": ("account ID", ACCOUNT_ID, ("CF_ACCT_ID", "CF_ACCOUNT_ID")),
    "token": ("API token", API_TOKEN, ("CF_IMG_TOKEN", "CF_API_TOKEN")),
    "account_hash": ("account hash", ACCOUNT_HASH, ("CF_IMG_HASH",)),
}
# Python runs signal handlers only in the main thread, but the kernel may give a signal to another thread,
# for example after a pause. A wait without a timeout would not notice the signal.
_WAIT_SECONDS = 0.5


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until interrupted and return the exit status."""
    options = parser().parse_args(arguments)
    account_id, token, account_hash = _identity(options)
    try:
        emulator = Emulator(
            account_id=account_id,
            token=token,
            account_hash=account_hash,
            data=options.data,
            flexible_variants=not options.no_flexible_variants,
            subscribed=not options.no_subscription,
            limits=Limits(**CLOUDFLARE_RATES) if options.rate_limits else Limits(),
            fetch_from=options.fetch_from,
            allowed_hosts=options.allow_host,
            host=options.host,
            port=options.port,
        )
    except BlockingIOError as error:
        sys.stderr.write(f"{options.data}: {error}\n")
        return 1
    with emulator:
        emulator.faults.set(
            rates=dict(options.fault),
            seed=options.seed,
            latency=options.latency,
            connect_latency=options.connect_latency,
        )
        emulator.app.on_request = _log
        interrupted = _interrupt_event()
        _write(_introduction(emulator, data=options.data))
        while not interrupted.wait(_WAIT_SECONDS):
            pass
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the parser of all options."""
    command = argparse.ArgumentParser(prog="python -m cf_images.emulator", description=__doc__)
    command.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    command.add_argument("--port", type=int, default=8787, help="0 for a free port (default: %(default)s)")
    command.add_argument("--data", metavar="DIR", help="folder for images (default: keep them in memory)")
    for name, (label, _, variables) in IDENTITY.items():
        command.add_argument(
            f"--{name.replace('_', '-')}", help=f"{label} (default: ${variables[0]}, or a fixed value)"
        )
    command.add_argument("--no-flexible-variants", action="store_true", help="disable flexible variants")
    command.add_argument("--no-subscription", action="store_true", help="no subscription to Images")
    command.add_argument("--rate-limits", action="store_true", help="1,200 requests in five minutes")
    command.add_argument(
        "--fetch-from",
        metavar="HOST",
        action="append",
        default=[],
        help="allow uploads by URL from this host, not only from loopback; can be repeated",
    )
    command.add_argument(
        "--allow-host",
        metavar="HOST",
        type=_host,
        action="append",
        default=[],
        help="respond under this name, too, such as a service of Docker Compose; can be repeated",
    )
    faults = command.add_argument_group("faults on demand", f"Kinds: {', '.join(KINDS)}.")
    seconds: Any = {"type": float, "default": 0.0, "metavar": "SECONDS"}
    faults.add_argument("--latency", **seconds, help="delay of each request")
    faults.add_argument("--connect-latency", **seconds, help="delay of each new connection")
    faults.add_argument(
        "--fault", type=_rate, metavar="KIND=RATE", action="append", default=[], help="such as 429=0.1"
    )
    faults.add_argument("--seed", type=int, default=0, help="seed of the random faults, to repeat a run")
    return command


def _host(text: str) -> str:
    try:
        return checked_host(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _rate(text: str) -> tuple[str, float]:
    kind, _, rate = text.partition("=")
    Faults().set(rates={kind: float(rate)})  # argparse reports a ValueError with the name of the option
    return kind, float(rate)


def _identity(options: argparse.Namespace) -> tuple[str, ...]:
    """Return ID, token and hash from the options, else from the environment, else the defaults."""
    return tuple(
        getattr(options, name) or next(filter(None, map(os.environ.get, variables)), default)
        for name, (_, default, variables) in IDENTITY.items()
    )


def _introduction(emulator: Emulator, *, data: str | None) -> str:
    """Return the URLs and credentials as text; hide a token other than the default."""
    token = API_TOKEN if emulator.api_token == API_TOKEN else "(as given)"
    return "\n".join(
        [
            f"Cloudflare Images emulator at {emulator.url}  (open it to see the stored images)",
            f"  CF_ACCT_ID={emulator.account_id}",
            f"  CF_IMG_TOKEN={token}",
            f"  CF_IMG_HASH={emulator.account_hash}",
            f"  api_url       {emulator.api_url}",
            f"  delivery_url  {emulator.delivery_url}",
            f"  images        {data or 'in memory, deleted at the end'}",
        ]
    )


def _log(request: LoggedRequest, seconds: float) -> None:
    status = request.status or "connection closed"
    _write(f"{request.method} {request.path} {status} {seconds * 1000:.1f} ms")


def _write(text: str) -> None:
    sys.stdout.write(text.encode("ascii", "backslashreplace").decode() + "\n")
    sys.stdout.flush()


def _interrupt_event() -> threading.Event:
    """Return an event that SIGINT (Ctrl-C) and SIGTERM (the end of a container) set."""
    interrupted = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: interrupted.set())
    return interrupted


if __name__ == "__main__":
    sys.exit(main())
