"""Where browsers get an image: at Cloudflare, signed if it is private, or from our view while it waits."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from django.core.exceptions import SynchronousOnlyOperation
from django.core.files.storage import Storage

from cf_images import conf, delivery, keys, naming, signing
from cf_images.flexible import FlexibleVariant
from cf_images.permitted import permitted_variant


class AddressedStorage(Storage):
    """What of ``CloudflareImagesStorage`` makes addresses.

    The storage has the options, the queue and the IDs: what is declared here without doing anything.
    """

    _options: Mapping[str, Any]

    @property
    def _queue(self) -> Any:
        raise NotImplementedError

    def option(self, name: str) -> Any:
        """One option as the settings have it now."""
        raise NotImplementedError

    def image_id(self, name: str) -> str:
        """Cloudflare's ID of the image."""
        raise NotImplementedError

    def url(
        self,
        name: str | None,
        variant: str | FlexibleVariant | None = None,
        *,
        expire: signing.Lifetime | None = None,
    ) -> str:
        """Where browsers get the image, by default as ``variant`` of the options.

        A private image's address is signed, and good for at least ``expire``: see ``signing.ending``. Never
        makes a request, but for the signing keys where the settings do not have them.
        """
        if not name:
            raise ValueError("An image without a name has no URL.")
        if variant is None and naming.is_url(name):
            return name
        cleaned = permitted_variant(variant or self.option("variant"))
        ends_at = self._end(name, cleaned, expire)
        if waiting := self._waiting_address(name, cleaned, ends_at):
            return waiting
        try:
            return self.delivery_address(name, cleaned, ends_at=ends_at)
        except SynchronousOnlyOperation:  # only the database knows the ID, and our view may ask it
            if self._queue and (waiting := self._queue.waiting_address(name, cleaned, ends_at=ends_at)):
                return str(waiting)
            raise

    def url_variant(self, name: str, variant: str | FlexibleVariant) -> str:
        """``url(name, variant=variant)``, as older recipes call it."""
        return self.url(name, variant=variant)

    def delivery_address(
        self, name: str, variant: str, *, ends_at: int | None = None, signed: bool = True
    ) -> str:
        """The image's address at Cloudflare, whether it has arrived there or not.

        Signed where it is private, until ``ends_at`` in seconds since 1970, by default as ``url()`` does.
        Not ``signed`` it opens only what everybody may see: for a ``name`` that anybody may have written.
        """
        address = self._address(name, variant)
        if address is None:
            return name
        if ends_at is None and signed:
            ends_at = self._end(name, variant, None)
        if ends_at is None:
            return str(address)
        return str(signing.sign(address, keys.signing_keys(self._options)[-1], ends_at=ends_at))

    def _address(self, name: str, variant: str) -> delivery.DeliveryURL | None:
        """Its unsigned address; ``None`` for a name that is the address of somebody else, or signed."""
        if naming.is_url(name):
            found = delivery.parse_url(name, conf.delivery_urls())
            return None if found is None or found.is_signed else replace(found, variant=variant)
        return delivery.DeliveryURL(
            delivery_url=self.option("delivery_url"),
            account_hash=conf.credential("account_hash", self._options),
            image_id=self.image_id(name),
            variant=variant,
        )

    def _end(self, name: str, variant: str, expire: signing.Lifetime | None) -> int | None:
        """When a signed address of the image ends; ``None`` where it needs no signature."""
        if not self._is_private(name) or conf.is_never_signed(variant):
            return None
        delivery.check_signable(variant)
        return signing.ending(self.option("expire") if expire is None else expire, now=time.time())

    def _is_private(self, name: str) -> bool:
        return naming.is_private(name) or self.option("require_signed_urls")

    def _waiting_address(self, name: str, variant: str, ends_at: int | None) -> str | None:
        """Where our own view shows an image that may not have arrived yet, if it is mounted."""
        queue = self._queue
        if queue is None or not queue.is_undelivered(name):
            return None
        address: str | None = queue.waiting_address(name, variant, ends_at=ends_at)
        return address
