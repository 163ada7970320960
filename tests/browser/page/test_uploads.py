"""The element sends images straight to the upload URL, whatever happens on the way."""

from __future__ import annotations

from typing import Any

import pytest

from cf_images.emulator import app
from tests.browser.page.conftest import Page, noise, photo
from tests.browser.page.line import line_to
from tests.browser.page.site import SCRIPT, Site


def arrived(site: Site) -> list[bytes]:
    """Return the images at the emulator, without drafts."""
    return [image.body for image in site.emulator.images.values() if image.body]


def sent(site: Site) -> int:
    """Return how often the browser has posted to upload URLs."""
    start = f"/upload/{site.emulator.account_hash}/"
    return sum(method == "POST" and path.startswith(start) for method, path, _ in site.emulator.requests)


def test_no_byte_of_the_image_goes_to_the_site(page: Page, site: Site) -> None:
    body = photo((2000, 1500), quality=95)
    page.open().choose(page.file("a photo.jpg", body))
    page.uploaded()
    page.submit()
    received = page.saved()
    assert received.files == []
    assert site.stored(received.values("image-upload")[0]) == body
    assert sum(site.posted.values()) < 3000


def test_a_file_can_be_dropped(page: Page) -> None:
    page.open().drop(page.file("dropped.png", photo(kind="PNG")))
    page.uploaded()
    assert page.names() == ["dropped.png"]


def test_a_file_that_is_dropped_beside_the_zone_does_not_replace_the_page(page: Page) -> None:
    page.open().drop(page.file("dropped.png", photo(kind="PNG")), on="h1")
    assert page.states() == []
    assert page.driver.title == "Photos"


def test_an_image_can_be_pasted(page: Page, site: Site) -> None:
    body = photo(kind="PNG")
    page.open().paste(body)
    page.uploaded()
    assert arrived(site) == [body]


def test_an_image_is_pasted_where_the_focus_is(page: Page, site: Site) -> None:
    site.fields.append(site.field("other", "Other photo"))
    page.open().paste(photo(kind="PNG"))
    assert page.states() == [], "which one is meant?"
    page.paste(photo(kind="PNG"), on="input[name=other]")
    page.uploaded()
    assert page.values("other")


def test_another_image_replaces_the_first_which_is_discarded(page: Page, site: Site) -> None:
    page.open().choose(page.file("one.png", photo(kind="PNG")))
    page.uploaded()
    first = page.values()
    page.choose(page.file("two.png", photo(kind="PNG", color="red")))
    page.until(lambda: page.names() == ["two.png"] and page.states() == ["done"])
    page.until(lambda: site.discarded == first, "discarding")
    assert len(page.values()) == 1
    assert page.values() != first


def test_a_removed_image_is_discarded_and_not_sent(page: Page, site: Site) -> None:
    page.open().choose(page.file("one.png", photo(kind="PNG")))
    page.uploaded()
    page.find(".cf-upload-remove").click()
    page.until(lambda: len(site.discarded) == 1)
    page.submit()
    assert page.saved().values("image-upload") == [""]


def test_an_upload_can_be_canceled(page: Page, site: Site) -> None:
    page.open().network(upload=50_000)
    page.choose(page.file("large.jpg", noise((800, 800))))
    page.until(lambda: page.states() == ["sending"])
    page.find(".cf-upload-cancel").click()
    page.until(lambda: len(site.discarded) == 1)
    assert page.states() == []
    assert page.values() == []
    assert arrived(site) == []


@pytest.mark.parametrize(
    ("fault", "posts"),
    [
        *(("429", 2), ("500", 2), ("html_502", 2), ("internal_5550", 2), ("reset_before", 2)),
        *(("reset_after", 1), ("cut", 1)),
    ],
)
def test_an_upload_survives_a_fault_and_is_not_sent_again_if_it_has_arrived(
    fault: str, posts: int, page: Page, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = iter([None, fault])  # of the preflight, and of the upload
    monkeypatch.setattr(
        site.emulator.faults, "draw", lambda place, **_: next(faults, None) if place == "upload" else None
    )
    page.open().choose(page.file("one.png", photo(kind="PNG")))
    page.uploaded()
    assert len(arrived(site)) == 1
    assert len(site.reservations) == 1
    repeated = fault == "reset_after"  # by Chromium itself, which asks nobody: the host answers 409
    assert posts <= sent(site) <= posts + repeated


@pytest.mark.parametrize("fault", ["429", "500", "reset_before", "reset_after"])
def test_an_upload_survives_a_fault_of_its_preflight(fault: str, page: Page, site: Site) -> None:
    site.emulator.faults.set(places=("upload",))
    site.emulator.faults.plan(fault)
    page.open().choose(page.file("one.png", photo(kind="PNG")))
    page.uploaded()
    assert (len(arrived(site)), sent(site)) == (1, 1)


def test_a_third_of_all_answers_may_be_lost(page: Page, site: Site) -> None:
    site.fields = [site.field("image", "Photos", multiple=True)]
    site.emulator.faults.set(places=("upload",), rates={"reset_after": 0.15, "reset_before": 0.15}, seed=3)
    page.open().choose(*[page.file(f"{n}.png", photo(kind="PNG", color=(n, n, n))) for n in range(12)])
    page.until(lambda: page.states() == ["done"] * 12, seconds=60)
    assert len(arrived(site)) == 12
    page.submit()
    assert len(set(page.saved().values("image-upload"))) == 12


def test_a_lost_reservation_is_asked_for_again(page: Page, site: Site) -> None:
    site.answers.extend(["lost", (503, {}, {"error": "Cloudflare is away."})])
    page.open().choose(page.file("one.png", photo(kind="PNG")))
    page.uploaded()


def test_a_host_without_an_answer_to_the_preflight_gets_the_file_without_progress(
    page: Page, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "CORS", {})
    page.open().choose(page.file("one.png", photo(kind="PNG")))
    page.uploaded()
    assert len(arrived(site)) == 1


def test_a_connection_that_is_cut_in_the_middle_is_taken_up_again(page: Page, site: Site) -> None:
    body = noise((1200, 1200))
    with line_to(site, cut_after=len(body) // 2) as line:
        page.open().choose(page.file("large.jpg", body))
        page.uploaded()
        assert line.cuts == 1
    assert arrived(site) == [body]
    assert len(site.reservations) == 1


def test_a_file_that_was_chosen_offline_is_sent_when_the_network_is_back(page: Page, site: Site) -> None:
    page.open().network(offline=True)
    page.choose(page.file("one.png", photo(kind="PNG")))
    page.until(lambda: page.states() == ["waiting"])
    assert page.notes() == ["You are offline. The upload continues when you are online again."]
    page.network()
    page.uploaded()


def test_a_form_is_sent_once_its_uploads_are_complete(page: Page, site: Site) -> None:
    page.open().network(upload=200_000)
    page.choose(page.file("large.jpg", noise((800, 800))))
    page.until(lambda: page.states() == ["sending"])
    page.submit()
    page.submit()
    assert page.find(".cf-upload-notice").text == "The form is sent when the uploads are complete."
    received = page.saved()
    assert len(site.received) == 1
    assert received.values("image-upload")[0] in site.reservations
    assert received.values("send") == ["yes"], "the button that was pressed"


def test_a_form_can_be_sent_while_a_required_image_is_uploaded(page: Page, site: Site) -> None:
    site.fields = [site.field("image", "Photo", attrs={"required": True})]
    page.open().submit()
    assert page.driver.title == "Photos", "the browser asks for a file"
    page.network(upload=200_000)
    page.choose(page.file("large.jpg", noise((800, 800))))
    page.until(lambda: page.states() == ["sending"])
    page.submit()
    assert page.saved().values("image-upload")[0]


def test_a_required_image_is_required_again_when_it_is_removed(page: Page, site: Site) -> None:
    site.fields = [site.field("image", "Photo", attrs={"required": True})]
    page.open().choose(page.file("one.png", photo(kind="PNG")))
    page.uploaded()
    assert not page.find("input[name=image]").get_property("required")
    page.find(".cf-upload-remove").click()
    assert page.find("input[name=image]").get_property("required")


# What cannot be uploaded


@pytest.mark.parametrize("status", [413, 415])
def test_a_file_that_the_site_refuses_is_explained_and_holds_the_form_back(
    status: int, page: Page, site: Site
) -> None:
    site.answers.append((status, {}, {"error": "Not this one."}))
    page.open().choose(page.file("one.png", photo(kind="PNG")))
    page.until(lambda: page.states() == ["refused"])
    assert page.notes() == ["Not this one."]
    page.submit()
    assert page.find(".cf-upload-notice").text.startswith("Remove the image that failed")
    assert page.focus() == page.find("input[name=image]")
    page.find(".cf-upload-remove").click()
    page.submit()
    assert page.saved().files == []


def test_what_cloudflare_refuses_is_explained_and_discarded(page: Page, site: Site) -> None:
    page.open().choose(page.file("one.jpg", b"no image at all"))
    page.until(lambda: page.states() == ["refused"])
    assert page.notes()[0].startswith("one.jpg was refused: ")
    page.until(lambda: len(site.discarded) == 1)


@pytest.mark.parametrize(
    ("name", "body", "note"),
    [
        ("empty.jpg", b"", "empty.jpg is empty."),
        ("notes.txt", b"text", "notes.txt is not an image of an accepted type."),
        (
            "film.gif",
            b"GIF89a" + bytes(11 * 1024 * 1024),
            "film.gif is too large (11 MB; the limit is 10 MB)",
        ),
        (
            "large.svg",
            b"<svg>" + bytes(11 * 1024 * 1024),
            "large.svg is too large (11 MB; the limit is 10 MB)",
        ),
    ],
)
def test_a_file_that_cannot_be_right_is_not_sent(
    name: str, body: bytes, note: str, page: Page, site: Site
) -> None:
    page.open().drop(page.file(name, body))
    page.until(lambda: page.states() == ["refused"])
    assert page.notes()[0].startswith(note)
    assert site.reservations == {}


@pytest.mark.parametrize(
    "answer",
    [
        (403, {}, "<h1>CSRF verification failed</h1>"),
        (429, {"Retry-After": "3600"}, {"error": "Too many uploads."}),
    ],
)
def test_a_file_that_may_not_be_uploaded_goes_with_the_form(answer: Any, page: Page, site: Site) -> None:
    body = photo(kind="PNG")
    site.answers.append(answer)
    page.open().choose(page.file("one.png", body))
    page.until(lambda: page.states() == ["failed"])
    assert page.notes()[0].endswith("It is sent with the form instead.")
    page.submit()
    assert page.saved().files == [("image", "one.png", len(body))]


def test_a_host_that_the_policy_forbids_is_not_tried_for_long(page: Page, site: Site) -> None:
    site.policy = "default-src 'self'"
    page.open().choose(page.file("one.png", photo(kind="PNG")))
    page.until(lambda: page.states() == ["failed"], seconds=5)
    page.submit()
    assert len(page.saved().files) == 1


def test_a_dialog_that_is_canceled_takes_no_file_away(page: Page, site: Site) -> None:
    site.answers.append((403, {}, {}))
    page.open().choose(page.file("one.png", photo(kind="PNG")))
    page.until(lambda: page.states() == ["failed"])
    page.js("""const input = document.querySelector("[type=file]");
      input.value = ""; input.dispatchEvent(new Event("change"));""")  # what Chromium does
    page.submit()
    assert len(page.saved().files) == 1


def test_a_failed_upload_can_be_tried_again(page: Page, site: Site) -> None:
    site.answers.append((403, {}, {}))
    page.open().choose(page.file("one.png", photo(kind="PNG")))
    page.until(lambda: page.states() == ["failed"])
    page.find(".cf-upload-retry").click()
    page.uploaded()
    page.submit()
    received = page.saved()
    assert received.files == []
    assert len(received.values("image-upload")) == 1


@pytest.mark.parametrize("script", ["", SCRIPT.replace("upload.js", "uploads_admin.css")])
def test_without_the_script_the_file_goes_with_the_form(script: str, page: Page, site: Site) -> None:
    body = photo(kind="PNG")
    site.script = script
    page.open().choose(page.file("one.png", body))
    page.submit()
    assert page.saved().files == [("image", "one.png", len(body))]


# Pages that come back


def test_a_form_with_errors_keeps_its_upload_and_does_not_send_it_again(page: Page, site: Site) -> None:
    def with_errors(received: Any) -> str | None:
        if received.values("title") != [""]:
            return None
        value = received.values("image-upload")[0]
        kept = {
            "value": value,
            "filename": "one.png",
            "preview_url": f"/cf-images/reservations/preview/?value={value}",
        }
        return site.page([site.field("image", "Photo", uploads=(kept,))])

    site.respond_to_form = with_errors
    page.open().choose(page.file("one.png", photo(kind="PNG")))
    page.uploaded()
    value = page.values()
    page.submit()
    page.until(lambda: len(site.received) == 1 and page.states() == ["done"])
    page.until(lambda: page.js("return document.querySelector('.cf-upload-thumb img')?.naturalWidth") == 640)
    assert page.names() == ["one.png"]
    page.find("#id_title").send_keys("A title")
    page.submit()
    assert page.saved().values("image-upload") == value
    assert len(site.reservations) == 1
    assert page.violations() == []


def test_a_reload_keeps_what_was_uploaded(page: Page, site: Site) -> None:
    page.open().choose(page.file("one.png", photo(kind="PNG")))
    page.uploaded()
    value = page.values()
    page.driver.refresh()
    page.uploaded()
    assert page.values() == value
    assert page.names() == ["one.png"]
    assert len(site.reservations) == 1


def test_a_reload_keeps_several_in_their_order(page: Page, site: Site) -> None:
    site.fields = [site.field("image", "Photos", multiple=True)]
    page.open().choose(*[page.file(f"{n}.png", photo(kind="PNG", color=(n, 0, 0))) for n in range(5)])
    page.uploaded(5)
    values = page.values()
    page.driver.refresh()
    page.uploaded(5)
    assert page.values() == values


def test_a_reload_in_the_middle_asks_for_the_file_and_uses_its_reservation(page: Page, site: Site) -> None:
    file = page.file("large.jpg", noise((800, 800)))
    page.open().network(upload=50_000)
    page.choose(file)
    page.until(lambda: page.states() == ["sending"])
    page.driver.refresh()
    page.network()
    page.until(lambda: "was interrupted" in page.find(".cf-upload-notice").text)
    page.choose(file)
    page.uploaded()
    assert len(site.reservations) == 1
    assert len(arrived(site)) == 1


def test_a_new_visit_starts_with_nothing(page: Page) -> None:
    page.open().choose(page.file("one.png", photo(kind="PNG")))
    page.uploaded()
    page.open("/")
    assert page.states() == []
    page.driver.refresh()
    page.until(lambda: page.js("return document.querySelector('cf-image-upload').busy === false"))
    assert page.values() == []


def test_back_from_a_saved_form_its_image_is_not_saved_again(page: Page, site: Site) -> None:
    page.open().choose(page.file("one.png", photo(kind="PNG")))
    page.uploaded()
    page.submit()
    page.saved()
    for reservation in site.reservations.values():
        reservation["state"] = "attached"
    page.driver.back()
    page.until(lambda: "was saved before" in page.find(".cf-upload-notice").text)
    assert page.values() == []
    assert page.states() == []
    assert site.discarded == []


def test_back_to_a_form_that_was_not_saved_its_image_is_there(page: Page, site: Site) -> None:
    page.open().choose(page.file("one.png", photo(kind="PNG")))
    page.uploaded()
    value = page.values()
    page.driver.get(f"{site.url}/elsewhere")
    page.driver.back()
    page.uploaded()
    assert page.values() == value


def test_two_tabs_have_nothing_in_common(page: Page, site: Site) -> None:
    page.open().choose(page.file("one.png", photo(kind="PNG")))
    page.uploaded()
    value, tab = page.values(), page.driver.current_window_handle
    page.driver.switch_to.new_window("tab")
    try:
        page.open()
        assert page.states() == []
        page.choose(page.file("two.png", photo(kind="PNG")))
        page.uploaded()
        assert page.values() != value
    finally:
        page.driver.close()
        page.driver.switch_to.window(tab)
    assert page.values() == value


def test_resetting_the_form_removes_the_uploads(page: Page, site: Site) -> None:
    page.open().choose(page.file("one.png", photo(kind="PNG")))
    page.uploaded()
    page.find("button[type=reset]").click()
    page.until(lambda: len(site.discarded) == 1)
    assert page.values() == []


def test_a_script_that_sends_the_form_without_asking_sends_the_file_with_it(page: Page, site: Site) -> None:
    body = photo(kind="PNG")
    site.answers.append((503, {"Retry-After": "30"}, {"error": "Cloudflare is away."}))
    page.open().choose(page.file("one.png", body))
    page.until(lambda: page.states() == ["waiting"])
    page.js("document.forms[0].submit()")
    received = page.saved()
    assert received.files == [("image", "one.png", len(body))]


def test_an_element_that_is_taken_out_while_it_sends_can_be_put_back(page: Page, site: Site) -> None:
    page.open().network(upload=50_000)
    page.choose(page.file("large.jpg", noise((800, 800))))
    page.until(lambda: page.states() == ["sending"])
    page.js("""window.field = document.querySelector("cf-image-upload");
      window.next = field.nextSibling; field.remove();""")
    page.until(lambda: len(site.discarded) == 1, "discarding")
    page.js("next.before(field)")
    page.network()
    assert page.states() == []
    page.choose(page.file("two.png", photo(kind="PNG")))
    page.uploaded()
    page.submit()
    assert len(page.saved().values("image-upload")) == 1


def test_the_element_has_the_methods_of_any_element(page: Page) -> None:
    own = page.open().js("""const {prototype} = customElements.get("cf-image-upload");
      return Object.getOwnPropertyNames(prototype).filter((name) => name in HTMLElement.prototype);""")
    assert own == ["constructor"]


def test_a_form_may_have_its_token_twice(page: Page, site: Site) -> None:
    site.fields.append('<input type="hidden" name="csrfmiddlewaretoken" value="the-token">')
    page.open().choose(page.file("one.png", photo(kind="PNG")))
    page.uploaded()


# The rest of Django's widget


class Stored:
    """A file that is there."""

    url = "/media/old.jpg"

    def __str__(self) -> str:
        return "old.jpg"


def test_a_new_image_takes_back_that_the_old_one_is_cleared(page: Page, site: Site) -> None:
    site.fields = [site.field("image", "Photo", initial=Stored())]
    page.open().find("input[name=image-clear]").click()
    page.choose(page.file("one.png", photo(kind="PNG")))
    page.uploaded()
    page.submit()
    assert page.saved().values("image-clear") == []


def test_clear_without_a_new_image_is_sent(page: Page, site: Site) -> None:
    site.fields = [site.field("image", "Photo", initial=Stored())]
    page.open().find("input[name=image-clear]").click()
    page.submit()
    assert page.saved().values("image-clear") == ["on"]


def test_a_disabled_field_takes_nothing(page: Page, site: Site) -> None:
    site.fields = [site.field("image", "Photo", attrs={"disabled": True})]
    page.open().drop(page.file("one.png", photo(kind="PNG")))
    page.paste(photo(kind="PNG"))
    assert page.states() == []
    assert site.reservations == {}


def test_the_row_that_a_formset_clones_has_an_element_of_its_own(page: Page, site: Site) -> None:
    site.fields = [
        site.field("photos-0-image", "Photo"),
        f"<div hidden id=template>{site.field('photos-__prefix__-image', 'Photo')}</div>",
    ]
    page.open().choose(page.file("one.png", photo(kind="PNG")), name="photos-0-image")
    page.uploaded()
    assert page.js("return document.querySelector('#template .cf-upload-zone')") is None
    page.js("""const row = document.querySelector("#template").cloneNode(true);
      for (const each of row.querySelectorAll("[name]")) each.name = each.name.replace("__prefix__", 1);
      row.id = ""; row.hidden = false; document.querySelector("#template").before(row);""")
    page.choose(page.file("two.png", photo(kind="PNG")), name="photos-1-image")
    page.uploaded(2)
    assert page.values("photos-1-image")
    assert page.values("photos-1-image") != page.values("photos-0-image")
    assert page.values("photos-__prefix__-image") == []


def test_a_row_that_is_cloned_when_it_is_full_starts_without_its_item(page: Page, site: Site) -> None:
    page.open().choose(page.file("one.png", photo(kind="PNG")))
    page.uploaded()
    page.js("""const clone = document.querySelector("cf-image-upload").cloneNode(true);
      for (const each of clone.querySelectorAll("[name]")) each.name = "other" + each.name.slice(5);
      clone.querySelector("[type=hidden]").value = "";
      document.querySelector("cf-image-upload").after(clone);""")
    assert len(page.find_all(".cf-upload-zone")) == 2
    assert len(page.find_all(".cf-upload-item")) == 1
    page.choose(page.file("two.png", photo(kind="PNG")), name="other")
    page.uploaded(2)


# Applications


def test_the_page_is_told_what_happens(page: Page) -> None:
    page.open().js("""window.told = [];
      for (const name of ["start", "progress", "done", "error", "remove"])
        document.addEventListener(`cf-image-upload:${name}`, event => told.push([name, event.detail]));""")
    page.choose(page.file("one.png", photo(kind="PNG")))
    page.uploaded()
    value = page.values()[0]
    page.find(".cf-upload-remove").click()
    told = page.js("return told")
    assert told[0] == ["start", {}]
    assert ["done", {"filename": "one.png", "value": value}] in told
    assert told[-1] == ["remove", {"value": value}]
