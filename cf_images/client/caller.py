"""How each call of the API is made: with which credentials, how often, and what is never shown of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NoReturn, TypeVar
from urllib.parse import quote

import stamina

from cf_images.client.calls import LONGEST_PAUSE, Call
from cf_images.client.door import BearerAuth, Request, is_address
from cf_images.exceptions import CloudflareImagesError, CredentialsRefusedError, ImageNotFoundError

T = TypeVar("T")

DEFAULT_API_URL = "https://api.cloudflare.com/client/v4"

_ATTEMPTS = 4


class Caller:
    """The credentials of an account, and calls made with them."""

    def __init__(
        self,
        account_id: str,
        api_token: str,
        *,
        api_url: str = DEFAULT_API_URL,
        timeout: float = 60.0,
        retry: bool = True,
    ) -> None:
        self._api_url = api_url.rstrip("/")
        self._auth = BearerAuth(api_token)
        flaw = _credential_flaw("account ID", account_id) or _credential_flaw("API token", api_token)
        del api_token  # or a debug page would show it among the variables of this frame
        if flaw:
            raise CredentialsRefusedError(flaw)
        if not is_address(api_url):
            raise CloudflareImagesError(f"api_url must be like {DEFAULT_API_URL}, not {api_url!r}.")
        self._account_id = account_id
        self._timeout = timeout
        self._retrying = stamina.RetryingCaller(
            attempts=_ATTEMPTS if retry else 1,
            timeout=None,  # Call.backoff keeps the time
            wait_initial=0.2,
            wait_max=LONGEST_PAUSE,
            wait_jitter=0.3,
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._api_url}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"A {type(self).__name__} holds an API token and is not pickled; make a new one.")

    def _call(
        self, method: str, path: str, read: Callable[[Any], T], *, repeatable: bool = True, **sent: Any
    ) -> T:
        return self._run(Call(request=self._request(method, path, **sent), read=read, repeatable=repeatable))

    def _request(self, method: str, path: str, **sent: Any) -> Request:
        url = f"{self._api_url}/accounts/{quote(self._account_id, safe='')}/{path}"
        line = f"{method} /{path}"
        return Request(method=method, url=url, line=line, timeout=self._timeout, auth=self._auth, **sent)

    def _run(self, call: Call[T]) -> T:
        return self._retrying(call.backoff, call.attempt)

    def _delete(self, path: str) -> None:
        call = Call(request=self._request("DELETE", path), read=_nothing, repeatable=True)
        try:
            self._run(call)
        except ImageNotFoundError:
            if not call.unclear:  # otherwise an attempt of ours did it
                raise


def given(values: Mapping[str, Any]) -> dict[str, Any]:
    """Without what nobody asked for."""
    return {key: value for key, value in values.items() if value is not None}


def _credential_flaw(what: str, value: str) -> str:
    if not value:
        return f"The {what} is empty."
    if all("!" <= character <= "~" for character in value):
        return ""
    return f"The {what} has a space, a line break or another character that none has: copy it again."


def _nothing(_result: Any) -> None:
    """What the answer to a deletion holds."""
