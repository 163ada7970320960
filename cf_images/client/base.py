"""How each request of the API is made: with which credentials and how often, and what is never shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NoReturn, TypeVar
from urllib.parse import quote

from cf_images.client.retry import RETRYING, Attempts, Pace
from cf_images.client.transport import ApiToken, Request, Target
from cf_images.exceptions import CloudflareImagesError, CredentialsRefusedError, ImageNotFoundError

T = TypeVar("T")

DEFAULT_API_URL = "https://api.cloudflare.com/client/v4"

# A client is often made for one request; parsing costs as much as the rest of that. This URL is no secret.
_parse_api_url = lru_cache(maxsize=32)(Target.parse)


class BaseClient:
    """The credentials of an account, and requests made with them."""

    def __init__(
        self,
        account_id: str,
        api_token: str,
        *,
        api_url: str = DEFAULT_API_URL,
        timeout: float = 60.0,
        retry: bool = True,
        pace: Pace | None = None,
        is_batch_host: bool = False,
    ) -> None:
        self._api_url = api_url.rstrip("/")
        self._token = ApiToken(api_token)
        problem = _credential_problem("account ID", account_id) or _credential_problem("API token", api_token)
        del api_token  # or a debug page would show it among the variables of this frame
        if problem:
            raise CredentialsRefusedError(problem)
        target = _parse_api_url(self._api_url)
        if target is None:
            raise CloudflareImagesError(f"api_url must be like {DEFAULT_API_URL}, not {api_url!r}.")
        self._account_id = account_id
        # The batch host knows the account from its token.
        below = "" if is_batch_host else f"accounts/{quote(account_id, safe='')}/"
        self._target = target.below(f"{'' if target.path.endswith('/') else '/'}{below}")
        self._timeout = timeout
        self._pace = pace
        self._retry = retry

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._api_url}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"A {type(self).__name__} holds an API token and is not pickled; make a new one.")

    def _call(
        self, method: str, path: str, read: Callable[[Any], T], *, repeatable: bool = True, **sent: Any
    ) -> T:
        request = self._request(method, path, **sent)
        return self._run(Attempts(request=request, read=read, repeatable=repeatable))

    def _request(
        self, method: str, path: str, *, params: Mapping[str, str] | None = None, **sent: Any
    ) -> Request:
        return Request(
            method=method,
            target=self._target.below(path, params),
            line=f"{method} /{path}",
            timeout=self._timeout,
            token=self._token,
            **sent,
        )

    def _run(self, attempts: Attempts[T]) -> T:
        attempts.pace = self._pace
        return RETRYING(attempts.backoff, attempts.attempt) if self._retry else attempts.attempt()

    def _delete(self, path: str) -> None:
        attempts = Attempts(request=self._request("DELETE", path), read=_ignore, repeatable=True)
        try:
            self._run(attempts)
        except ImageNotFoundError:
            if not attempts.unclear:  # otherwise an earlier attempt has deleted it
                raise


def without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that are not ``None``."""
    return {key: value for key, value in values.items() if value is not None}


def _credential_problem(what: str, value: str) -> str:
    if not value:
        return f"The {what} is empty."
    if value.isascii() and value.isprintable() and " " not in value:
        return ""
    return f"The {what} has a space, a line break or another invalid character. Copy it again."


def _ignore(_result: Any) -> None:
    """Accept any result: Cloudflare's responses to deletions vary."""
