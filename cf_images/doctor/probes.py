"""``--probe``: a tiny image is uploaded, looked at as a visitor would, and deleted whatever happens."""

from __future__ import annotations

import base64
import io
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from cf_images import conf, delivery, keys, signing
from cf_images.client import CloudflareImagesClient, Delivered, Variant, deliver
from cf_images.delivery import DeliveryURL
from cf_images.doctor.accounts import LONGEST, Account, Asked
from cf_images.doctor.findings import Finding, failure, ok, skipped, warning
from cf_images.doctor.refusals import guarded, network_remedy
from cf_images.doctor.variants import APPLY
from cf_images.exceptions import CloudflareImagesError, CloudflareUnavailableError, ImageNotFoundError
from cf_images.storage import CloudflareImagesStorage

PREFIX = "cf-images-doctor-"

_PUBLIC, _PRIVATE, _FLEXIBLE = "probe", "private-probe", "flexible-probe"
_FILENAME = "probe.png"
_PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
_TRIES = 3  # a fresh image may be found, and then not, for a while
_PAUSE = 1.0  # seconds between two tries
_DEFINITE = (200, 400, 401, 403)
_REMEDIES = {
    9425: f"The account may not have this variant. {APPLY}",
    9427: f"Correct the account hash: {conf.remedy('account_hash')}.",
    9429: "Turn flexible variants on in the dashboard (Images, Variants), or ask for named variants only.",
}
_SHAPE = (
    "A custom domain must be a zone of this account, proxied by Cloudflare, with /cdn-cgi/imagedelivery; a "
    "reverse proxy must ask https://imagedelivery.net/<account_hash>/<image_id>/<variant>, with the query."
)
_SIGNATURE = (
    "Check the clock and the account hash, and the signing keys with manage.py cf_images keys; a reverse "
    "proxy must pass on the query."
)


def probes(account: Account, asked: Asked) -> Iterator[Finding]:
    """A public image and a private one, as far as the account's storages keep such."""
    if not asked.probe:
        yield skipped(_PUBLIC, "Delivery was not tried; --probe uploads a tiny image, opens and deletes it.")
        return
    private = account.private
    public = [storage for storage in account.storages if storage not in private]
    if public:
        yield from guarded(_PUBLIC, lambda: _public(account.client, public, asked))
    if private:
        yield from guarded(_PRIVATE, lambda: _private(account.client, private))


def _public(
    client: CloudflareImagesClient, storages: Sequence[CloudflareImagesStorage], asked: Asked
) -> list[Finding]:
    """An image with an ID of ours, through each delivery address."""
    image_id = f"{PREFIX}{secrets.token_hex(8)}"

    def opened() -> Iterator[Finding]:
        client.upload(io.BytesIO(_PIXEL), image_id=image_id, filename=_FILENAME)
        places = [_place(storage, image_id, storage.option("variant")) for storage in storages]
        for place in dict.fromkeys(places):
            yield _judged(_PUBLIC, place, _seen(place), remedy=_SHAPE)
        if asked.flexible_at or conf.package("FLEXIBLE_VARIANTS"):
            place = replace(places[0], variant="w=1")
            yield _judged(_FLEXIBLE, place, _seen(place), remedy=_SHAPE)

    return _and_deleted(client, image_id, lambda: guarded(_PUBLIC, opened))


def _private(client: CloudflareImagesClient, storages: Sequence[CloudflareImagesStorage]) -> list[Finding]:
    """An image in a reservation: signed it opens, bare it does not."""
    variants = client.list_variants()
    draft = client.create_direct_upload(require_signed_urls=True)

    def opened() -> Iterator[Finding]:
        client.upload_direct(draft.upload_url, io.BytesIO(_PIXEL), filename=_FILENAME)
        found = [_signed_and_bare(storage, draft.id, variants) for storage in storages]
        yield from dict.fromkeys(finding for findings in found for finding in findings)

    return _and_deleted(client, draft.id, lambda: guarded(_PRIVATE, opened))


def _signed_and_bare(
    storage: CloudflareImagesStorage, image_id: str, variants: Mapping[str, Variant]
) -> Iterator[Finding]:
    variant = _signable(storage, variants)
    if not variant:
        message = "Every variant of the account shows private images to everybody."
        yield warning(_PRIVATE, message, remedy=f"Declare one that does not. {APPLY}")
        return
    place = _place(storage, image_id, variant)
    ends_at = signing.ending(storage.option("expire"), now=time.time())
    signed = signing.sign(place, keys.signing_keys(storage.given_options)[-1], ends_at=ends_at)
    yield _judged(_PRIVATE, place, _seen(signed), remedy=_SIGNATURE, how=", signed")
    if _seen(place).is_image:
        yield failure(
            _PRIVATE,
            f"{place.delivery_url} shows a private image without a signature.",
            remedy="Whatever stands before Cloudflare must not keep images, nor add signatures of its own.",
        )


def _and_deleted(
    client: CloudflareImagesClient, image_id: str, examine: Callable[[], list[Finding]]
) -> list[Finding]:
    """What was found, and what was left behind; deleted also where somebody interrupts."""
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
            time.sleep(_PAUSE)  # it was never there, or it flickers
        except CloudflareImagesError as error:
            remedy = "Delete it in the dashboard, should it be there: it counts as one of the stored images."
            message = f"The probe {image_id} could not be deleted: {error}"
            return [warning("probe-left", message, remedy=remedy)]
        else:
            break
    return []


def _place(storage: CloudflareImagesStorage, image_id: str, variant: str) -> DeliveryURL:
    return DeliveryURL(
        delivery_url=storage.option("delivery_url"),
        account_hash=storage.option("account_hash"),
        image_id=image_id,
        variant=delivery.clean_variant(variant),
    )


def _signable(storage: CloudflareImagesStorage, variants: Mapping[str, Variant]) -> str:
    """The variant that the storage serves, or another whose signature counts."""
    wanted = sorted(variants, key=lambda name: name != storage.option("variant"))
    return next((name for name in wanted if not variants[name].never_require_signed_urls), "")


def _seen(place: DeliveryURL, *, tries: int = _TRIES) -> Delivered:
    """What a browser gets there, status 0 for nothing; a fresh image has more than one try."""
    seen = _seen_once(place)
    if tries <= 1 or seen.status in _DEFINITE:
        return seen
    time.sleep(_PAUSE)
    return _seen(place, tries=tries - 1 if seen.status else 1)


def _seen_once(place: DeliveryURL) -> Delivered:
    try:
        return deliver(str(place), timeout=LONGEST)
    except CloudflareUnavailableError as error:
        return Delivered(status=0, message=error.message)


def _judged(name: str, place: DeliveryURL, seen: Delivered, *, remedy: str, how: str = "") -> Finding:
    where = f"{place.delivery_url} as {place.variant!r}{how}"
    if seen.is_image:
        return ok(name, f"The probe opens at {where}.")
    if not seen.status:
        message = f"The probe does not open at {where}: {seen.message}"
        return failure(name, message, remedy=network_remedy(seen.message))
    code = f", code {seen.code}" if seen.code else ""
    got = seen.message or f"no image, but {seen.content_type or 'nothing'}"
    message = f"The probe does not open at {where}: {got} (HTTP {seen.status}{code})"
    return failure(name, message, remedy=_remedy(seen, how) or remedy)


def _remedy(seen: Delivered, how: str) -> str:
    """By Cloudflare's code; it has the same one for a missing variant and for a bad signature."""
    return "" if how and seen.code == 9425 else _REMEDIES.get(seen.code or 0, "")
