"""The element speaks the language of its page, and writes numbers as that language does."""

from __future__ import annotations

import io

from django.utils import translation
from PIL import Image

from tests.browser.page.conftest import Page
from tests.browser.page.site import Site


def test_an_error_is_in_the_language_of_the_page(page: Page, site: Site) -> None:
    body = io.BytesIO()
    Image.new("L", (1200, 2)).save(body, "GIF")  # which may be animated, so that no canvas reduces it
    site.language = "de"
    with translation.override("de"):
        site.fields = [site.field("image", "Foto", max_side=1000)]
    page.open()
    assert page.find(".cf-upload-prompt").text == "Bild auswählen oder hier ablegen"
    page.choose(page.file("breit.gif", body.getvalue()))
    page.until(lambda: page.states() == ["refused"])
    problem = "breit.gif ist zu groß (1.200 × 2 Pixel), und dieser Browser kann das Bild nicht verkleinern."
    assert page.notes() == [problem]
    assert page.find(".cf-upload-remove").get_attribute("aria-label") == "breit.gif entfernen"
