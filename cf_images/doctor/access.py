"""Whether we get in: settings, network, token, account, hash, subscription, and room for another image."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from cf_images import conf
from cf_images.checks import credentials_of
from cf_images.client import CloudflareImagesClient, DirectUpload
from cf_images.doctor.accounts import LONGEST, Account, Asked
from cf_images.doctor.findings import Finding, failure, ok, warning
from cf_images.doctor.refusals import SUBSCRIPTION, TOKEN, not_permitted
from cf_images.exceptions import (
    CloudflareImagesError,
    CloudflareUnavailableError,
    CredentialsRefusedError,
    ImageNotFoundError,
)

_HASH = re.compile(r"[A-Za-z0-9_-]{20,24}")
_NEARLY_FULL = 0.9


def settings(account: Account, _asked: Asked) -> Iterator[Finding]:
    """The three credentials are there; in every environment, unlike the checks."""
    messages = [
        message
        for alias, storage in zip(account.aliases, account.storages, strict=True)
        for message in credentials_of(alias, dict(storage.given_options))
    ]
    for message in messages:
        yield failure("settings", message.msg, remedy=message.hint or "")
    if not messages:
        yield ok("settings", "Account ID, token and account hash are given.")


def network(account: Account, _asked: Asked) -> Iterator[Finding]:
    """Somebody answers at ``api_url``."""
    client, host = account.client, urlsplit(account.storage.option("api_url")).hostname
    began = time.monotonic()
    try:
        client.server_time()
    except CloudflareUnavailableError:
        if time.monotonic() - began > LONGEST / 2:
            raise
        client.server_time()  # one packet may be lost
    yield ok("network", f"{host} answers.")


def token(account: Account, _asked: Asked) -> Iterator[Finding]:
    """The token may read and edit images: a reservation is made and deleted, which no list ever shows."""
    client, account_hash = account.client, account.storage.option("account_hash")
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
        f"The account hash {account_hash} is another account's: no image would be shown.",
        remedy=f"{given}{conf.remedy('account_hash')}.",
    )


def subscription(account: Account, _asked: Asked) -> Iterator[Finding]:
    """The account has Cloudflare Images: without it, it has no signing keys either."""
    account.client.signing_keys()
    yield ok(SUBSCRIPTION, "The account has Cloudflare Images.")


def quota(account: Account, _asked: Asked) -> Iterator[Finding]:
    """There is room for images."""
    stats = account.client.stats()
    used = f"{stats.current:,} of {stats.allowed:,} images are stored"
    remedy = "Buy more (dashboard: Images, Plans), or delete images that nobody needs."
    if stats.current >= stats.allowed:
        yield failure("quota", f"The account is full: {used}.", remedy=remedy)
    elif stats.current >= stats.allowed * _NEARLY_FULL:
        yield warning("quota", f"The account is nearly full: {used}.", remedy=remedy)
    else:
        yield ok("quota", f"{used}.")


@contextmanager
def _reservation(client: CloudflareImagesClient) -> Iterator[DirectUpload]:
    """An ID for a moment. One that cannot be deleted ends by itself, after half an hour."""
    draft = client.create_direct_upload()
    try:
        yield draft
    finally:
        try:
            client.delete(draft.id)
        except ImageNotFoundError:
            pass


def _hash_of(client: CloudflareImagesClient, draft: DirectUpload) -> str:
    """The account's own hash: not from the upload URL, which is a secret, but from a delivery URL."""
    try:
        addresses = client.details(draft.id).variants
    except CloudflareImagesError:
        return ""
    segments = urlsplit(addresses[0] if addresses else "").path.split("/")
    before = segments[segments.index(draft.id) - 1] if draft.id in segments else ""
    return before if _HASH.fullmatch(before) else ""
