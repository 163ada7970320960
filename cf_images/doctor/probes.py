"""``--probe``: upload a tiny image, request it as a visitor would, and delete it whatever happens."""

from __future__ import annotations

import base64
import io
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from cf_images import conf
from cf_images.accounts import Account
from cf_images.client import CloudflareImagesClient, DeliveryResponse, Variant, fetch_delivery_url
from cf_images.client.preflight import is_open_to
from cf_images.delivery import signing
from cf_images.delivery.urls import DeliveryURL
from cf_images.doctor.failures import guarded, network_hint
from cf_images.doctor.findings import Finding, failure, ok, skipped, warning
from cf_images.doctor.shared_accounts import MAX_TIMEOUT, Request, SharedAccount
from cf_images.doctor.variants import APPLY
from cf_images.exceptions import CloudflareImagesError, CloudflareUnavailableError, ImageNotFoundError
from cf_images.variants import grammar

PREFIX = "cf-images-doctor-"

_PUBLIC, _PRIVATE, _FLEXIBLE = "probe", "private-probe", "flexible-probe"
_BROWSER = "browser-probe"
_ORIGIN = "https://www.example.com"  # where the settings do not say what site this is
_FILENAME = "probe.png"
_PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
_TRIES = 3  # a fresh image is "not found" at times
_PAUSE = 1.0  # seconds between two tries
_DEFINITE = (200, 400, 401, 403)
_HINTS = {
    9425: f"The account may not have this variant. {APPLY}",
    9427: f"Correct the account hash: {conf.credential_hint('account_hash')}.",
    9429: "Turn flexible variants on in the dashboard (Images, Variants), or use named variants only.",
}
_TEMPLATE_HINT = (
    "A custom domain must be a zone of this account, proxied by Cloudflare, with /cdn-cgi/imagedelivery; a "
    "reverse proxy must request https://imagedelivery.net/<account_hash>/<image_id>/<variant> with the query."
)
_SIGNATURE_HINT = (
    "Check the clock and the account hash, and the signing keys with manage.py cf_images keys; a reverse "
    "proxy must pass on the query."
)


def probes(account: SharedAccount, request: Request) -> Iterator[Finding]:
    """Try a public image and a private one, where the account's storages keep such images."""
    if not request.probe:
        yield skipped(_PUBLIC, "Delivery was not tried; --probe uploads, requests and deletes a tiny image.")
        return
    private = account.private
    public = [member for member in account.accounts if member not in private]
    if public:
        yield from guarded(_PUBLIC, lambda: _public(account.client, public, request))
    if private:
        yield from guarded(_PRIVATE, lambda: _private(account.client, private))
    if conf.setting("DIRECT_UPLOADS"):
        yield from guarded(_BROWSER, lambda: _browser(account.client))


def _browser(client: CloudflareImagesClient) -> list[Finding]:
    """Reserve an upload, and post to its URL as a page would, after the question whether it may."""
    draft, origin = client.create_direct_upload(), conf.site_url() or _ORIGIN

    def opened() -> Iterator[Finding]:
        is_open = is_open_to(draft.upload_url, origin=origin, timeout=MAX_TIMEOUT)
        client.upload_direct(draft.upload_url, io.BytesIO(_PIXEL), image_id=draft.id, filename=_FILENAME)
        if not is_open:
            message = f"Cloudflare's upload URL does not let pages of {origin} ask before they post."
            hint = "Uploads work without a progress bar, if browsers post without asking."
            yield warning(_BROWSER, message, hint=hint)
        elif client.details(draft.id).draft:
            hint = "Try again in a minute; uploads from browsers are not saved while that is so."
            yield failure(_BROWSER, "What was posted to an upload URL has not arrived.", hint=hint)
        else:
            yield ok(_BROWSER, f"An upload URL takes a file from a page of {origin}.")

    return _and_deleted(client, draft.id, lambda: guarded(_BROWSER, opened))


def _public(client: CloudflareImagesClient, members: Sequence[Account], request: Request) -> list[Finding]:
    """Try an image with a custom ID, through each delivery URL."""
    image_id = f"{PREFIX}{secrets.token_hex(8)}"

    def opened() -> Iterator[Finding]:
        client.upload(io.BytesIO(_PIXEL), image_id=image_id, filename=_FILENAME)
        found = [_url(member, image_id, member.options.variant) for member in members]
        for url in dict.fromkeys(found):
            yield _finding(_PUBLIC, url, _fetch(url), hint=_TEMPLATE_HINT)
        if request.flexible_at or conf.setting("FLEXIBLE_VARIANTS"):
            url = replace(found[0], variant="w=1")
            yield _finding(_FLEXIBLE, url, _fetch(url), hint=_TEMPLATE_HINT)

    return _and_deleted(client, image_id, lambda: guarded(_PUBLIC, opened))


def _private(client: CloudflareImagesClient, members: Sequence[Account]) -> list[Finding]:
    """Try an image in a reservation: it must be served with a signature, and refused without."""
    variants = client.list_variants()
    draft = client.create_direct_upload(require_signed_urls=True)

    def opened() -> Iterator[Finding]:
        client.upload_direct(draft.upload_url, io.BytesIO(_PIXEL), filename=_FILENAME)
        found = [_with_and_without_signature(member, draft.id, variants) for member in members]
        yield from dict.fromkeys(finding for findings in found for finding in findings)

    return _and_deleted(client, draft.id, lambda: guarded(_PRIVATE, opened))


def _with_and_without_signature(
    account: Account, image_id: str, variants: Mapping[str, Variant]
) -> Iterator[Finding]:
    variant = _signable(account, variants)
    if not variant:
        message = "Every variant of the account shows private images to everyone."
        yield warning(_PRIVATE, message, hint=f"Declare one that does not. {APPLY}")
        return
    url = _url(account, image_id, variant)
    signed = signing.sign(url, account.signing_keys()[-1], expires_at=account.expiry())
    yield _finding(_PRIVATE, url, _fetch(signed), hint=_SIGNATURE_HINT, how=", signed")
    if _fetch(url).is_image:
        yield failure(
            _PRIVATE,
            f"{url.delivery_url} shows a private image without a signature.",
            hint="What stands in front of Cloudflare must neither cache images nor add signatures.",
        )


def _and_deleted(
    client: CloudflareImagesClient, image_id: str, examine: Callable[[], list[Finding]]
) -> list[Finding]:
    """Return what was found, and what could not be deleted; deletes also when interrupted."""
    try:
        found = examine()
    finally:
        left = _deleted(client, image_id)
    return found + left


def _deleted(client: CloudflareImagesClient, image_id: str) -> list[Finding]:
    for _ in range(_TRIES):
        try:
            client.delete(image_id)
        except ImageNotFoundError:
            time.sleep(_PAUSE)  # it was never there, or it is "not found" for a moment
        except CloudflareImagesError as error:
            hint = "Delete it in the dashboard if it is there: it counts as one of the stored images."
            message = f"The probe {image_id} could not be deleted: {error}"
            return [warning("probe-left", message, hint=hint)]
        else:
            break
    return []


def _url(account: Account, image_id: str, variant: str) -> DeliveryURL:
    return DeliveryURL(
        delivery_url=account.options.delivery_url,
        account_hash=account.options.require("account_hash"),
        image_id=image_id,
        variant=grammar.clean_variant(variant),
    )


def _signable(account: Account, variants: Mapping[str, Variant]) -> str:
    """Return the variant that the storage serves, or another one that needs a signature."""
    wanted = sorted(variants, key=lambda name: name != account.options.variant)
    return next((name for name in wanted if not variants[name].never_require_signed_urls), "")


def _fetch(url: DeliveryURL, *, tries: int = _TRIES) -> DeliveryResponse:
    """Return the response that a browser gets, status 0 for none; a fresh image has more than one try."""
    response = _fetch_once(url)
    if tries <= 1 or response.status in _DEFINITE:
        return response
    time.sleep(_PAUSE)
    return _fetch(url, tries=tries - 1 if response.status else 1)


def _fetch_once(url: DeliveryURL) -> DeliveryResponse:
    try:
        return fetch_delivery_url(str(url), timeout=MAX_TIMEOUT)
    except CloudflareUnavailableError as error:
        return DeliveryResponse(status=0, message=error.message)


def _finding(name: str, url: DeliveryURL, response: DeliveryResponse, *, hint: str, how: str = "") -> Finding:
    where = f"{url.delivery_url} as {url.variant!r}{how}"
    if response.is_image:
        return ok(name, f"The probe is shown at {where}.")
    if not response.status:
        message = f"The probe is not shown at {where}: {response.message}"
        return failure(name, message, hint=network_hint(response.message))
    code = f", code {response.code}" if response.code else ""
    got = response.message or f"no image, but {response.content_type or 'nothing'}"
    message = f"The probe is not shown at {where}: {got} (HTTP {response.status}{code})"
    return failure(name, message, hint=_hint(response, how) or hint)


def _hint(response: DeliveryResponse, how: str) -> str:
    """Return a hint by Cloudflare's code, which is the same for a missing variant and for a bad signature."""
    return "" if how and response.code == 9425 else _HINTS.get(response.code or 0, "")
