"""A local Cloudflare Images over real HTTP: management API, upload URLs, batch paths and delivery.

``python -m cf_images.emulator`` runs one for development; :class:`Emulator` runs one in a test::

    with Emulator() as emulator:
        client = CloudflareImagesClient(emulator.account_id, emulator.api_token, api_url=emulator.api_url)

It is a second opinion, not a mirror: it shares no code with this package's client and URLs, only the
Pillow side (``cf_images.rendering``). What is unknown about the real service is decided in
:mod:`.choices`, each decision a named constant; published limits are in :mod:`.limits`.

What it does not emulate: Global API keys (``X-Auth-Key``), the difference between read and edit tokens,
webhooks and queue events, ``/cdn-cgi/image`` for remote images, edge caching and purging, eventual
consistency (except as a fault on demand), content credentials, and everything that Cloudflare does with
a neural network.
"""

from __future__ import annotations

try:
    import werkzeug  # noqa: F401 - only to explain its absence
except ImportError as missing:  # pragma: no cover - needs an environment without the extra
    raise ImportError("The emulator needs werkzeug: pip install 'django-cf-images[emulator]'") from missing

from cf_images.emulator.server import Emulator

__all__ = ["Emulator"]
