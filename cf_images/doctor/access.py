"""Access to the account: settings, network, token, account ID, account hash and subscription."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from cf_images import conf
from cf_images.accounts import backend_options
from cf_images.checks.storages import credentials_of, linked
from cf_images.client import CloudflareImagesClient, DirectUpload
from cf_images.doctor.failures import SUBSCRIPTION, TOKEN, not_permitted
from cf_images.doctor.findings import Finding, failure, ok
from cf_images.doctor.shared_accounts import MAX_TIMEOUT, Request, SharedAccount
from cf_images.exceptions import (
    CloudflareImagesError,
    CloudflareUnavailableError,
    CredentialsRefusedError,
    ImageNotFoundError,
)

_HASH = re.compile(r"[A-Za-z0-9_-]{20,24}")


def settings(account: SharedAccount, _request: Request) -> Iterator[Finding]:
    """Examine the three credentials; in every environment, unlike the checks."""
    messages = [
        linked(message)
        for alias in account.aliases
        for message in credentials_of(alias, backend_options()[alias])
    ]
    for message in messages:
        yield failure("settings", message.msg, hint=message.hint or "")
    if not messages:
        yield ok("settings", "Account ID, token and account hash are given.")


def network(account: SharedAccount, _request: Request) -> Iterator[Finding]:
    """Examine whether a server responds at ``api_url``."""
    client, host = account.client, urlsplit(account.options.api_url).hostname
    began = time.monotonic()
    try:
        client.server_time()
    except CloudflareUnavailableError:
        if time.monotonic() - began > MAX_TIMEOUT / 2:
            raise
        client.server_time()  # one packet may be lost
    yield ok("network", f"{host} responds.")


def token(account: SharedAccount, _request: Request) -> Iterator[Finding]:
    """Examine whether the token may read and edit images, by a reservation that is deleted; no list shows
    it.
    """
    client, account_hash = account.client, account.options.account_hash
    client.stats()
    try:
        with _reservation(client) as draft:
            belongs = account_hash in urlsplit(draft.upload_url).path.split("/")
            real = "" if belongs else _hash_of(client, draft)
    except CredentialsRefusedError as error:
        yield not_permitted(error)
        return
    yield ok(TOKEN, "The token is valid and may edit images.")
    if belongs:
        yield ok("hash", "Account ID and account hash belong together.")
        return
    given = f"This account's is {real}: " if real else "See dashboard: Images, Hosted images; "
    yield failure(
        "hash",
        f"The account hash {account_hash} is that of another account: no image would be shown.",
        hint=f"{given}{conf.credential_hint('account_hash')}.",
    )


def subscription(account: SharedAccount, _request: Request) -> Iterator[Finding]:
    """Examine whether the account has Cloudflare Images: without it, it has no signing keys either."""
    account.client.signing_keys()
    yield ok(SUBSCRIPTION, "The account has Cloudflare Images.")


@contextmanager
def _reservation(client: CloudflareImagesClient) -> Iterator[DirectUpload]:
    """Reserve an ID for a moment. One that cannot be deleted expires after half an hour."""
    draft = client.create_direct_upload()
    try:
        yield draft
    finally:
        try:
            client.delete(draft.id)
        except ImageNotFoundError:
            pass


def _hash_of(client: CloudflareImagesClient, draft: DirectUpload) -> str:
    """Return the account's hash: not from the upload URL, which is a secret, but from a delivery URL."""
    try:
        delivery_urls = client.details(draft.id).variants
    except CloudflareImagesError:
        return ""
    segments = urlsplit(delivery_urls[0] if delivery_urls else "").path.split("/")
    before = segments[segments.index(draft.id) - 1] if draft.id in segments else ""
    return before if _HASH.fullmatch(before) else ""
