"""``manage.py cf_images variants`` against an account."""

from __future__ import annotations

import builtins
from dataclasses import dataclass
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from cf_images.client.api import CloudflareImagesClient
from cf_images.emulator import settings as emulated
from cf_images.emulator.errors import METHOD_NOT_AVAILABLE, NO_ROUTE, NOT_FOUND, ApiError, ErrorCode
from tests.conftest import point_at

Variants = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one call printed, and its exit status."""

    out: str
    err: str
    status: int


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Any:
    """Run the command."""

    def call(*arguments: str) -> Run:
        status = 0
        try:
            call_command("cf_images", "variants", *arguments)
        except SystemExit as ended:
            status = int(str(ended.code))
        printed = capsys.readouterr()
        return Run(out=printed.out, err=printed.err, status=status)

    return call


@pytest.fixture
def account(cloudflare: Any, images: Any) -> Any:
    """The client of an account with nothing but ``public``."""
    images.client.delete_variant("avatar")
    return images.client


def declare(settings: Any, variants: Variants, **others: Any) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "VARIANTS": variants, **others}


def options_of(client: Any) -> dict[str, dict[str, Any]]:
    return {name: dict(variant.options) for name, variant in client.list_variants().items()}


def sent(emulator: Any) -> list[str]:
    """The requests that change something."""
    return [
        f"{request.method} {request.path.rpartition('/')[2]}"
        for request in emulator.requests
        if request.method != "GET"
    ]


def test_an_account_without_a_difference_exits_with_0(run: Any, account: Any, settings: Any) -> None:
    declare(settings, {})
    done = run()
    assert done.status == 0
    assert done.out.splitlines()[0] == "cloudflare_images, renditions:"
    assert "flexible variants  on" in done.out


def test_the_difference_is_shown_and_nothing_is_sent(
    run: Any, account: Any, cloudflare: Any, settings: Any
) -> None:
    account.create_variant("hero", options={"width": 5, "fit": "cover"})
    account.create_variant("old", options={"width": 5})
    before = sent(cloudflare)
    declare(settings, {"avatar": {"w": 240, "h": 240, "fit": "cover"}, "hero": {"width": 6, "fit": "cover"}})
    done = run()
    assert done.status == 1
    assert done.out.splitlines()[1:] == [
        "  new                  avatar  fit cover, metadata none, width 240, height 240",
        "  changed              hero    width 5 → 6",
        "  only in the account  old",
        "  as declared          0",
        "  flexible variants    on      not declared in FLEXIBLE_VARIANTS",
    ]
    assert sent(cloudflare) == before


def test_apply_creates_and_updates_and_leaves_the_rest(run: Any, account: Any, settings: Any) -> None:
    account.create_variant("hero", options={"width": 5, "height": 9, "browser_ttl": 3600})
    account.create_variant("old", options={"width": 5})
    public = {"never_require_signed_urls": True}
    declare(settings, {"avatar": {"w": 240} | public, "hero": {"width": 6} | public})
    done = run("--apply")
    assert done.status == 0
    assert "  changed hero\n  added avatar\n" in done.out
    assert options_of(account) == {
        "public": {"fit": "scale-down", "metadata": "none", "width": 1366, "height": 768},
        "hero": {"fit": "scale-down", "metadata": "none", "width": 6},
        "old": {"fit": "scale-down", "metadata": "none", "width": 5},
        "avatar": {"fit": "scale-down", "metadata": "none", "width": 240},
    }
    never_signed = {
        variant.id for variant in account.list_variants().values() if variant.never_require_signed_urls
    }
    assert never_signed == {"avatar", "hero"}


def test_afterwards_they_are_in_sync(run: Any, account: Any, settings: Any) -> None:
    every = {"fit": "pad", "w": 3, "h": 4, "metadata": "keep", "blur": 2.5, "browser-ttl": 3600}
    declare(settings, {"a": every | {"neverRequireSignedURLs": True}, "public": {"width": 9}})
    assert run("--apply").status == 0
    done = run()
    assert (done.status, done.err) == (0, "")
    assert "as declared        2" in done.out
    assert run("--apply").out == done.out, "nothing is left to do"


def test_a_dry_run_prints_what_would_be_done(run: Any, account: Any, cloudflare: Any, settings: Any) -> None:
    account.create_variant("old", options={"width": 5})
    before = sent(cloudflare)
    declare(settings, {"avatar": {"width": 1}}, FLEXIBLE_VARIANTS=False)
    done = run("--apply", "--prune", "--dry-run", "--noinput")
    assert done.status == 1
    assert done.out.splitlines()[-3:] == [
        "  would delete old",
        "  would add avatar",
        "  would turn flexible variants off",
    ]
    assert sent(cloudflare) == before


@pytest.mark.parametrize(("reply", "pruned"), [("y", True), ("Yes", True), ("", False), ("n", False)])
def test_prune_asks_first(
    run: Any, account: Any, settings: Any, monkeypatch: Any, reply: str, pruned: bool
) -> None:
    account.create_variant("old", options={"width": 5})
    declare(settings, {"avatar": {"width": 1}})
    questions: list[str] = []
    monkeypatch.setattr(builtins, "input", lambda question: questions.append(question) or reply)
    done = run("--apply", "--prune")
    assert "Delete old from the account?" in questions[0]
    assert ("old" not in account.list_variants()) is pruned
    assert ("avatar" in account.list_variants()) is pruned, "all or nothing"
    assert done.status == (0 if pruned else 1)


def test_prune_deletes_nothing_without_a_terminal(
    run: Any, account: Any, settings: Any, monkeypatch: Any
) -> None:
    def no_terminal(_: str) -> str:
        raise EOFError

    account.create_variant("old", options={"width": 5})
    declare(settings, {})
    monkeypatch.setattr(builtins, "input", no_terminal)
    done = run("--apply", "--prune")
    assert (done.status, "old" in account.list_variants()) == (1, True)
    assert "Nothing was changed." in done.err


def test_noinput_deletes_without_asking_but_never_public(
    run: Any, account: Any, cloudflare: Any, settings: Any
) -> None:
    account.create_variant("old", options={"width": 5})
    declare(settings, {})
    done = run("--apply", "--prune", "--noinput")
    assert list(account.list_variants()) == ["public"]
    assert "DELETE public" not in sent(cloudflare)
    assert done.status == 0
    assert "for a short while" in done.out


def test_prune_alone_is_an_error(run: Any, account: Any) -> None:
    with pytest.raises(CommandError, match="--prune deletes variants: add --apply"):
        run("--prune")


def fill(emulator: Any, count: int) -> None:
    """Add variants until there are ``count``."""
    state = emulator.app.state
    for number in range(count - len(state.variants())):
        state.add_variant(type(state.variant("public"))(name=f"v{number}", options={"width": 1}), limit=count)


@pytest.mark.parametrize("arguments", [["--apply"], ["--apply", "--dry-run"], []])
def test_a_full_account_is_reported_before_anything_is_sent(
    run: Any, account: Any, cloudflare: Any, settings: Any, arguments: list[str]
) -> None:
    fill(cloudflare, 100)
    before = sent(cloudflare)
    declare(settings, {"avatar": {"width": 1}, "v0": {"width": 2}})
    done = run(*arguments)
    assert done.status == 1
    message = (
        "The account has 100 of 100 variants: 1 of the new ones do not fit. --prune deletes the 98 that are"
    )
    assert message in done.err + done.out
    assert sent(cloudflare) == before


def test_prune_makes_room_in_a_full_account(run: Any, account: Any, cloudflare: Any, settings: Any) -> None:
    fill(cloudflare, 100)
    declare(settings, {"avatar": {"width": 1}, "v0": {"width": 2}})
    assert run("--apply", "--prune", "--noinput").status == 0
    assert list(account.list_variants()) == ["public", "v0", "avatar"]


def test_a_project_with_a_hundred_variants_fits_exactly(
    run: Any, account: Any, cloudflare: Any, settings: Any
) -> None:
    declare(settings, {f"n{number}": {"width": number + 1} for number in range(99)})
    assert run("--apply").status == 0
    assert len(account.list_variants()) == 100


@pytest.mark.parametrize(("declared", "found"), [(True, False), (False, True)])
def test_flexible_variants_are_turned_on_and_off(
    run: Any, account: Any, settings: Any, declared: bool, found: bool
) -> None:
    account.update_config(flexible_variants=found)
    declare(settings, {}, FLEXIBLE_VARIANTS=declared)
    words = {True: "on", False: "off"}
    done = run()
    assert done.status == 1
    assert f"{words[found]} → {words[declared]}" in done.out
    assert f"turned flexible variants {words[declared]}" in run("--apply").out
    assert account.config().flexible_variants is declared
    assert run().status == 0


def test_flexible_variants_that_are_not_declared_are_left_alone(
    run: Any, account: Any, cloudflare: Any, settings: Any
) -> None:
    account.update_config(flexible_variants=False)
    before = sent(cloudflare)
    declare(settings, {})
    done = run("--apply")
    assert (done.status, sent(cloudflare)) == (0, before)
    assert "off  not declared" in done.out


@pytest.mark.parametrize("refusal", [NOT_FOUND, NO_ROUTE, METHOD_NOT_AVAILABLE])
def test_the_settings_of_an_account_that_cannot_be_read_are_not_guessed(
    run: Any, account: Any, cloudflare: Any, settings: Any, monkeypatch: Any, refusal: ErrorCode
) -> None:
    def refuse(_: Any) -> Any:
        raise ApiError(refusal)

    monkeypatch.setitem(cloudflare.app.api._routes["images/v1/config"], "GET", refuse)
    declare(settings, {}, FLEXIBLE_VARIANTS=True)
    done = run()
    assert done.status == 0
    assert "flexible variants  cannot be read  declared: on" in done.out
    assert cloudflare.requests[-1].status == refusal.status
    assert "turned flexible variants on" in run("--apply").out


@pytest.mark.parametrize("fault", ["500", "reset_before", "internal_5550", "html_502", "reset_after"])
def test_a_failure_half_way_prints_what_was_done_and_the_next_run_continues(
    run: Any, account: Any, cloudflare: Any, settings: Any, fault: str, monkeypatch: Any
) -> None:
    create = CloudflareImagesClient.create_variant

    def failing(self: Any, name: str, **options: Any) -> Any:
        if name == "b":
            cloudflare.faults.plan(fault, times=10)
        return create(self, name, **options)

    declare(settings, {"a": {"width": 1}, "b": {"width": 2}, "c": {"width": 3}})
    monkeypatch.setattr(CloudflareImagesClient, "create_variant", failing)
    done = run("--apply")
    assert done.status == 1
    assert "  added a\n" in done.out
    assert "Cloudflare did not add b: " in done.err
    assert "Left to do: add b, add c. Run the command again to continue." in done.err
    monkeypatch.undo()
    cloudflare.faults.reset()
    assert run("--apply").status == 0
    assert list(account.list_variants()) == ["public", "a", "b", "c"]


def test_what_cloudflare_refuses_is_printed_in_its_words(
    run: Any, account: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(
        emulated.OPTIONS, "width", lambda value: value < 1000
    )  # a rule that this package does not know
    declare(settings, {"a": {"width": 1}, "wide": {"width": 1000}})
    done = run("--apply")
    assert done.status == 1
    assert "Cloudflare did not add wide: " in done.err
    assert "code 5400" in done.err


def test_a_variant_that_was_already_deleted_counts_as_deleted(
    run: Any, account: Any, settings: Any, monkeypatch: Any
) -> None:
    account.create_variant("old", options={"width": 5})
    listed = account.list_variants()
    account.delete_variant("old")
    monkeypatch.setattr(CloudflareImagesClient, "list_variants", lambda self: listed)
    declare(settings, {})
    done = run("--apply", "--prune", "--noinput")
    assert (done.status, "  deleted old\n" in done.out) == (0, True)


def test_an_account_that_cannot_be_read_is_reported(
    run: Any, account: Any, cloudflare: Any, settings: Any
) -> None:
    declare(settings, {}, API_TOKEN="wrong-token")
    done = run("--apply")
    assert done.status == 1
    assert "The account cannot be read: " in done.err
    assert "wrong-token" not in done.err + done.out


# Which accounts


def second(settings: Any, **options: Any) -> None:
    """Add another storage."""
    storage = {"BACKEND": "cf_images.storage.CloudflareImagesStorage", "OPTIONS": options}
    settings.STORAGES = {**settings.STORAGES, "second": storage}


def test_an_account_of_several_storages_is_compared_once(
    run: Any, account: Any, cloudflare: Any, settings: Any
) -> None:
    second(settings, variant="avatar")
    declare(settings, {})
    done = run()
    assert done.out.count("flexible variants") == 1
    assert done.out.splitlines()[0].startswith("cloudflare_images")
    assert "second" in done.out.splitlines()[0]


def test_each_account_is_updated_also_after_one_that_fails(
    run: Any, account: Any, cloudflare: Any, settings: Any
) -> None:
    settings.STORAGES = {
        name: value for name, value in settings.STORAGES.items() if name in ("default", "staticfiles")
    }
    backend = "cf_images.storage.CloudflareImagesStorage"
    settings.STORAGES["broken"] = {"BACKEND": backend, "OPTIONS": {"account_id": "another"}}
    settings.STORAGES["second"] = {"BACKEND": backend, "OPTIONS": {}}
    declare(settings, {"a": {"width": 1}})
    done = run("--apply")
    assert done.status == 1
    assert "broken:\nsecond:\n" in done.out
    assert "a" in account.list_variants()


def test_one_storage_can_be_chosen(run: Any, account: Any, settings: Any) -> None:
    second(settings, account_id="another")
    declare(settings, {})
    done = run("--storage", "cloudflare_images")
    assert (done.status, "second" in done.out) == (0, False)


@pytest.mark.parametrize("alias", ["default", "nowhere"])
def test_another_storage_is_an_error_that_names_those_with_an_account(
    run: Any, account: Any, alias: str
) -> None:
    with pytest.raises(
        CommandError, match=f"{alias} in STORAGES is not a CloudflareImagesStorage .*cloudflare_im"
    ):
        run("--storage", alias)


# Bad input


@pytest.mark.parametrize(
    "variants",
    [
        {"a/b": {"width": 1}},
        {"a b": {"width": 1}},
        {"..": {"width": 1}},
        {"a'b": {"width": 1}},
        {"https://evil.example/x": {"width": 1}},
        {"avatar": {"width": 1}, "Avatar": {"width": 1}},
        {"avatar": {"width": 1, "w": 1}},
        {"avatar": {"quality": 1}},
        {f"n{number}": {"width": 1} for number in range(100)},
    ],
)
def test_a_wrong_declaration_stops_it_before_any_request(
    run: Any, account: Any, cloudflare: Any, settings: Any, variants: Variants
) -> None:
    declare(settings, variants)
    before = len(cloudflare.requests)
    with pytest.raises(CommandError, match="VARIANTS"):
        run("--apply", "--prune", "--noinput")
    assert len(cloudflare.requests) == before


def test_missing_credentials_name_where_they_may_be_put(run: Any, settings: Any, cloudflare: Any) -> None:
    point_at(settings, cloudflare)
    declare(settings, {}, ACCOUNT_ID="", API_TOKEN="")
    settings.CF_IMG_TOKEN = ""
    with pytest.raises(CommandError, match="no api_token: set the environment variable"):
        run()
