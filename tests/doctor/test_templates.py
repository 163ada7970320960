"""The doctor reads templates from their source: it compiles and renders nothing, and sends no request."""

from __future__ import annotations

import io
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.template.engine import Engine
from django.template.library import Library
from hypothesis import given, strategies

from cf_images.doctor import Finding, examine_templates, template_files
from cf_images.doctor.template_uses import uses_in
from cf_images.doctor.templates import Reading, judged, read

LOAD = "{% load cf_images %}"

register = Library()  # "other" in the tests below: another library with a filter of the same name


@register.filter
def variant(image: Any, name: str) -> str:
    raise AssertionError("a filter ran")


@register.tag
def other(parser: Any, token: Any) -> Any:
    raise AssertionError("a tag was compiled")


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Any:
        raise AssertionError("the template check uses no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture
def write(tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Write templates by their paths; they are all that the project has."""
    monkeypatch.chdir(tmp_path)
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [tmp_path / "templates"]}]

    def to_files(files: dict[str, str]) -> None:
        for name, source in files.items():
            path = tmp_path / "templates" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(source)

    return to_files


@pytest.fixture
def check(write: Any) -> Callable[[str], list[Finding]]:
    """The findings about one template, with the library loaded on its first line."""

    def findings(source: str) -> list[Finding]:
        write({"page.html": f"{LOAD}\n{source}"})
        return list(examine_templates())

    return findings


def declare(settings: Any, **given: Any) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, **given}


def only(findings: list[Finding]) -> Finding:
    (finding,) = findings
    return finding


GOOD = [
    "{{ person.image|variant:'avatar' }}",
    '{{ person.image|variant:"public" }}',
    "{{ person.image.url|variant:'w=200,fit=cover,h=200' }}",
    "{{ person.image|variant:'w=200,background=rgb(1,2,3)' }}",
    "{{ person.image|final_variant:'avatar' }}",
    "{{ person.image|variant:name }}",
    "{{ person.image|variant:_('avatr') }}",
    "{# {{ person.image|variant:'avatr' }} #}",
    "{% comment 'old' %}{{ person.image|variant:'avatr' }}{% if %}{% endcomment %}",
    "{% verbatim %}{{ person.image|variant:'avatr' }}{% endverbatim %}",
    "{{ \"a|variant:'avatr'\" }}",
    "person.image|variant:'avatr'",
    "{{ person.image|variant_of:'avatr' }}",
    '{% cf_image person.image "avatar" alt="" %}',
    '{% cf_image person.image alt="" class="round" %}',
    '{% cf_image person.image "avatar" alt="" final=True %}',
    '{% cf_image person.image variant="avatar" alt=person.name as img %}',
    '{% cf_image person.image "public,avatar" alt="" sizes="100vw" %}',
    '{% cf_image person.image name alt="" %}',
    '{% cf_image person.image "avatr"|lower alt="" %}',
    '{% cf_image person.image None alt="" placeholder="avatar" %}',
    '{% cf_image person.image w=200 h=height fit="cover" alt="" %}',
    '{% cf_image person.image "avatar" alt="x=y" dpr="1,2" placeholder=True %}',
]


@pytest.mark.parametrize("source", GOOD)
def test_a_valid_use_or_a_variable_is_no_problem(check: Any, source: str) -> None:
    assert only(check(source)).level == "ok"


UNDECLARED = [
    "{{ person.image|variant:'avatr' }}",
    "{{ person.image|final_variant:'avatr' }}",
    '{{ person.image | variant:"avatr" }}',
    "{{ person.image|default:'x'|variant:'avatr'|safe }}",
    "{% with a=person.image|variant:'avatr' %}{% endwith %}",
    "{% if person.image|variant:\"avatr\" == '' %}{% endif %}",
    "{% unknown_tag person.image|variant:'avatr' %}",
    "{% unknown_tag src=[person.image|variant:'avatr', x] %}",
    "{% filter variant:'avatr' %}{{ person.image.url }}{% endfilter %}",
    "{% blocktranslate %}{{ person.image|variant:'avatr' }}{% endblocktranslate %}",
    '{% cf_image person.image "avatr" alt="" %}',
    "{% cf_image person.image 'avatr' alt='' as img %}",
    '{% cf_image person.image variant="avatr" alt="" %}',
    '{% cf_image person.image "avatar, avatr" alt="" %}',
    '{% cf_image person.image alt="" placeholder="avatr" %}',
    '{% cf_image person.image|variant:"avatr" alt="" %}',
]


@pytest.mark.parametrize("source", UNDECLARED)
def test_an_undeclared_name_is_found(check: Any, source: str) -> None:
    finding = only(check(f"\n<p>\n{source}"))
    assert finding.level == "failure"
    assert finding.name == "template-variant"
    assert finding.message == (
        "templates/page.html:4: variant 'avatr' is not declared; named variants are public, avatar."
    )
    assert finding.hint == "Write 'avatar', or declare 'avatr' in CF_IMAGES[\"VARIANTS\"]."


def test_without_a_similar_name_none_is_suggested(check: Any) -> None:
    assert only(check("{{ x|variant:'hero' }}")).hint.startswith("Declare 'hero' in")


def test_a_name_in_the_wrong_case_is_corrected(check: Any) -> None:
    assert only(check("{{ x|variant:'Avatar' }}")).hint.startswith("Write 'avatar'")


def test_a_problem_is_reported_once_with_all_its_places(write: Any) -> None:
    use = "{{ x|variant:'hero' }}"
    write({"a.html": f"{LOAD}{use}{use}\n{use}", "shop/b.txt": f"{LOAD}{use}", "z.html": f"{LOAD}{use}9"})
    finding = only(list(examine_templates()))
    places = "templates/a.html:1, templates/a.html:2, templates/z.html:1, templates/shop/b.txt:1: "
    assert finding.message.startswith(places)


REFUSED = [
    ("{{ x|variant:'w 200' }}", "is not a variant"),
    ("{{ x|variant:'' }}", "is not a variant"),
    ("{{ x|variant:'../keys' }}", "is not a variant"),
    ("{{ x|variant:'https://example.com/a' }}", "is not a variant"),
    ("{{ x|variant:'w=200,format=bmp' }}", "format cannot be 'bmp'"),
    ('{% cf_image x "w=abc" alt="" %}', "width cannot be 'abc'"),
    ('{% cf_image x w="abc" alt="" %}', "width cannot be 'abc'"),
    ('{% cf_image x fit="fill" w=2 h=2 alt="" %}', "fit cannot be 'fill'"),
    ('{% cf_image x "avatar" %}', "needs alt"),
    ('{% cf_image x "avatar" alt="" widht=3 %}', "did you mean width?"),
    ('{% cf_image x "avatar" alt="" onclick="x()" %}', "would run a script"),
]


@pytest.mark.parametrize(("source", "message"), REFUSED)
def test_what_cloudflare_or_the_tag_refuses_is_a_failure(check: Any, source: str, message: str) -> None:
    finding = only(check(source))
    assert (finding.name, finding.level) == ("template-option", "failure")
    assert message in finding.message
    assert finding.message.startswith("templates/page.html:2: ")
    assert finding.hint


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{{ x|variant:'w=abc' }}", "width cannot be 'abc'"),
        ("{{ x|variant:'w=200,g=face' }}", "has an effect only with fit"),
        ("{{ x|variant:'w=200,sise=2' }}", "unknown option 'sise'"),
    ],
)
def test_what_cloudflare_would_ignore_is_a_warning(check: Any, source: str, message: str) -> None:
    warning, fine = check(source)
    assert (warning.level, fine.level) == ("warning", "ok")
    assert message in warning.message


FLEXIBLE = [
    ("{{ x|variant:'w=200' }}", "w=200"),
    ('{% cf_image x "w=200" alt="" %}', "w=200"),
    ('{% cf_image x w=width alt="" %}', "w="),
    ('{% cf_image x "avatar" dpr="1,2" alt="" %}', "dpr="),
    ('{% cf_image x widths="1,2" alt="" %}', "widths="),
    ('{% cf_image x "avatar" placeholder=True alt="" %}', "placeholder=True"),
]


@pytest.mark.parametrize(
    "source",
    [
        "{{ 'javascript:x'|variant:'avatar' }}",
        "{{ 'javascript:x' | variant:'avatar' | upper }}",
        """{% firstof person.image "javascript:x"|variant:'avatar' %}""",
        "{% with url='javascript:x'|variant:'avatar' %}{% endwith %}",
        "{% cf_image 'javascript:x' 'avatar' alt='' %}",
        "{% cf_image image='javascript:x' variant=name alt='' as html %}",
    ],
)
def test_a_text_that_is_no_image_is_found(check: Any, source: str) -> None:
    finding = only(check(source))
    assert (finding.level, finding.name) == ("failure", "template-image")
    assert "page.html:2: 'javascript:x' can be neither the name of an image nor its URL" in finding.message
    assert "field file" in finding.hint


@pytest.mark.parametrize(
    "source",
    [
        "{{ 'avatars/jane.jpg'|variant:'avatar' }}",
        "{{ '/static/jane.jpg'|variant:'avatar' }}",
        "{{ person.image|default:'../x'|variant:'avatar' }}",
        "{{ 'javascript:x'|other|variant:'avatar' }}",
        "{{ _('javascript:x')|variant:'avatar' }}",
        "{{ x|other:'a' }}{{ 'javascript:x' }} {{ y|variant:'avatar' }}",
        "{% cf_image javascript alt='' %}",
        "{% cf_image 'https://x/y' 'avatar' alt='' %}",
        "{% cf_image 'javascript:x'|other 'avatar' alt='' %}",
        "{% cf_image alt='' %}",
        "{% cf_image '' alt='' %}",
    ],
)
def test_a_text_that_may_be_an_image_is_no_problem(check: Any, source: str) -> None:
    assert [finding.name for finding in check(source)] == ["templates"]


@pytest.mark.parametrize(("source", "needed"), FLEXIBLE)
def test_flexible_variants_that_are_off_in_the_settings_are_found(
    check: Any, settings: Any, source: str, needed: str
) -> None:
    declare(settings, FLEXIBLE_VARIANTS=False)
    finding = only(check(source))
    assert (finding.name, finding.level) == ("template-flexible", "failure")
    assert f"'{needed}' needs flexible variants" in finding.message


@pytest.mark.parametrize(("source", "needed"), FLEXIBLE)
def test_flexible_variants_of_private_images_are_a_warning(
    check: Any, settings: Any, source: str, needed: str
) -> None:
    declare(settings, REQUIRE_SIGNED_URLS=True)
    finding = check(source)[0]
    assert (finding.name, finding.level) == ("template-private", "warning")


def test_flexible_variants_are_fine_where_some_images_are_public(check: Any, settings: Any) -> None:
    backend = settings.STORAGES["cloudflare_images"]["BACKEND"]
    private = {"BACKEND": backend, "OPTIONS": {"require_signed_urls": True}}
    settings.STORAGES = {**settings.STORAGES, "private": private}
    assert only(check("{{ x|variant:'w=200' }}")).level == "ok"


@pytest.mark.parametrize(("source", "needed"), FLEXIBLE)
def test_the_first_flexible_use_is_known(check: Any, source: str, needed: str) -> None:
    check(source)
    assert read().first_flexible == "templates/page.html:2"


@pytest.mark.parametrize("load", ["{% load other %}", "{% load cf_images from other %}", ""])
def test_tags_of_other_libraries_do_not_count(write: Any, load: str) -> None:
    write({"page.html": f"{load}{{{{ x|variant:'avatr' }}}}{{% cf_image x 'avatr' %}}"})
    assert read().uses == ()


@pytest.mark.parametrize(
    "load",
    [
        "{% load static cf_images %}",
        "{% load variant from cf_images %}",
        "{% load not_installed cf_images %}",
        "{% load no_such_tag from cf_images %}",
        "{% if x %}{% load cf_images %}{% endif %}",
    ],
)
def test_every_way_to_load_the_tags_counts(write: Any, load: str) -> None:
    write({"page.html": f"{load}{{{{ x|variant:'avatr' }}}}"})
    assert len(read().uses) == 1


def test_tags_that_are_built_in_or_have_another_name_count(write: Any, settings: Any) -> None:
    write({"page.html": "{{ x|variant:'avatr' }}", "named.html": "{% load img %}{{ x|variant:'avatr' }}"})
    (engine,) = settings.TEMPLATES
    library = "cf_images.templatetags.cf_images"
    settings.TEMPLATES = [{**engine, "OPTIONS": {"libraries": {"img": library}}}]
    assert [use.place for use in read().uses] == ["templates/named.html:1"]
    settings.TEMPLATES = [{**engine, "OPTIONS": {"builtins": [library]}}]
    assert len(read().uses) == 2


@pytest.mark.parametrize(
    ("load", "count"),
    [("{% load cf_images %}{% load other %}", 0), ("{% load other %}{% load cf_images %}", 1)],
)
def test_a_filter_counts_only_if_it_is_the_one_of_this_package(
    write: Any, settings: Any, load: str, count: int
) -> None:
    (engine,) = settings.TEMPLATES
    settings.TEMPLATES = [{**engine, "OPTIONS": {"libraries": {"other": __name__}}}]
    write({"page.html": f"{load}{{{{ x|variant:'avatr' }}}}"})
    assert len(read().uses) == count


def test_no_tag_of_another_library_is_compiled(write: Any, settings: Any) -> None:
    (engine,) = settings.TEMPLATES
    settings.TEMPLATES = [{**engine, "OPTIONS": {"libraries": {"other": __name__}}}]
    write({"page.html": f"{{% load other %}}{LOAD}{{% other x|variant:'avatr' %}}"})
    assert len(read().uses) == 1


@pytest.mark.parametrize("start", ["{% comment %}", "{% comment 'x' %}{% endcomment x %}"])
def test_a_comment_without_an_end_hides_the_rest(check: Any, start: str) -> None:
    check(f"{{{{ x|variant:'avatr' }}}}{start}{{{{ x|variant:'avatr' }}}}")
    assert len(read().uses) == 1


def test_one_variable_is_counted_in_the_singular(check: Any) -> None:
    finding = only(check("{{ x|variant:name }}"))
    assert finding.message == "1 use of variants in 1 template checked, except 1 variable."


def test_variables_are_counted(check: Any) -> None:
    finding = only(check("{{ x|variant:name }}{{ x|variant:'avatar' }}{% cf_image x name alt='' %}"))
    assert finding.message == "3 uses of variants in 1 template checked, except 2 variables."


def test_a_template_that_django_cannot_compile_is_read(check: Any) -> None:
    source = "{% load missing %}{% extends 'nowhere' %}{% include x %}{{ y|variant:'hero' }}{% endfor %}"
    assert only(check(source)).name == "template-variant"


def test_installed_packages_are_not_read_unless_in_dirs(
    write: Any, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write({"page.html": f"{LOAD}{{{{ x|variant:'hero' }}}}"})
    folder = tmp_path / "templates"
    (engine,) = settings.TEMPLATES
    loader = ("django.template.loaders.filesystem.Loader", [folder])
    settings.TEMPLATES = [{**engine, "APP_DIRS": False, "DIRS": [], "OPTIONS": {"loaders": [loader]}}]
    assert len(read().uses) == 1, "an app of the project"
    monkeypatch.setattr(template_files, "_package_folders", lambda: [tmp_path.resolve()])
    assert read().uses == ()
    settings.TEMPLATES = [engine]
    assert len(read().uses) == 1


def test_the_templates_of_installed_apps_are_not_read() -> None:
    labels = [file.label for file in template_files.template_files()]
    assert not [path for path in labels if "site-packages" in path]


def test_a_file_that_two_engines_find_is_read_once(write: Any, settings: Any, tmp_path: Path) -> None:
    write({"page.html": f"{LOAD}{{{{ x|variant:'hero' }}}}"})
    (engine,) = settings.TEMPLATES
    inner = {**engine, "NAME": "other", "DIRS": [tmp_path]}
    jinja = {"BACKEND": "django.template.backends.dummy.TemplateStrings", "NAME": "x", "DIRS": [tmp_path]}
    settings.TEMPLATES = [engine, inner, jinja]
    assert len(read().uses) == 1


def test_a_file_that_is_not_text_is_a_warning_only_if_it_may_use_the_tags(write: Any, tmp_path: Path) -> None:
    write({"page.html": "nothing"})
    (tmp_path / "templates/logo.png").write_bytes(b"\x89PNG\xff\xfe")
    (tmp_path / "templates/old.html").write_bytes(b"\xe9t\xe9 variant")
    os.mkfifo(tmp_path / "templates/pipe")
    (tmp_path / "templates/gone.html").symlink_to("nowhere")
    warning, fine = examine_templates()
    assert warning.message == "templates/old.html cannot be read."
    assert fine.level == "ok"


def test_broken_template_settings_are_a_finding(write: Any, settings: Any) -> None:
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "OPTIONS": {"loaders": ["nowhere.to.be.found"]}}]
    assert only(list(examine_templates())).level == "failure"


WORDS = "avatar |variant: _( alt= dpr= widths= placeholder=True None as %} }} {%comment%}"
PIECES = [*WORDS.split(), *" \"'=2,|()\\\n\0xwé%"]


@given(inside=strategies.lists(strategies.sampled_from(PIECES), max_size=20).map("".join))
def test_any_template_can_be_read(inside: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "any.html"
    path.write_text(f"{{{{ x|variant:{inside} }}}}{{% cf_image x {inside} %}}{{% cf_image {inside} %}}")
    library = "cf_images.templatetags.cf_images"
    file = template_files.TemplateFile(path=path, engine=Engine(builtins=[library]))
    findings = list(judged(Reading(uses=tuple(uses_in(file)))))
    assert all(finding.message for finding in findings)


@pytest.mark.parametrize(("name", "status"), [("avatar", 0), ("avatr", 1)])
def test_the_command_needs_no_network_and_no_account(
    check: Any, settings: Any, name: str, status: int
) -> None:
    settings.CF_IMG_TOKEN = settings.CF_ACCT_ID = settings.CF_IMG_HASH = ""
    check(f"{{{{ x|variant:'{name}' }}}}")
    out, ended = io.StringIO(), 0
    try:
        call_command("cf_images", "doctor", "--templates", stdout=out)
    except SystemExit as error:
        ended = int(str(error.code))
    assert ended == status
    assert ("templates/page.html:2" in out.getvalue()) is (status == 1)
