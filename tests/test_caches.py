"""What a process remembers: nothing wrong, also where reading fails, is cancelled, or happens elsewhere."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.db import DatabaseError, transaction

from cf_images import conf, rendering
from cf_images.accounts import Account, signing_keys
from cf_images.background import delete, destinations, is_pending, pending, rows, timing
from cf_images.exceptions import CloudflareUnavailableError, InvalidVariantError
from cf_images.images import names
from cf_images.markup import image_tag
from cf_images.models import State, Upload
from cf_images.views import render_slots
from tests.background import conftest as background
from tests.background.conftest import ALIAS
from tests.pictures import picture

pytestmark = pytest.mark.django_db

Accept = Callable[..., Upload]
# The fixtures of background uploads.
accept, cloudflare, fresh_process = background.accept, background.cloudflare, background.fresh_process
later = background.later

INTERRUPTIONS = [DatabaseError("away"), asyncio.CancelledError(), KeyboardInterrupt(), MemoryError()]
OLD = timing.ASSUME_PENDING_SECONDS + 1


def raising(error: BaseException) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    return fail


def in_thread(work: Callable[[], object]) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


@pytest.fixture(params=INTERRUPTIONS, ids=lambda error: type(error).__name__)
def interruption(request: pytest.FixtureRequest) -> BaseException:
    error: BaseException = request.param
    return error


class TestPendingNames:
    def test_read_that_was_interrupted_is_not_remembered(
        self, accept: Accept, later: Any, monkeypatch: pytest.MonkeyPatch, interruption: BaseException
    ) -> None:
        name, stored = accept().name, names.unique_name("stored.png", seconds=1)
        later(OLD)
        with monkeypatch.context() as patch:
            patch.setattr(pending, "uploads", raising(interruption))
            try:
                assert is_pending(stored), "the view is right for every image"
            except type(interruption):
                assert not isinstance(interruption, DatabaseError)
        later(1.1)
        assert is_pending(name)
        assert not is_pending(stored)

    def test_what_an_interrupted_read_has_found_is_all_or_nothing(
        self, accept: Accept, later: Any, monkeypatch: pytest.MonkeyPatch, interruption: BaseException
    ) -> None:
        """The second of the two queries fails: the names of the first are not a list."""
        rejected = accept()
        Upload.objects.filter(pk=rejected.pk).update(state=State.REJECTED)
        name = accept().name
        later(OLD)
        calls, real = [], pending.uploads

        def first_only() -> Any:
            calls.append(True)
            if len(calls) > 1:
                raise interruption
            return real()

        with monkeypatch.context() as patch:
            patch.setattr(pending, "uploads", first_only)
            try:
                assert is_pending(rejected.name)
            except type(interruption):
                assert not isinstance(interruption, DatabaseError)
            assert pending._pending._found is None
        later(1.1)
        assert is_pending(rejected.name)
        assert is_pending(name)

    def test_another_thread_may_fail(
        self, accept: Accept, later: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        name, stored = accept().name, names.unique_name("stored.png", seconds=1)
        later(OLD)
        with monkeypatch.context() as patch:
            patch.setattr(pending, "uploads", raising(DatabaseError("away")))
            in_thread(lambda: is_pending(name))
        later(1.1)
        assert is_pending(name)
        assert not is_pending(stored)

    def test_while_the_database_is_away_images_known_to_be_stored_stay_at_cloudflare(
        self, accept: Accept, later: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        name = accept().name
        later(3 * OLD)
        stored = names.unique_name("stored.png", seconds=int(time.time()) - 2 * OLD)
        younger = names.unique_name("younger.png", seconds=int(time.time()) - OLD)
        assert not is_pending(stored)
        assert is_pending(name)
        assert not is_pending(younger)
        later(timing.REFRESH_SECONDS)
        monkeypatch.setattr(pending, "uploads", raising(DatabaseError("away")))
        assert not is_pending(stored)
        assert is_pending(name)
        assert is_pending(younger), "its transaction may have ended a moment ago"
        assert is_pending("a-name-that-tells-nothing.png")

    def test_a_deletion_that_is_rolled_back_hides_no_image_from_other_pages(
        self, accept: Accept, later: Any
    ) -> None:
        name = accept().name
        later(OLD)

        def delete_and_fail() -> None:
            with transaction.atomic():
                delete(name, ALIAS)
                is_pending("another.png")  # reads the names, as the transaction sees them
                raise InterruptedError

        with pytest.raises(InterruptedError):
            delete_and_fail()
        assert is_pending(name)
        assert Upload.objects.get(name=name).state == State.PENDING

    def test_names_are_added_by_many_threads_while_others_read(self, cloudflare: Any, later: Any) -> None:
        found, ready = [], threading.Barrier(5)

        def add(number: int) -> None:
            ready.wait()
            for count in range(500):
                pending.remember(f"{number}-{count}.png")
                found.append(is_pending(f"{number}-{count}.png"))

        threads = [threading.Thread(target=add, args=[number]) for number in range(4)]
        for thread in threads:
            thread.start()
        ready.wait()
        for _ in range(5):
            pending._pending._found = None
            is_pending("another.png")
        for thread in threads:
            thread.join()
        assert len(found) == 2000
        assert all(found)
        later(OLD)
        pending.remember("last.png")
        assert list(pending._pending._assumed) == ["last.png"], "the others are forgotten in time"


class TestIDsOfPrivateImages:
    @pytest.fixture
    def stored(self, accept: Accept, later: Any) -> str:
        row = accept(require_signed_urls=True)
        assert background.work() == 1
        later(3 * OLD)
        background.forget()
        return row.name

    def test_query_that_was_interrupted_is_not_remembered(
        self, stored: str, later: Any, monkeypatch: pytest.MonkeyPatch, interruption: BaseException
    ) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(rows, "remote_id", raising(interruption))
            try:
                url = storages[ALIAS].url(stored)
            except type(interruption):
                assert not isinstance(interruption, DatabaseError)
            else:
                assert url.startswith("/cf-images/pending/public/")
        assert rows._remote_ids == {}
        later(1.1)
        assert "sig=" in storages[ALIAS].url(stored)

    def test_a_page_whose_transaction_is_broken_still_has_urls(self, stored: str, later: Any) -> None:
        with transaction.atomic():
            assert not is_pending(stored)
            transaction.set_rollback(True)
            assert storages[ALIAS].url(stored).startswith("/cf-images/pending/public/")
            transaction.set_rollback(False)
        later(1.1)
        assert "sig=" in storages[ALIAS].url(stored)


class TestSigningKeys:
    @pytest.fixture
    def keys(self) -> signing_keys._AccountKeys:
        return signing_keys._AccountKeys()

    def test_fetch_that_was_interrupted_is_not_remembered(
        self, keys: signing_keys._AccountKeys, interruption: BaseException
    ) -> None:
        with pytest.raises(type(interruption)):
            keys.keys(raising(interruption))
        assert keys.keys(lambda: ("key",)) == ("key",)

    def test_failure_of_another_thread_is_repeated_for_a_moment_only(
        self, keys: signing_keys._AccountKeys, later: Any
    ) -> None:
        def fail() -> None:
            with pytest.raises(CloudflareUnavailableError):
                keys.keys(raising(CloudflareUnavailableError("away")))

        in_thread(fail)
        later(6)
        assert keys.keys(lambda: ("key",)) == ("key",)

    def test_known_keys_survive_whatever_happens_to_the_thread_that_fetches(
        self, keys: signing_keys._AccountKeys, later: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert keys.keys(lambda: ("key",)) == ("key",)
        monkeypatch.setattr(threading.Thread, "start", threading.Thread.run)
        for error in (CloudflareUnavailableError("away"), ValueError(), SystemExit()):
            later(signing_keys.FRESH)
            try:
                assert keys.keys(raising(error)) == ("key",)
            except SystemExit:
                assert isinstance(error, SystemExit)
            assert keys.known == ("key",)
            assert not keys.fetching.locked(), "the next one may fetch"
        later(signing_keys.FRESH)
        keys.keys(lambda: ("key", "new"))
        assert keys.known == ("key", "new")

    @pytest.mark.parametrize("error", [RuntimeError("no more threads"), KeyboardInterrupt()])
    def test_thread_that_cannot_start_is_started_later(
        self,
        keys: signing_keys._AccountKeys,
        later: Any,
        monkeypatch: pytest.MonkeyPatch,
        error: BaseException,
    ) -> None:
        assert keys.keys(lambda: ("key",)) == ("key",)
        later(signing_keys.FRESH)
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", raising(error))
            try:
                assert keys.keys(lambda: ("new",)) == ("key",)
            except KeyboardInterrupt:
                assert isinstance(error, KeyboardInterrupt)
        assert not keys.fetching.locked()


class TestSettings:
    def test_read_that_was_interrupted_is_not_remembered(self, interruption: BaseException) -> None:
        outcomes: list[BaseException | None] = [interruption, None]

        @conf.cached
        def read() -> str:
            if error := outcomes.pop(0):
                raise error
            return "value"

        with pytest.raises(type(interruption)):
            read()
        assert (read(), read()) == ("value", "value")

    def test_settings_that_change_while_one_is_read_win(self) -> None:
        values = ["old", "new"]

        @conf.cached
        def read() -> str:
            value = values.pop(0)
            in_thread(conf.clear_cache)
            return value

        assert read() == "old"
        assert read() == "new"

    def test_the_same_of_a_setting_of_the_package(self, settings: Any, monkeypatch: Any) -> None:
        real = conf._cf_images

        def change_meanwhile() -> Any:
            monkeypatch.setattr(conf, "_cf_images", real)
            found = dict(real())
            settings.CF_IMAGES = {"LOCAL_ALIAS": "new"}
            return found

        settings.CF_IMAGES = {"LOCAL_ALIAS": "old"}
        monkeypatch.setattr(conf, "_cf_images", change_meanwhile)
        assert conf.setting("LOCAL_ALIAS") == "old"
        assert conf.setting("LOCAL_ALIAS") == "new"

    def test_account_that_was_made_meanwhile_is_made_again(self, monkeypatch: Any) -> None:
        storage = type(storages[ALIAS])()
        real = type(storage)._find_alias

        def change_meanwhile(self: Any) -> str | None:
            found = real(self)
            conf.clear_cache()
            monkeypatch.setattr(type(storage), "_find_alias", real)
            return found

        monkeypatch.setattr(type(storage), "_find_alias", change_meanwhile)
        first = storage.account
        assert storage.account is not first
        assert storage.account is storage.account

    def test_variant_that_is_none_is_not_remembered(self, settings: Any) -> None:
        account = Account({"account_hash": "h"})
        settings.CF_IMAGES = {"FLEXIBLE_VARIANTS": False}
        with pytest.raises(InvalidVariantError):
            account.variant("w=20")
        assert account._variants == {}
        settings.CF_IMAGES = {}
        assert account.variant("w=20").is_flexible

    def test_plan_of_a_tag_that_failed_is_not_remembered(self, settings: Any, images: Any) -> None:
        image = ContentFile(b"", name="a.png")
        image.storage = images  # type: ignore[attr-defined]
        settings.CF_IMAGES = {"VARIANTS": {"small": {"width": -1}}}
        with pytest.raises(InvalidVariantError):
            image_tag(image, "small,public", alt="")
        settings.CF_IMAGES = {"VARIANTS": {"small": {"width": 9, "height": 9, "fit": "cover"}}}
        assert "/small" in image_tag(image, "small,public", alt="")


class TestDestinations:
    def test_adoption_that_was_interrupted_is_done_again(
        self, cloudflare: Any, monkeypatch: pytest.MonkeyPatch, interruption: BaseException
    ) -> None:
        conf.clear_cache()
        with monkeypatch.context() as patch:
            patch.setattr(destinations, "unfinished", raising(interruption))
            patch.setattr(Account, "key_without_id", "another")
            with pytest.raises(type(interruption)):
                destinations.destinations()
        assert destinations._adopted != conf.generation()
        assert destinations.destinations()

    def test_problem_of_an_alias_is_not_remembered_beyond_the_settings(
        self, cloudflare: Any, settings: Any
    ) -> None:
        right = settings.STORAGES
        settings.STORAGES = {**right, ALIAS: {**right[ALIAS], "OPTIONS": {"unknown": 1}}}
        assert not [found for found in destinations.destinations() if ALIAS in found.accounts]
        settings.STORAGES = right
        assert [found for found in destinations.destinations() if ALIAS in found.accounts]


class TestRenditions:
    def test_rendering_that_was_interrupted_is_not_remembered(
        self, accept: Accept, client: Any, monkeypatch: pytest.MonkeyPatch, interruption: BaseException
    ) -> None:
        row = accept(picture(size=(600, 400)))
        url = storages[ALIAS].url(row.name, "avatar")
        render_slots.clear()
        with monkeypatch.context() as patch:
            patch.setattr(rendering, "render", raising(interruption))
            with pytest.raises(type(interruption)):
                client.get(url)
        response = client.get(url)
        assert (response.status_code, response["Content-Type"]) == (200, "image/png")

    def test_local_rendering_that_was_interrupted_leaves_no_file(
        self, tmp_path: Any, settings: Any, monkeypatch: pytest.MonkeyPatch, interruption: BaseException
    ) -> None:
        settings.MEDIA_ROOT = tmp_path
        local = storages["default"]
        name = local.save("a.png", ContentFile(picture(size=(600, 400))))
        before = sorted(tmp_path.rglob("*"))
        with monkeypatch.context() as patch:
            patch.setattr("cf_images.storage.local.os.replace", raising(interruption))
            with pytest.raises(type(interruption)):
                local.rendition(name, "avatar")
        assert [path for path in sorted(tmp_path.rglob("*")) if path.is_file() and path not in before] == []
        assert local.rendition(name, "avatar").path.exists()
