"""Uploads by URL: fetch an image from an allowed host; requests to any other host are not sent."""

from __future__ import annotations

import base64
import http.client
import ipaddress
import time
import urllib.error
import urllib.request
from collections.abc import Iterable
from typing import IO, Any
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from cf_images.emulator.assumptions import BAD_INPUT
from cf_images.emulator.bodies import Spool
from cf_images.emulator.errors import ApiError

CHUNK = 64 * 1024
MAX_REDIRECTS = 5


class Fetcher:
    """An HTTP client for loopback and ``hosts`` (names without ports); ``seconds`` limits a whole fetch."""

    def __init__(self, hosts: Iterable[str] = (), *, seconds: float = 15) -> None:
        self._hosts = frozenset(host.lower() for host in hosts)
        self._seconds = seconds
        self._opener = urllib.request.OpenerDirector()
        for handler in (
            urllib.request.HTTPHandler(),
            urllib.request.HTTPSHandler(),
            urllib.request.HTTPDefaultErrorHandler(),
            urllib.request.HTTPErrorProcessor(),
            _Redirects(self),
        ):
            self._opener.add_handler(handler)

    def fetch(self, url: str, *, into: Spool) -> None:
        """Write the body of ``url`` into a spool; raise :class:`ApiError` with the reason if that fails."""
        deadline = time.monotonic() + self._seconds
        try:
            with self._opener.open(self.request(url), timeout=self._seconds) as response:
                while chunk := response.read1(CHUNK):
                    into.write(chunk)
                    if time.monotonic() > deadline:
                        raise TimeoutError
        except TimeoutError as error:
            raise ApiError(BAD_INPUT, f"the origin took more than {self._seconds:g} seconds") from error
        except urllib.error.HTTPError as error:
            error.close()
            raise ApiError(BAD_INPUT, f"the origin responded with {error.code}") from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise ApiError(BAD_INPUT, f"the origin failed: {type(error).__name__}") from error

    def request(self, url: str) -> urllib.request.Request:
        """Return the request for a URL, with its user and password as a header; raise :class:`ApiError`."""
        parts = split_url(url)
        self._check_host(str(parts.hostname))
        login, _, netloc = parts.netloc.rpartition("@")
        request = urllib.request.Request(urlunsplit(parts._replace(netloc=netloc, fragment="")))  # noqa: S310
        if login:
            encoded = base64.b64encode(unquote(login).encode()).decode()
            request.add_unredirected_header("Authorization", f"Basic {encoded}")
        return request

    def _check_host(self, host: str) -> None:
        if host.lower() not in self._hosts and not is_loopback(host):
            raise ApiError(
                BAD_INPUT, f"the emulator may not fetch from {host}; allow it with --fetch-from {host}"
            )


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Redirects, followed only to allowed hosts."""

    max_redirections = MAX_REDIRECTS

    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher = fetcher

    def redirect_request(
        self, _req: urllib.request.Request, fp: IO[bytes], _code: int, _msg: str, _headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """Return the request for the new URL; raise :class:`ApiError` if its host is not allowed."""
        fp.close()
        return self._fetcher.request(newurl)


def split_url(url: str) -> SplitResult:
    """Split an ``http`` or ``https`` URL; raise :class:`ApiError` for anything else."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise ApiError(BAD_INPUT, "url is not a valid URL") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ApiError(BAD_INPUT, "url must be an absolute http or https URL")
    return parts


def is_loopback(host: str) -> bool:
    """Return whether a host is ``localhost`` or a loopback address, without a DNS lookup."""
    try:
        return host.lower() == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
