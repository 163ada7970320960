"""Keyboard, screen readers, large text, small screens, right to left, and a strict policy."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.page.conftest import AXE, Page, keep, needs_axe, noise, photo
from tests.browser.page.site import Site

TAB, SPACE, ENTER, SHIFT_TAB = "\ue004", " ", "\ue007", "\ue008\ue004"


class Stored:
    """A file that is there."""

    url = "/media/old.jpg"

    def __str__(self) -> str:
        return "old.jpg"


@needs_axe
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_any_state(page: Page, site: Site, scheme: str) -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    site.script += f'<meta name="color-scheme" content="{scheme}"><style>html{{background:Canvas}}</style>'
    site.policy = ""  # axe is injected
    site.fields = [
        site.field("image", "Photos", multiple=True),
        site.field("other", "Photo", initial=Stored()),
        site.field("never", "Never", attrs={"disabled": True}),
    ]
    page.open()
    assert page.axe(AXE) == [], "empty"
    page.network(upload=30_000)
    page.choose(page.file("a.jpg", noise((900, 900))))
    page.until(lambda: page.states() == ["sending"])
    assert page.axe(AXE) == [], "sending"
    page.find(".cf-upload-cancel").click()
    page.network()
    page.until(lambda: page.states() == [])
    site.answers.extend([(415, {}, {"error": "Not this one."}), (403, {}, {})])
    page.choose(page.file("b.png", photo(kind="PNG")))
    page.until(lambda: page.states() == ["refused"])
    page.choose(page.file("c.png", photo(kind="PNG")))
    page.until(lambda: page.states() == ["refused", "failed"])
    page.choose(page.file("d.png", photo(kind="PNG")), page.file("e.png", photo(kind="PNG")))
    page.until(lambda: page.states() == ["refused", "failed", "done", "done"])
    assert page.axe(AXE) == [], "errors and images"
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_the_policy_is_never_violated(page: Page, site: Site) -> None:
    site.fields = [site.field("image", "Photos", multiple=True)]
    page.open().choose(*[page.file(f"{n}.png", photo(kind="PNG")) for n in range(3)])
    page.uploaded(3)
    page.drop(page.file("dropped.jpg", photo()))
    page.uploaded(4)
    assert page.violations() == []
    assert page.js("return document.querySelector('.cf-upload-thumb canvas').width") > 0, "a preview is seen"
    assert [line for line in page.log() if "favicon" not in line] == []


def test_the_whole_flow_by_keyboard(page: Page, site: Site) -> None:
    site.fields = [site.field("image", "Photos", multiple=True)]
    page.open()
    page.key(TAB)
    assert page.focus() == page.find("input[name=image]"), "the real input, whose dialog Enter opens"
    page.choose(*[page.file(f"{n}.png", photo(kind="PNG", color=(n, 0, 0))) for n in range(3)])
    page.uploaded(3)
    first, second, third = page.values()
    assert page.focus() == page.find("input[name=image]")
    page.key(TAB)
    assert page.focus().get_attribute("aria-label") == "Move down 0.png"
    page.key(ENTER)
    assert page.values() == [second, first, third]
    assert page.focus().get_attribute("aria-label") == "Move down 0.png", "the focus goes along"
    page.key(ENTER)
    assert page.values() == [second, third, first]
    assert page.focus().get_attribute("aria-label") == "Move up 0.png", "it cannot go further down"
    page.until(lambda: "0.png is now number 3 of 3" in " ".join(page.said()))
    page.key(TAB)
    assert page.focus().get_attribute("aria-label") == "Remove 0.png"
    page.key(SPACE)
    assert page.values() == [second, third]
    assert page.focus().get_attribute("aria-label") == "Remove 2.png", "the focus is not lost"
    page.key(TAB, TAB, ENTER)
    assert page.saved().values("image-upload") == [second, third]


def test_images_can_be_dragged_to_another_place(page: Page, site: Site) -> None:
    from selenium.webdriver import ActionChains

    site.fields = [site.field("image", "Photos", multiple=True)]
    page.open().choose(*[page.file(f"{n}.png", photo(kind="PNG", color=(n, 0, 0))) for n in range(3)])
    page.uploaded(3)
    thumbs = page.find_all(".cf-upload-thumb")
    ActionChains(page.driver).click_and_hold(thumbs[0]).move_to_element(thumbs[1]).move_to_element(
        thumbs[2]
    ).release().perform()
    assert page.names() == ["1.png", "2.png", "0.png"]


def test_a_canceled_upload_leaves_the_focus_at_the_input(page: Page) -> None:
    page.open().network(upload=50_000)
    page.choose(page.file("large.jpg", noise((800, 800))))
    page.until(lambda: page.states() == ["sending"])
    page.key(TAB, TAB)
    assert page.focus().get_attribute("aria-label") == "Cancel the upload of large.jpg"
    page.key(ENTER)
    assert page.focus() == page.find("input[name=image]")


def test_a_file_is_announced_at_most_six_times(page: Page) -> None:
    page.open().network(upload=400_000)
    page.choose(page.file("large.jpg", noise((1200, 1200))))
    page.uploaded()
    page.until(lambda: page.said()[-1:] == ["large.jpg is uploaded"])
    said = page.said()
    assert said[0] == "Uploading large.jpg"
    assert 3 <= len(said) <= 6
    assert all("percent" in each for each in said[1:-1])


def test_the_input_is_named_by_its_label_and_says_what_can_be_done(page: Page) -> None:
    page.open()
    found = page.find("input[name=image]")
    assert found.accessible_name == "Photo Choose an image or drop it here"
    assert found.get_attribute("id") == "id_image", "links from errors lead to it"
    page.find("label[for=id_image]").click()


def test_an_error_describes_the_input_until_it_is_gone(page: Page, site: Site) -> None:
    site.fields = [site.field("image", "Photo", attrs={"aria-describedby": "id_image_helptext"})]
    site.answers.append((415, {}, {"error": "Not this one."}))
    page.open().choose(page.file("b.png", photo(kind="PNG")))
    page.until(lambda: page.states() == ["refused"])
    described = page.find("input[name=image]").get_attribute("aria-describedby").split()
    assert described == ["id_image_helptext", page.find(".cf-upload-note").get_attribute("id")]
    assert page.find("input[name=image]").get_attribute("aria-invalid") == "true"
    page.until(lambda: page.said() and page.said()[-1].endswith("Not this one."))
    page.find(".cf-upload-remove").click()
    assert page.find("input[name=image]").get_attribute("aria-describedby") == "id_image_helptext"
    assert page.find("input[name=image]").get_attribute("aria-invalid") is None


LONG = "a-very-long-name-as-cameras-and-people-make-them-when-nobody-stops-them-" * 2


@pytest.mark.parametrize(("width", "direction"), [(320, "ltr"), (320, "rtl"), (1280, "rtl")])
def test_nothing_needs_sideways_scrolling(width: int, direction: str, page: Page, site: Site) -> None:
    site.fields, site.direction = [site.field("image", "Photos", multiple=True)], direction
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        page.open().choose(page.file(f"{LONG}.png", photo(kind="PNG")), page.file("b.png", photo(kind="PNG")))
        page.uploaded(2)
        assert page.js("return document.scrollingElement.scrollWidth - innerWidth") <= 0
        thumb, name = (page.find(f".cf-upload-{part}").rect["x"] for part in ("thumb", "name"))
        assert (thumb < name) == (direction == "ltr")
        keep(page, f"{direction}-{width}")
    finally:
        page.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_nothing_moves_where_motion_is_reduced(page: Page) -> None:
    features: list[Any] = [{"name": "prefers-reduced-motion", "value": "reduce"}]
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    page.open()
    assert (
        page.js("return getComputedStyle(document.querySelector('.cf-upload-zone')).transitionDuration")
        == "0s"
    )
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_the_texts_are_those_of_the_page(page: Page, site: Site) -> None:
    site.language = "de"
    site.fields = [
        site.field("image", "Foto", texts='{"choose": "Bild wählen", "removeName": "{name} entfernen"}')
    ]
    page.open()
    assert page.find(".cf-upload-prompt").text == "Bild wählen"
    page.choose(page.file("a.jpg", noise((800, 800))))
    page.uploaded()
    assert page.find(".cf-upload-remove").get_attribute("aria-label") == "a.jpg entfernen"
    assert page.notes()[0].endswith("kB")
