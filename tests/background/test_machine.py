"""Any order of uploads, deletions, faults, kills and ticks of the clock: nothing acknowledged is ever lost.

The machine must also be able to fail: each of the classic mistakes, seeded into the package, is caught.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    rule,
    run_state_machine_as_test,
)

from cf_images.background import claims, discard, doomed, private, public, upload_from_file, worker
from cf_images.client import Image
from cf_images.exceptions import (
    CloudflareImagesError,
    CloudflareUnavailableError,
    ImageExistsError,
    ImageRejectedError,
)
from cf_images.models import Gate, Piece, State, Upload
from cf_images.storage import CloudflareImagesStorage
from tests.background.conftest import ALIAS
from tests.background.world import FAULTS, FakeClient, KilledError, World
from tests.pictures import picture

pytestmark = [pytest.mark.django_db, pytest.mark.timeout(600)]


class Uploads(RuleBasedStateMachine):
    """A site that accepts and deletes images, workers, and a world that does what it can."""

    names = Bundle("names")

    def __init__(self) -> None:
        super().__init__()
        for model in (Piece, Upload, Gate):
            model.objects.all().delete()
        self.world = World(meanwhile=self.other_worker)
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(timezone, "now", self.world.now)
        self.patch.setattr(CloudflareImagesStorage, "make_client", lambda _, **__: FakeClient(self.world))
        self.acknowledged: dict[str, bytes] = {}
        self.deleted: set[str] = set()

    @rule(target=names, private=st.booleans())
    def accept(self, *, private: bool) -> str:
        body = picture(seed=len(self.acknowledged) + len(self.deleted))
        name = upload_from_file(io.BytesIO(body), filename="a.png", require_signed_urls=private)
        self.acknowledged[name] = body
        return name

    @rule()
    def accept_and_roll_back(self) -> None:
        with transaction.atomic():
            upload_from_file(io.BytesIO(picture()))
            transaction.set_rollback(True)

    @rule(name=consumes(names))
    def delete(self, name: str) -> None:
        discard(name, ALIAS)
        del self.acknowledged[name]
        self.deleted.add(name)

    @rule(name=names)
    def delete_and_roll_back(self, name: str) -> None:
        with transaction.atomic():
            discard(name, ALIAS)
            transaction.set_rollback(True)

    @rule(faults=st.lists(st.sampled_from(FAULTS), max_size=4))
    def work(self, faults: list[str]) -> None:
        self.world.faults = faults
        try:
            worker.deliver_one()
        except KilledError:
            pass
        self.world.faults = []

    def other_worker(self) -> None:
        with transaction.atomic():
            worker.deliver_one()

    @rule(seconds=st.sampled_from((1, 20, 200, 400, 4000)))
    def tick(self, seconds: int) -> None:
        self.world.tick(seconds)

    @invariant()
    def nothing_acknowledged_is_lost(self) -> None:
        for name, body in self.acknowledged.items():
            upload = Upload.objects.get(name=name)
            if upload.state == State.STORED:
                assert self.world.images[upload.remote_id].body == body
            else:
                held = b"".join(Piece.objects.filter(upload=upload).values_list("data", flat=True))
                assert hashlib.sha256(held).hexdigest() == upload.sha256

    @invariant()
    def nothing_is_sent_that_was_rolled_back(self) -> None:
        assert set(Upload.objects.values_list("name", flat=True)) <= {*self.acknowledged, *self.deleted}

    def teardown(self) -> None:
        """The world heals: everything arrives, once, and what was deleted is gone."""
        try:
            for _ in range(30):
                self.world.tick(4000)
                while worker.deliver_one():
                    pass
            self.nothing_acknowledged_is_lost()
            states = dict(Upload.objects.values_list("name", "state"))
            assert states == dict.fromkeys(self.acknowledged, State.STORED)
            arrived = [stored.body for stored in self.world.images.values() if stored.body is not None]
            assert sorted(arrived) == sorted(self.acknowledged.values())
        finally:
            self.patch.undo()


def run(examples: int, *, steps: int = 20) -> None:
    chosen = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(Uploads, settings=chosen)


def test_nothing_is_lost_doubled_or_left_behind(cloudflare: Any) -> None:
    run(60)


def answer_409_is_an_error(patch: pytest.MonkeyPatch) -> None:
    def upload(claim: Any, client: Any) -> Image:
        try:
            return public._send(claim, client)
        except ImageExistsError as error:
            raise ImageRejectedError(error.message) from error

    patch.setattr(public, "upload", upload)


def timeout_is_success(patch: pytest.MonkeyPatch) -> None:
    def upload(claim: Any, client: Any) -> Image:
        try:
            return public._send(claim, client)
        except CloudflareUnavailableError:
            return Image(id=claim.upload.remote_id)

    patch.setattr(public, "upload", upload)


def leases_never_end(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(claims, "_is_free", lambda _: Q(lease=""))


def leases_are_not_looked_at(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(claims, "_is_free", lambda _: Q())


def writes_are_not_fenced(patch: pytest.MonkeyPatch) -> None:
    unfenced = property(lambda claim: Upload.objects.filter(pk=claim.upload.pk))
    patch.setattr(claims.Claim, "rows", unfenced)


def one_404_ends_a_deletion(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(doomed, "_may_still_appear", lambda _: False)


def reservation_is_forgotten_at_the_first_404(patch: pytest.MonkeyPatch) -> None:
    look = private.look

    def forgetful(claim: Any, client: Any) -> Image | None:
        image = look(claim, client)
        if image is None:
            private._forget(claim)
        return image

    patch.setattr(private, "look", forgetful)


def reservation_is_not_written_down(patch: pytest.MonkeyPatch) -> None:
    def reserve(claim: Any, client: Any) -> None:
        reserved = client.create_direct_upload(metadata=claim.upload.metadata)
        claim.upload.remote_id, claim.upload.upload_url = reserved.id, reserved.upload_url

    patch.setattr(private, "_reserve", reserve)


def errors_give_up(patch: pytest.MonkeyPatch) -> None:
    def later(claim: Any, error: CloudflareImagesError, **_: Any) -> None:
        worker.settling.rejected(claim, ImageRejectedError(str(error)))

    patch.setattr(worker.settling, "later", later)


@pytest.mark.parametrize(
    "mistake",
    [
        answer_409_is_an_error,
        timeout_is_success,
        leases_never_end,
        leases_are_not_looked_at,
        writes_are_not_fenced,
        one_404_ends_a_deletion,
        reservation_is_forgotten_at_the_first_404,
        reservation_is_not_written_down,
        errors_give_up,
    ],
)
def test_seeded_mistake_is_caught(
    cloudflare: Any, monkeypatch: pytest.MonkeyPatch, mistake: Callable[[pytest.MonkeyPatch], None]
) -> None:
    mistake(monkeypatch)
    with pytest.raises((AssertionError, KeyError, Upload.DoesNotExist, BaseExceptionGroup)):
        run(400, steps=30)
