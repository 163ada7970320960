"""The pages about monitoring and metrics: what they show is what the commands print and the collector has."""

from __future__ import annotations

import io
import json
import logging
import re
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.core.management import call_command
from django.test import RequestFactory
from django.urls import path
from prometheus_client import REGISTRY

from cf_images.background.figures import BACKLOG, LOCAL_FILES, OPEN, OTHER_ACCOUNTS, PAUSE_REASONS
from cf_images.background.reporting import IDLE, LATE
from cf_images.contrib.prometheus import METRICS, UP
from cf_images.models import State, Upload, Worker
from tests.background import conftest as background
from tests.background.conftest import Clock
from tests.docs import pages
from tests.docs.alerts import EXPRESSION, RULES, firing

PAGE, REFERENCE = "how-to/monitoring.md", "reference/metrics.md"
TEXT = (pages.DOCS / PAGE).read_text(encoding="utf-8")

Accept = Callable[..., Upload]
accept, cloudflare, fresh_process = background.accept, background.cloudflare, background.fresh_process
clock = background.clock


@pytest.fixture
def metrics_module(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """``mysite.metrics`` as the page has it; the collector of the process is unregistered again."""
    module = ModuleType("mysite.metrics")
    monkeypatch.setitem(sys.modules, "mysite", ModuleType("mysite"))
    monkeypatch.setitem(sys.modules, "mysite.metrics", module)
    before = set(REGISTRY._collector_to_names)
    pages.block(PAGE, "# mysite/metrics.py").run(module.__dict__)
    yield module
    for collector in set(REGISTRY._collector_to_names) - before:
        REGISTRY.unregister(collector)


@pytest.mark.django_db
def test_the_view_of_the_page_serves_the_metrics(metrics_module: ModuleType, cloudflare: Any) -> None:
    names: dict[str, Any] = {"urlpatterns": [], "path": path}
    pages.block(PAGE, "# mysite/urls.py").run(names)
    (pattern,) = names["urlpatterns"]
    response = pattern.callback(RequestFactory().get("/metrics"))
    assert response["Content-Type"].startswith("text/plain")
    assert b"cf_images_up 1.0" in response.content
    assert b"process_" in response.content or b"python_info" in response.content, "those of others, too"


@pytest.mark.django_db
def test_status_of_the_page(cloudflare: Any, capsys: pytest.CaptureFixture[str]) -> None:
    pages.block(PAGE, "from cf_images.background import status").run({})
    assert capsys.readouterr().out == "0 None None\n"


def test_logging_of_the_page_is_a_configuration() -> None:
    names: dict[str, Any] = {}
    pages.block(PAGE, "# settings.py, logging").run(names)
    config = logging.config.DictConfigurator(names["LOGGING"])  # type: ignore[attr-defined]  # imported by logging
    assert config.config["loggers"]["cf_images"]["level"] == "INFO"
    formatter = config.configure_formatter(names["LOGGING"]["formatters"]["line"])
    record = logging.LogRecord("cf_images", logging.INFO, "", 0, "message", None, None)
    assert formatter.format(record).endswith(" INFO cf_images: message")


@pytest.mark.django_db
def test_output_of_the_page_is_that_of_the_command(accept: Accept, clock: Clock) -> None:
    Worker.objects.all().delete()  # the heartbeat of a worker that an earlier test has run
    for row in [accept(upload_to="avatars/") for _ in range(17)]:
        Upload.objects.filter(pk=row.pk).update(state=State.STORED, next_attempt_at=None)
    accept(upload_to="avatars/")
    clock.advance(minutes=12)
    out = io.StringIO()
    with pytest.raises(SystemExit):
        call_command("cf_images", "uploads", stdout=out, stderr=io.StringIO())
    shown = pages.block(PAGE, "pending ").text
    pattern = ".*?".join(map(re.escape, shown.rstrip().split("…")))
    assert re.fullmatch(pattern, out.getvalue().rstrip(), re.S), out.getvalue()


@pytest.mark.django_db
def test_json_of_the_page_has_the_keys_of_the_command(accept: Accept, clock: Clock) -> None:
    accept()
    clock.advance(minutes=12)
    out = io.StringIO()
    with pytest.raises(SystemExit):
        call_command("cf_images", "uploads", "--json", stdout=out, stderr=io.StringIO())
    real, (block,) = json.loads(out.getvalue()), pages.blocks(PAGE, "json")
    shown = json.loads(block.text)
    assert list(shown) == list(real)
    assert list(shown["oldest_pending"][0]) == list(real["oldest_pending"][0])
    (problem,) = shown["problems"]
    assert problem in real["problems"]
    assert {key: type(value) for key, value in shown.items() if value is not None} == {
        key: type(real[key]) if real[key] is not None else type(shown[key])
        for key in shown
        if shown[key] is not None
    }


def test_problems_and_limits_of_the_page_are_those_of_the_command() -> None:
    source = Path(sys.modules["cf_images"].__path__[0], "management/subcommands/uploads.py").read_text()
    named = set(re.findall(r"^\| `([a-z-]+)` \|", TEXT.partition("### For machines")[0], re.M))
    assert named == {
        *re.findall(r'Problem\(name="([a-z-]+)"', source),
        *(f"max-{what}" for what in ("pending", "rejected")),
    }
    assert timedelta(seconds=600) == LATE
    assert timedelta(seconds=300) == IDLE


# The reference


def test_reference_has_every_metric_with_its_type_labels_and_meaning() -> None:
    text = (pages.DOCS / REFERENCE).read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(cf_images_\w+)` \| (\w+) \| (.*?) \|", text, re.M)
    found = {name: (kind, tuple(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}
    expected = {
        f"{metric.name}_total" if metric.is_counter else metric.name: (
            "counter" if metric.is_counter else "gauge",
            metric.labels,
        )
        for metric in METRICS
    }
    assert found == {UP: ("gauge", ()), **expected}
    assert len(rows) == len(found)


def test_reference_has_the_values_of_labels() -> None:
    text = (pages.DOCS / REFERENCE).read_text(encoding="utf-8")
    values = {
        label: re.findall(r"`(\w+)`", rest)
        for label, rest in re.findall(
            r"^\| (`\w+`(?: of \w+)?) \| (.*) \|$", text.partition("## Labels")[2], re.M
        )
    }
    assert tuple(values["`state` of uploads"]) == tuple(state.value for state in BACKLOG)
    assert tuple(values["`state` of reservations"]) == tuple(state.value for state in OPEN)
    assert tuple(values["`state` of transfers"]) == tuple(State.values)
    assert set(values["`reason`"]) == set(PAUSE_REASONS)
    assert {LOCAL_FILES, OTHER_ACCOUNTS} <= set(values["`account`"])
    assert values["`host`"] == ["api", "batch"]
    assert values["`source`"][0] == "configured"


# Alerts


@pytest.mark.django_db
def test_rules_name_metrics_and_labels_that_exist(cloudflare: Any) -> None:
    labels = {UP: (), **{metric.name: metric.labels for metric in METRICS}}
    values = {"credentials", "rate_limit", "unavailable", *State.values}
    for rule in RULES:
        found = EXPRESSION.fullmatch(rule["expr"])
        assert found, rule["expr"]
        assert found["name"] in labels
        assert not found["label"] or found["label"] in labels[found["name"]]
        assert not found["value"] or found["value"] in values
        for label in re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]):
            assert label in labels[found["name"]]


@pytest.mark.django_db
def test_no_rule_fires_on_a_site_that_is_well(accept: Accept, cloudflare: Any) -> None:
    accept()
    assert firing() == set()


def test_page_has_every_rule_with_its_expression() -> None:
    shown = dict(re.findall(r"^\| `(CloudflareImages\w+)` \| `(.*?)`", TEXT, re.M))
    assert shown == {rule["alert"]: rule["expr"] for rule in RULES}
    for rule in RULES:
        minutes = re.search(rf"`{rule['alert']}` \| `.*?` for (\d+) minutes", TEXT)
        assert rule.get("for") == (f"{minutes[1]}m" if minutes else None), rule["alert"]
