"""Ask for known vulnerabilities of the locked versions. Exits with 77, skipped, if there is no answer."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

import dev

# Advisories that do not concern this package, each with its reason: "PYSEC-2026-1": "only on Windows".
ACCEPTED: dict[str, str] = {}

# What requests and pip-audit say when the service cannot be reached, or is out of order.
NO_ANSWER = re.compile(
    r"Could not connect|ConnectionError|ConnectTimeout|ReadTimeout|ProxyError|SSLError|Max retries exceeded"
    r"|\b(?:403|429|5\d\d) (?:Client|Server) Error"
)


def main() -> int:
    """Print what was found; return the exit status."""
    ignored = [f"--ignore-vuln={advisory}" for advisory in ACCEPTED]
    ran = subprocess.run(
        [
            *(sys.executable, "-m", "pip_audit", "--format=json", "--progress-spinner=off"),
            *("--disable-pip", "--require-hashes", f"--requirement={dev.lock_file('dev')}", *ignored),
        ],
        cwd=dev.ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return judge(ran.stdout, ran.stderr)


def judge(report: str, errors: str) -> int:
    """Print what pip-audit has found; return the exit status."""
    try:
        packages = json.loads(report)["dependencies"]
    except (ValueError, LookupError):
        last = errors.strip().splitlines()[-1:] or ["pip-audit has said nothing"]
        if not NO_ANSWER.search(errors):
            print(errors, file=sys.stderr)
            return 1
        print(f"Skipped: the service that knows vulnerabilities has not answered. {last[0]}")
        return dev.SKIPPED
    found = [line for package in packages for line in vulnerabilities(package)]
    print(*found, f"{len(packages)} packages, {len(found)} known vulnerabilities", sep="\n")
    return 1 if found else 0


def vulnerabilities(package: dict[str, Any]) -> list[str]:
    """Return a line for each vulnerability of a package."""
    return [
        f"{package['name']} {package['version']}: {each['id']}, "
        f"mended in {', '.join(each['fix_versions']) or 'no version yet'}"
        for each in package.get("vulns", [])
    ]


if __name__ == "__main__":
    sys.exit(main())
