"""``docs/how-to/languages.md``: its settings switch languages on, and its catalog changes a text."""

# Texts in other languages have their own marks.
# ruff: noqa: RUF001

from __future__ import annotations

from pathlib import Path
from typing import Any

from babel.messages.pofile import read_po
from django.template import engines
from django.test import Client
from django.utils import translation

from cf_images.browser.texts import texts
from tests.docs import pages
from tests.translations import compiled

PAGE = "how-to/languages.md"
AUTHENTICATION = "django.contrib.auth.middleware.AuthenticationMiddleware"


def run(beginning: str, **given: Any) -> dict[str, Any]:
    """Run a block and return the settings in it."""
    pages.block(PAGE, beginning).run(given)
    return given


def test_the_settings_give_visitors_their_language(settings: Any) -> None:
    found = run('LANGUAGE_CODE = "de"')
    settings.LANGUAGE_CODE, settings.USE_I18N = found["LANGUAGE_CODE"], found["USE_I18N"]
    settings.MIDDLEWARE = [*found["MIDDLEWARE"], AUTHENTICATION]
    client = Client()
    for language, text in (
        ("fr", "Veuillez d’abord vous connecter."),
        ("de", "Bitte melden Sie sich zuerst an."),
    ):
        answer = client.post("/cf-images/upload-by-url/", headers={"Accept-Language": language})
        assert answer.json() == {"error": text}


def test_the_page_has_the_language_that_the_element_reads() -> None:
    template = engines["django"].from_string(pages.block(PAGE, "{% load i18n %}").text)
    with translation.override("pt-br"):
        assert '<html lang="pt-br">' in template.render()


def test_a_catalog_of_the_project_changes_a_text(tmp_path: Path, settings: Any) -> None:
    settings.LOCALE_PATHS = run('LOCALE_PATHS = [BASE_DIR / "locale"]', BASE_DIR=tmp_path)["LOCALE_PATHS"]
    place, _, source = pages.block(PAGE, "# locale/de/").text.partition("\n")
    path = tmp_path / place.removeprefix("# ")
    path.parent.mkdir(parents=True)
    path.write_text(source, encoding="utf-8")
    with path.open("rb") as file:
        path.with_suffix(".mo").write_bytes(compiled(read_po(file, locale="de")))  # as compilemessages does
    with translation.override("de"):
        found = texts()
    assert (found["choose"], found["remove"]) == ("Foto auswählen oder hierher ziehen", "Wegnehmen")
    assert found["cancel"] == "Abbrechen"
