"""Uploads, deletions, faults, kills and time in any order: no accepted image is ever lost.

The machine must also be able to fail: it catches each classic mistake that a test makes in the package.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.db import transaction
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

from cf_images.accounts import Account
from cf_images.background import (
    delete,
    leases,
    operations,
    outcomes,
    pace,
    timing,
    upload_from_file,
    worker,
)
from cf_images.client import Image
from cf_images.exceptions import (
    CloudflareUnavailableError,
    ImageExistsError,
    ImageRejectedError,
)
from cf_images.models import AccountPace, Chunk, CircuitBreaker, State, Upload
from tests.background.conftest import ALIAS, use_background_storage
from tests.background.simulation import FAULTS, FakeClient, KilledError, Simulation
from tests.pictures import picture

pytestmark = [pytest.mark.django_db, pytest.mark.timeout(600), pytest.mark.no_cover]

GIVEN_NAMES = ("100w.png", "200w.png")  # which another app keeps, and saves again and again


class Uploads(RuleBasedStateMachine):
    """A site that accepts and deletes images, its workers, and a simulation of everything else."""

    names = Bundle("names")
    faults = ("none",) * len(FAULTS) + FAULTS

    def __init__(self) -> None:
        super().__init__()
        for model in (Chunk, Upload, CircuitBreaker, AccountPace):
            model.objects.all().delete()
        self.simulation = Simulation(meanwhile=self.other_worker)
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(timezone, "now", self.simulation.now)
        self.patch.setattr(Account, "client", lambda _, **__: FakeClient(self.simulation))
        self.patch.setattr(pace.Pace, "acquire", lambda *_, **__: 0.0)  # it waits by the real clock
        self.accepted: dict[str, bytes] = {}
        self.deleted: set[str] = set()
        self.bodies = 0
        self.replaced_meanwhile: str | None = None

    @rule(target=names, private=st.booleans(), commits=st.booleans())
    def accept(self, *, private: bool, commits: bool) -> Any:
        body = self.new_body()
        with transaction.atomic():
            name = upload_from_file(io.BytesIO(body), filename="a.png", require_signed_urls=private)
            transaction.set_rollback(not commits)
        if not commits:
            return multiple()
        self.accepted[name] = body
        return name

    @rule(name=consumes(names), rolls_back_first=st.booleans())
    def delete(self, name: str, *, rolls_back_first: bool) -> None:
        if rolls_back_first:
            with transaction.atomic():
                delete(name, ALIAS)
                transaction.set_rollback(True)
        delete(name, ALIAS)
        del self.accepted[name]
        self.deleted.add(name)

    def new_body(self) -> bytes:
        self.bodies += 1
        return picture(seed=self.bodies)

    @rule(name=st.sampled_from(GIVEN_NAMES), commits=st.booleans(), in_one=st.booleans())
    def replace(self, name: str, *, commits: bool = True, in_one: bool = True) -> None:
        """Delete and save the same name, as thumbnail apps do, whether it exists or not."""
        body = self.new_body()
        if not in_one:
            self.delete_given(name)
        with transaction.atomic():
            storages[ALIAS].delete(name)
            assert storages[ALIAS].save(name, ContentFile(body)) == name
            transaction.set_rollback(not commits)
        if commits:
            self.accepted[name] = body

    @rule(name=st.sampled_from(GIVEN_NAMES))
    def delete_given(self, name: str) -> None:
        storages[ALIAS].delete(name)
        self.accepted.pop(name, None)
        self.deleted.add(name)

    @rule(data=st.data())
    def work(self, data: st.DataObject) -> None:
        self.simulation.faults = [data.draw(st.sampled_from(self.faults)) for _ in range(4)]
        self.replaced_meanwhile = data.draw(st.sampled_from((None, *GIVEN_NAMES)))
        try:
            worker.process_one()
        except KilledError:
            pass
        self.simulation.faults = []

    def other_worker(self) -> None:
        if self.replaced_meanwhile:
            self.replace(self.replaced_meanwhile)
        with transaction.atomic():
            worker.process_one()

    @rule(seconds=st.sampled_from((1, 20, 200, 400, 4000)))
    def tick(self, seconds: int) -> None:
        self.simulation.tick(seconds)

    @invariant()
    def nothing_accepted_is_lost(self) -> None:
        rows = {row["name"]: row for row in Upload.objects.values("pk", "name", "state", "remote_id")}
        pending = dict(Chunk.objects.values_list("upload", "data"))  # these images have one chunk
        for name, body in self.accepted.items():
            row = rows[name]
            stored = row["state"] == State.STORED
            assert (self.simulation.images[row["remote_id"]].body if stored else pending[row["pk"]]) == body

    @invariant()
    def nothing_is_sent_that_was_rolled_back(self) -> None:
        assert set(Upload.objects.values_list("name", flat=True)) <= {*self.accepted, *self.deleted}

    def teardown(self) -> None:
        """Without faults, every image arrives once, and what was deleted is gone."""
        try:
            for _ in range(12):
                self.simulation.tick(4000)
                tried = 0
                while worker.process_one():
                    tried += 1
                    assert tried < 100, "a row is due again and again"
                if not Upload.objects.exclude(next_attempt_at=None).exists():
                    break
            self.nothing_accepted_is_lost()
            states = dict(Upload.objects.values_list("name", "state"))
            assert states == dict.fromkeys(self.accepted, State.STORED)
            bodies = [stored.body for stored in self.simulation.images.values() if stored.body is not None]
            assert sorted(bodies) == sorted(self.accepted.values())
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


@pytest.fixture(autouse=True)
def given_names(cloudflare: Any, settings: Any) -> None:
    """``save()`` keeps the name; ``upload_from_file`` gives unique ones all the same."""
    use_background_storage(settings, cloudflare, unique_names=False)
    # A worker looks at no other account.
    settings.STORAGES = {alias: settings.STORAGES[alias] for alias in ("default", "staticfiles", ALIAS)}


def test_nothing_is_lost_doubled_or_left_behind() -> None:
    run(Uploads, examples=100)


def response_409_is_an_error(patch: pytest.MonkeyPatch) -> None:
    def upload(claim: Any, client: Any, sending: Any) -> Image:
        try:
            return operations._post(claim, client, sending)
        except ImageExistsError as error:
            raise ImageRejectedError(error.message) from error

    patch.setattr(operations, "_upload_public", upload)


def timeout_is_success(patch: pytest.MonkeyPatch) -> None:
    def upload(claim: Any, client: Any, sending: Any) -> Image:
        try:
            return operations._post(claim, client, sending)
        except CloudflareUnavailableError:
            return Image(id=claim.row.remote_id)

    patch.setattr(operations, "_upload_public", upload)


def leases_never_expire(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(timing, "LEASE", timedelta(days=365))


def writes_are_not_fenced(patch: pytest.MonkeyPatch) -> None:
    unfenced = property(lambda claim: Upload.objects.filter(pk=claim.row.pk))
    patch.setattr(leases.Claim, "rows", unfenced)


def reservation_is_not_written_down(patch: pytest.MonkeyPatch) -> None:
    def reserve(claim: Any, client: Any, sending: Any) -> Any:
        reserved = client.create_direct_upload(metadata=sending.metadata, require_signed_urls=True)
        claim.row.remote_id = reserved.id
        return reserved

    patch.setattr(operations, "_reserve", reserve)


def superseded_image_is_not_deleted(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(operations, "_delete_superseded", lambda *_: None)


def late_deletion_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(outcomes, "_looks_again", lambda _: False)


def image_that_was_not_sent_is_not_deleted(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(operations, "_was_never_sent", lambda claim: claim.row.token and claim.attempt == 1)


WITH_GIVEN_NAMES = ("replace", "delete_given")
WITH_UNIQUE_NAMES = ("accept", "delete")


@pytest.mark.parametrize(
    ("mistake", "faults", "without"),
    [
        (response_409_is_an_error, ("none", "lost after"), WITH_GIVEN_NAMES),
        (timeout_is_success, ("none", "lost before"), WITH_GIVEN_NAMES),
        (leases_never_expire, ("none", "killed before"), WITH_GIVEN_NAMES),
        (writes_are_not_fenced, ("none", "asleep"), WITH_GIVEN_NAMES),
        (reservation_is_not_written_down, ("none", "killed after"), WITH_GIVEN_NAMES),
        (superseded_image_is_not_deleted, ("none",), WITH_UNIQUE_NAMES),
        (late_deletion_is_forgotten, ("none", "late"), WITH_UNIQUE_NAMES),
        (late_deletion_is_forgotten, ("none", "asleep"), WITH_UNIQUE_NAMES),
        (image_that_was_not_sent_is_not_deleted, ("none",), WITH_UNIQUE_NAMES),
    ],
)
def test_machine_catches_the_mistake(
    monkeypatch: pytest.MonkeyPatch,
    mistake: Callable[[pytest.MonkeyPatch], None],
    faults: tuple[str, ...],
    without: tuple[str, ...],
) -> None:
    """With only the faults and rules that show the mistake, so that it is found soon."""
    no_rules = {name: getattr(Uploads, name).__wrapped__ for name in without}
    machine = type(mistake.__name__, (Uploads,), {"faults": faults, **no_rules})
    run(machine, examples=10)
    mistake(monkeypatch)
    with pytest.raises((AssertionError, KeyError)):  # the latter: the image is not at Cloudflare
        run(machine, examples=200)
