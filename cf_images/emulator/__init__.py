"""A local Cloudflare Images service over real HTTP: management API, upload URLs, batch host and delivery.

``python -m cf_images.emulator`` runs one for development; :class:`Emulator` runs one in a test::

    with Emulator() as emulator:
        client = CloudflareImagesClient(emulator.account_id, emulator.api_token, api_url=emulator.api_url)

The emulator checks the package from outside: of the package's code it uses only ``cf_images.rendering``
(Pillow), never the client or the URL code. Where each part is:

* HTTP: ``server``, ``app`` (chooses the part), ``hosts`` (who may ask), ``access`` (tokens, rates), ``forms``
  and ``flattened`` (input), ``responses``
* management API: ``api``, ``uploads``, ``fetching`` (by URL), ``inspection``, ``settings``, ``filters``
* delivery: ``delivery``, ``signing``, ``svg``, ``renditions`` (cache); storage: ``state``, ``images``,
  ``bodies`` (bytes), ``database``; the emulator itself: ``control``, ``page``, ``faults``
* the service: ``errors`` and ``limits`` are what Cloudflare publishes, ``assumptions`` what it does not

Not emulated:

* Global API keys (``X-Auth-Key``), and the difference between read and edit tokens
* webhooks and queue events
* ``/cdn-cgi/image`` for remote images
* edge caching and purging
* eventual consistency, except for the fault ``stale``
* content credentials: the setting is stored and has no effect
* everything that Cloudflare does with a neural network, such as ``gravity=face`` and ``segment``
* rendering of HEIC where the extra ``[heic]`` is not installed: such images are stored, but not delivered
"""

from __future__ import annotations

try:
    import werkzeug  # noqa: F401 - only to explain its absence
except ImportError as missing:  # pragma: no cover - needs an environment without the extra
    raise ImportError("The emulator needs werkzeug: pip install 'django-cf-images[emulator]'") from missing

from cf_images.emulator.server import Emulator

__all__ = ["Emulator"]
