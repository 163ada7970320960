"""A mixin for ``unittest`` and Django's test cases."""

from __future__ import annotations

import threading
import unittest
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from cf_images import conf
from cf_images.client import guard
from cf_images.test.contexts import emulated, fields_stored_in

if TYPE_CHECKING:
    _TestCase = unittest.TestCase
else:
    _TestCase = object

_REMEDY = "self.cloudflare has an account of its own; allow this one by cf_images.test.real_account()."


class CloudflareImagesTestMixin(_TestCase):
    """A test case whose images go to ``self.cloudflare``; put it before ``TestCase``.

    ``cloudflare_service`` is ``emulated`` or ``in_memory``. ``cloudflare_alias`` is the alias that fields
    with ``select_storage`` use, by default ``CF_IMAGES["CLOUDFLARE_ALIAS"]``. What ``setUpTestData`` stores
    is there in each test, also after one that deletes it; what a test stores is not there in the next. A test
    that sends a request to Cloudflare itself fails, also where a thread sends it.
    """

    cloudflare_service: Callable[[], AbstractContextManager[Any]] = staticmethod(emulated)
    cloudflare_alias: str | None = None
    cloudflare: Any

    @classmethod
    def setUpClass(cls) -> None:
        """Start the service before Django calls ``setUpTestData``."""
        cls.cloudflare = cls.enterClassContext(cls.cloudflare_service())
        cls.enterClassContext(fields_stored_in(cls.cloudflare_alias or conf.setting("CLOUDFLARE_ALIAS")))
        super().setUpClass()

    def setUp(self) -> None:
        """Watch this test, and let it have what ``setUpTestData`` stored."""
        super().setUp()
        conf.clear_cache()
        self._refuse_real_account()
        self.addCleanup(self.cloudflare.reset_faults)
        self.addCleanup(self.cloudflare.restore, self.cloudflare.snapshot())

    def _refuse_real_account(self) -> None:
        test_thread, unnoticed = threading.current_thread(), list[str]()

        def fail(host: str) -> None:
            message = guard.real_account_message(host, _REMEDY)
            if threading.current_thread() is not test_thread:
                unnoticed.append(message)  # an exception there ends the thread, and not the test
            raise guard.RealAccountError(message)

        def report() -> None:
            if unnoticed:
                self.fail(unnoticed[0])

        self.addCleanup(report)
        self.enterContext(guard.refuse_hosts(guard.REAL_HOSTS, fail))
