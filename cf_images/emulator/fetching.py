"""Fetching the image behind a URL, and nothing else: no host that was not allowed is ever asked."""

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

from cf_images.emulator.bodies import Spool
from cf_images.emulator.choices import BAD_INPUT
from cf_images.emulator.errors import ApiError

CHUNK = 64 * 1024
MOST_REDIRECTS = 5


class Fetcher:
    """Fetches from loopback and from ``hosts`` (names, without ports); ``seconds`` is for the whole."""

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
        """Write the body behind ``url``; every failure is an :class:`ApiError` with the reason."""
        deadline = time.monotonic() + self._seconds
        try:
            with self._opener.open(self.request(url), timeout=self._seconds) as answer:
                while chunk := answer.read1(CHUNK):
                    into.write(chunk)
                    if time.monotonic() > deadline:
                        raise TimeoutError
        except TimeoutError as error:
            raise ApiError(BAD_INPUT, f"the origin took more than {self._seconds:g} seconds") from error
        except urllib.error.HTTPError as error:
            error.close()
            raise ApiError(BAD_INPUT, f"the origin answered {error.code}") from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise ApiError(BAD_INPUT, f"the origin failed: {type(error).__name__}") from error

    def request(self, url: str) -> urllib.request.Request:
        """A request for a URL that may be asked; user and password in it become a header."""
        parts = absolute(url)
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
                BAD_INPUT, f"this emulator may not fetch from {host}; allow it with --fetch-from {host}"
            )


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a redirect only to where a first request could have gone."""

    max_redirections = MOST_REDIRECTS

    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher = fetcher

    def redirect_request(
        self, _req: urllib.request.Request, fp: IO[bytes], _code: int, _msg: str, _headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """The request that follows; raises :class:`ApiError` when it would leave the allowed hosts."""
        fp.close()
        return self._fetcher.request(newurl)


def absolute(url: str) -> SplitResult:
    """The parts of an ``http`` or ``https`` URL; anything else is refused."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise ApiError(BAD_INPUT, "url cannot be read") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ApiError(BAD_INPUT, "url must be an absolute http or https URL")
    return parts


def is_loopback(host: str) -> bool:
    """Whether a host is this machine by its name alone; no name is looked up."""
    try:
        return host.lower() == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
