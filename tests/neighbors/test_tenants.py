"""django-tenants on PostgreSQL, in a project of its own: tenants share the tables of this package."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.background.test_chaos import needs
from tests.chaos import servers
from tests.pictures import picture

pytestmark = needs("PostgreSQL")

ROOT = Path(__file__).parent.parent.parent
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def project(cf_images_emulator: Any) -> Iterator[Callable[..., Run]]:
    """Return a function that says where the tables are, and returns one that runs a module in the project."""
    emulator = cf_images_emulator
    credentials = ("api_url", "delivery_url", "account_id", "api_token", "account_hash")
    with servers.postgresql() as database:

        def project(*, shared: list[str], tenant: list[str]) -> Run:
            given = {
                "database": database,
                "shared": shared,
                "tenant": tenant,
                "cf_images": {name.upper(): getattr(emulator, name) for name in credentials},
            }

            def run(*command: str) -> subprocess.CompletedProcess[str]:
                return subprocess.run(
                    [sys.executable, "-m", *command],
                    cwd=ROOT,
                    env={
                        **os.environ,
                        "DJANGO_SETTINGS_MODULE": "tests.neighbors.tenant_settings",
                        "TENANT_SETTINGS": json.dumps(given),
                    },
                    capture_output=True,
                    text=True,
                    timeout=100,
                    check=False,
                )

            return run

        yield project


def test_images_of_all_tenants_are_uploaded_by_one_worker(project: Any, cf_images_emulator: Any) -> None:
    run = project(shared=["cf_images"], tenant=[])
    saved = run("tests.neighbors.tenants")
    assert saved.returncode == 0, saved.stderr
    images = json.loads(saved.stdout.splitlines()[-1])
    assert all(image["size"] == len(picture()) for image in images.values()), "pending images can be read"
    processed = run("django", "cf_images", "process")
    assert (processed.returncode, processed.stdout) == (0, "2 images stored.\n"), processed.stderr
    assert {image["name"] for image in images.values()} == set(cf_images_emulator.images)
    checked = run("django", "check", "--tag", "cf_images")
    assert "E030" not in checked.stderr


@pytest.mark.parametrize("shared", [[], ["cf_images"]], ids=["only", "too"])
def test_tables_of_tenants_are_an_error(project: Any, cf_images_emulator: Any, shared: list[str]) -> None:
    run = project(shared=shared, tenant=["cf_images"])
    saved = run("tests.neighbors.tenants")
    assert saved.returncode == 0, saved.stderr
    checked = run("django", "check", "--tag", "cf_images")
    assert "cf_images.E030" in checked.stderr
    processed = run("django", "cf_images", "process", "--skip-checks")
    assert not cf_images_emulator.images
    if not shared:
        assert processed.returncode == 2
        assert processed.stderr.startswith(
            "CommandError: The database 'default' (schema 'public') has no table cf_images_upload"
        )
        assert "SHARED_APPS" in processed.stderr
        assert "Traceback" not in processed.stderr


def test_images_in_rows_of_any_tenant_are_in_use(project: Any, cf_images_emulator: Any) -> None:
    run = project(shared=["cf_images"], tenant=[])
    assert run("tests.neighbors.tenants").returncode == 0
    assert run("django", "cf_images", "process").returncode == 0
    assert run("django", "cf_images", "prune", "--days", "0").stdout == "2 rows deleted.\n"
    found = run("django", "cf_images", "orphans", "--no-text-scan")
    assert "2 images listed, 2 in use" in found.stdout, found.stderr
    cf_images_emulator.app.state.images.clear()
    found = run("django", "cf_images", "orphans")
    assert found.stdout.count("missing: ") == 2, found.stderr
