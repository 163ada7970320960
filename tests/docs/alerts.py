"""The alert rules of the documentation, and whether they would fire now."""

from __future__ import annotations

import re
from typing import Any

import yaml

from cf_images.contrib.prometheus import CloudflareImagesCollector
from tests.docs import pages

RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((pages.DOCS / "deploy/prometheus/alerts.yaml").read_text("utf-8"))["groups"]
    for rule in group["rules"]
]
# What an expression may be, so that tests can evaluate it.
EXPRESSION = re.compile(
    r'(?P<name>\w+)(?:\{(?P<label>\w+)="(?P<value>\w+)"\})? (?P<operator>==|>) (?P<limit>\d+)'
)


def firing() -> set[str]:
    """Return the alerts whose expressions hold, whatever ``for`` they have, without their common prefix."""
    return {rule["alert"].removeprefix("CloudflareImages") for rule in RULES if _holds(rule["expr"])}


def _holds(expression: str) -> bool:
    found = EXPRESSION.fullmatch(expression)
    assert found, expression
    limit = float(found["limit"])
    return any(
        sample.value > limit if found["operator"] == ">" else sample.value == limit
        for family in CloudflareImagesCollector().collect()
        for sample in family.samples
        if sample.name == found["name"]
        and (not found["label"] or sample.labels[found["label"]] == found["value"])
    )
