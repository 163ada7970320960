"""``manage.py cf_images prune``: deletes old rows that are no longer needed."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command

from cf_images.background import prune
from cf_images.models import State, Upload
from tests.background import conftest as background
from tests.background.conftest import Clock, work

pytestmark = pytest.mark.django_db

Accept = Callable[..., Upload]
# The fixtures of background uploads.
accept, cloudflare, fresh_process = background.accept, background.cloudflare, background.fresh_process
clock = background.clock


def test_deletes_old_public_rows_and_nothing_else(accept: Accept, cloudflare: Any, clock: Clock) -> None:
    public, private = accept(), accept(require_signed_urls=True)
    work()
    pending = accept()
    clock.advance(days=100)
    fresh = accept()
    Upload.objects.filter(pk=fresh.pk).update(state=State.STORED, stored_at=clock.now())
    out = io.StringIO()
    call_command("cf_images", "prune", "--days", "30", stdout=out)
    assert out.getvalue() == "1 row deleted.\n"
    assert set(Upload.objects.values_list("pk", flat=True)) == {private.pk, pending.pk, fresh.pk}
    assert public.name in cloudflare.images


def test_works_in_batches(accept: Accept, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(5):
        accept()
    work()
    monkeypatch.setattr("cf_images.background.maintenance._BATCH", 2)
    assert prune(timedelta()) == 5
