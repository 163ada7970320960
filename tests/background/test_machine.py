"""Any order of uploads, deletions, faults, kills and ticks of the clock: nothing acknowledged is ever lost.

The machine must also be able to fail: each of the classic mistakes, seeded into the package, is caught.
"""

from __future__ import annotations

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
    multiple,
    rule,
    run_state_machine_as_test,
)

from cf_images.background import claims, discard, private, public, upload_from_file, worker
from cf_images.client import Image
from cf_images.exceptions import (
    CloudflareUnavailableError,
    ImageExistsError,
    ImageRejectedError,
)
from cf_images.models import MOVING, Gate, Piece, State, Upload
from cf_images.storage import CloudflareImagesStorage
from tests.background.conftest import ALIAS
from tests.background.world import FAULTS, FakeClient, KilledError, World
from tests.pictures import picture

pytestmark = [pytest.mark.django_db, pytest.mark.timeout(600)]


class Uploads(RuleBasedStateMachine):
    """A site that accepts and deletes images, workers, and a world that does what it can."""

    names = Bundle("names")
    faults = ("none",) * len(FAULTS) + FAULTS

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

    @rule(target=names, private=st.booleans(), commits=st.booleans())
    def accept(self, *, private: bool, commits: bool) -> Any:
        body = picture(seed=len(self.acknowledged) + len(self.deleted))
        with transaction.atomic():
            name = upload_from_file(io.BytesIO(body), filename="a.png", require_signed_urls=private)
            transaction.set_rollback(not commits)
        if not commits:
            return multiple()
        self.acknowledged[name] = body
        return name

    @rule(name=consumes(names), changes_its_mind=st.booleans())
    def delete(self, name: str, *, changes_its_mind: bool) -> None:
        if changes_its_mind:
            with transaction.atomic():
                discard(name, ALIAS)
                transaction.set_rollback(True)
        discard(name, ALIAS)
        del self.acknowledged[name]
        self.deleted.add(name)

    @rule(data=st.data())
    def work(self, data: st.DataObject) -> None:
        self.world.faults = [data.draw(st.sampled_from(self.faults)) for _ in range(4)]
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
        rows = {row["name"]: row for row in Upload.objects.values("pk", "name", "state", "remote_id")}
        held = dict(Piece.objects.values_list("upload", "data"))  # these images have one piece
        for name, body in self.acknowledged.items():
            row = rows[name]
            stored = row["state"] == State.STORED
            assert (self.world.images[row["remote_id"]].body if stored else held[row["pk"]]) == body

    @invariant()
    def nothing_is_sent_that_was_rolled_back(self) -> None:
        assert set(Upload.objects.values_list("name", flat=True)) <= {*self.acknowledged, *self.deleted}

    def teardown(self) -> None:
        """The world heals: everything arrives, once, and what was deleted is gone."""
        try:
            for _ in range(12):
                self.world.tick(4000)
                while worker.deliver_one():
                    pass
                if not Upload.objects.filter(state__in=MOVING).exists():
                    break
            self.nothing_acknowledged_is_lost()
            states = dict(Upload.objects.values_list("name", "state"))
            assert states == dict.fromkeys(self.acknowledged, State.STORED)
            arrived = [stored.body for stored in self.world.images.values() if stored.body is not None]
            assert sorted(arrived) == sorted(self.acknowledged.values())
        finally:
            self.patch.undo()


def run(machine: type[Uploads], *, examples: int) -> None:
    chosen = settings(
        max_examples=examples,
        stateful_step_count=20,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(machine, settings=chosen)


def test_nothing_is_lost_doubled_or_left_behind(cloudflare: Any) -> None:
    run(Uploads, examples=100)


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


def writes_are_not_fenced(patch: pytest.MonkeyPatch) -> None:
    unfenced = property(lambda claim: Upload.objects.filter(pk=claim.upload.pk))
    patch.setattr(claims.Claim, "rows", unfenced)


def reservation_is_not_written_down(patch: pytest.MonkeyPatch) -> None:
    def reserve(claim: Any, client: Any) -> None:
        reserved = client.create_direct_upload(metadata=claim.upload.metadata)
        claim.upload.remote_id, claim.upload.upload_url = reserved.id, reserved.upload_url

    patch.setattr(private, "_reserve", reserve)


@pytest.mark.parametrize(
    ("mistake", "faults"),
    [
        (answer_409_is_an_error, ("none", "lost after")),
        (timeout_is_success, ("none", "lost before")),
        (leases_never_end, ("none", "killed before")),
        (writes_are_not_fenced, ("none", "asleep")),
        (reservation_is_not_written_down, ("none", "killed after")),
    ],
)
def test_seeded_mistake_is_caught(
    cloudflare: Any,
    monkeypatch: pytest.MonkeyPatch,
    mistake: Callable[[pytest.MonkeyPatch], None],
    faults: tuple[str, ...],
) -> None:
    """The faults that show it, so that it is found soon; the whole machine draws from all of them."""
    machine = type(mistake.__name__, (Uploads,), {"faults": faults})
    run(machine, examples=10)
    mistake(monkeypatch)
    with pytest.raises((AssertionError, KeyError)):
        run(machine, examples=200)
