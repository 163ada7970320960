"""For the tests of projects, under any runner: a Cloudflare of their own, and none of the real one.

``emulated`` is the emulator over real HTTP, which needs the extra ``[emulator]``; ``in_memory`` a double that
needs nothing. Both replace the account of every storage, whatever settings and environment say. The fixtures
of ``pytest_plugin`` are the same for pytest.
"""

from cf_images.test.contexts import emulated, fields_stored_in, in_memory, real_account
from cf_images.test.double import InMemoryCloudflare
from cf_images.test.testcase import CloudflareImagesTestMixin

__all__ = [
    "CloudflareImagesTestMixin",
    "InMemoryCloudflare",
    "emulated",
    "fields_stored_in",
    "in_memory",
    "real_account",
]
