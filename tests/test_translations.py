"""The translations are complete and compiled, and they are what visitors and editors read."""

# Texts in other languages have their own marks.
# ruff: noqa: RUF001

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from io import StringIO
from typing import Any

import pytest
from django import forms
from django.conf import settings as django_settings
from django.core import checks
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.utils import translation
from django.utils.formats import number_format
from django.utils.translation import to_locale

from cf_images import error_messages, images
from cf_images.background.fetch import validate_source_url
from cf_images.browser.texts import texts
from cf_images.exceptions import CloudflareUnavailableError, ImageRejectedError
from cf_images.forms import DirectImageField, DirectImagesField, ImageField
from cf_images.images import ImageInfo
from cf_images.models import State, Upload
from cf_images.translation import rejection
from tests import translations
from tests.background import conftest as background
from tests.background.conftest import Clock, refuse_credentials, work
from tests.browser import conftest as browser
from tests.browser.conftest import Visitor
from tests.conftest import point_at
from tests.pictures import picture

LANGUAGES = translations.all_languages()
MARKS = re.compile(r"%\(\w+\)[sd]|\{\w+\}")

Accept = Callable[..., Upload]
accept, cloudflare, fresh_process = background.accept, background.cloudflare, background.fresh_process
clock, visitor = background.clock, browser.visitor


# The catalogs


def key_of(message: Any) -> tuple[str | None, Any]:
    """What tells a message from others: its context, and the message, with its plural."""
    return message.context, message.id


def forms_of(message: Any) -> list[tuple[str, str]]:
    """Every translated form of a message, and the English that it is a translation of."""
    if isinstance(message.string, str):
        return [(message.id, message.string)]
    return [(message.id[1], form) for form in message.string]


def test_the_languages_are_those_that_are_promised() -> None:
    assert {"de", "es", "fr", "ja", "pt_BR", "zh_Hans"} <= set(LANGUAGES)
    assert set(LANGUAGES) == {to_locale(language) for language in READ}, "READ has a line for each language"


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_catalog_has_the_messages_of_the_source_and_no_other(language: str) -> None:
    catalog = translations.read(language)
    found = set(map(key_of, translations.messages(catalog)))
    expected = set(map(key_of, translations.messages(translations.extracted())))
    assert found == expected, "run: python3 dev.py translations"
    assert not catalog.obsolete


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_message_is_translated_in_all_its_plural_forms(language: str) -> None:
    catalog = translations.read(language)
    for message in translations.messages(catalog):
        assert not message.fuzzy, message.id
        assert translations.is_complete(message), message.id
        if message.pluralizable:
            assert len(message.string) == catalog.num_plurals, message.id


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_placeholders_are_those_of_the_message(language: str) -> None:
    for message in translations.messages(translations.read(language)):
        for english, translated in forms_of(message):
            assert sorted(MARKS.findall(translated)) == sorted(MARKS.findall(english)), message.id
            left = MARKS.sub("", translated)
            assert not re.search(r"%[(\w]|[{}]", left), f"a broken placeholder: {translated}"


@pytest.mark.parametrize("language", LANGUAGES)
def test_sentences_and_spaces_end_as_in_english(language: str) -> None:
    for message in translations.messages(translations.read(language)):
        for english, translated in forms_of(message):
            assert translated == translated.strip(), message.id
            if not english.endswith((".", "s")):  # after a placeholder, some languages set no stop
                assert not translated.endswith((".", "。")), message.id


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_compiled_catalog_is_that_of_the_text(language: str) -> None:
    compiled = translations.path(language, ".mo").read_bytes()
    expected = translations.loaded(translations.compiled(translations.read(language)))
    assert translations.loaded(compiled) == expected, "run: python3 dev.py translations"


def test_contexts_keep_other_apps_texts() -> None:
    """Words that many apps have are translated for this package alone."""
    plain = {message.id for message in translations.messages(translations.extracted()) if not message.context}
    assert not plain & {"Cancel", "Remove", "Images", "state", "pending"}


def test_extraction_finds_every_kind_of_mark() -> None:
    template = """{% load i18n %}<p>It's {% translate "one" %}
        {% blocktranslate with a=b %}two {{ a }}{% endblocktranslate %}"""
    code = translations.as_python(template)
    assert [message for _, message, _, _ in translations.found(code)] == ["one", "two %(a)s"]
    code = '_("a")\nSentence("b %(c)s", {})\nngettext("d", "e", n)\npgettext_lazy("of f", "g")'
    found = [(message, context) for _, message, _, context in translations.found(code)]
    assert found == [("a", None), ("b %(c)s", None), (("d", "e"), None), ("g", "of f")]


# What people read


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """What is read in a language: errors of forms, the element, the admin."""

    too_large: str
    too_wide: str
    at_most: tuple[str, str]  # one image; three
    choose: str
    moved: str
    pending: str
    attempts: tuple[str, str]  # one; two
    retried: tuple[str, str]  # one image; two
    paused: str
    action: str


READ = {
    "de": Read(
        too_large="Die Bilddatei ist zu groß (10,3 MB; erlaubt sind höchstens 10 MB).",
        too_wide="Das Bild ist zu groß (12.345 × 2 Pixel; erlaubt sind höchstens 12.000 Pixel pro Seite).",
        at_most=("Wählen Sie höchstens 1 Bild aus.", "Wählen Sie höchstens 3 Bilder aus."),
        choose="Bild auswählen oder hier ablegen",
        moved="{name} ist jetzt Nummer {position} von {count}",
        pending="ausstehend",
        attempts=("1 Versuch; der nächste ist jetzt fällig", "2 Versuche; der nächste ist jetzt fällig"),
        retried=("1 Bild wird erneut verarbeitet.", "2 Bilder werden erneut verarbeitet."),
        paused="Uploads zu cloudflare_images sind angehalten.",
        action="Jetzt erneut versuchen",
    ),
    "es": Read(
        too_large="El archivo de imagen es demasiado grande (10,3 MB; el límite es de 10 MB).",
        too_wide=(
            "La imagen es demasiado grande ({wide} × 2 píxeles; el límite es de {limit} píxeles por lado)."
        ),
        at_most=("Elija como máximo 1 imagen.", "Elija como máximo 3 imágenes."),
        choose="Elija una imagen o suéltela aquí",
        moved="{name} ocupa ahora el puesto {position} de {count}",
        pending="pendiente",
        attempts=("1 intento; el siguiente será en breve", "2 intentos; el siguiente será en breve"),
        retried=("Se vuelve a intentar con 1 imagen.", "Se vuelve a intentar con 2 imágenes."),
        paused="Las subidas a cloudflare_images están en pausa.",
        action="Volver a intentarlo ahora",
    ),
    "fr": Read(
        too_large="Le fichier image est trop volumineux (10,3 Mo ; la limite est de 10 Mo).",
        too_wide="L’image est trop grande ({wide} × 2 pixels ; la limite est de {limit} pixels par côté).",
        at_most=("Choisissez au plus 1 image.", "Choisissez au plus 3 images."),
        choose="Choisissez une image ou déposez-la ici",
        moved="{name} est maintenant en position {position} sur {count}",
        pending="en attente",
        attempts=("1 tentative ; la prochaine est imminente", "2 tentatives ; la prochaine est imminente"),
        retried=(
            "1 image fait l’objet d’une nouvelle tentative.",
            "2 images font l’objet d’une nouvelle tentative.",
        ),
        paused="Les téléversements vers cloudflare_images sont suspendus.",
        action="Réessayer maintenant",
    ),
    "ja": Read(
        too_large="画像ファイルが大きすぎます（10.3 MB、上限は 10 MB）。",
        too_wide="画像が大きすぎます（{wide} × 2 ピクセル。上限は一辺 {limit} ピクセル）。",
        at_most=("選択できる画像は 1 件までです。", "選択できる画像は 3 件までです。"),
        choose="画像を選択するか、ここにドロップしてください",
        moved="{name} は {count} 件中 {position} 番目になりました",
        pending="処理待ち",
        attempts=("試行 1 回、まもなく再試行します", "試行 2 回、まもなく再試行します"),
        retried=("1 件の画像を再試行します。", "2 件の画像を再試行します。"),
        paused="cloudflare_images へのアップロードは一時停止中です。",
        action="今すぐ再試行",
    ),
    "pt-br": Read(
        too_large="O arquivo de imagem é grande demais (10,3 MB; o limite é de 10 MB).",
        too_wide="A imagem é grande demais (12.345 × 2 pixels; o limite é de 12.000 pixels por lado).",
        at_most=("Escolha no máximo 1 imagem.", "Escolha no máximo 3 imagens."),
        choose="Escolha uma imagem ou solte-a aqui",
        moved="{name} agora é o número {position} de {count}",
        pending="pendente",
        attempts=("1 tentativa; a próxima será em breve", "2 tentativas; a próxima será em breve"),
        retried=("Nova tentativa iniciada para 1 imagem.", "Nova tentativa iniciada para 2 imagens."),
        paused="Os envios para cloudflare_images estão pausados.",
        action="Tentar novamente agora",
    ),
    "zh-hans": Read(
        too_large="图片文件过大（10.3 MB；上限为 10 MB）。",
        too_wide="图片过大（{wide} × 2 像素；每边上限为 {limit} 像素）。",
        at_most=("最多选择 1 张图片。", "最多选择 3 张图片。"),
        choose="选择图片或将其拖放到此处",
        moved="{name} 现在是第 {position} 张，共 {count} 张",
        pending="等待中",
        attempts=("已尝试 1 次，即将再次尝试", "已尝试 2 次，即将再次尝试"),
        retried=("正在重试 1 张图片。", "正在重试 2 张图片。"),
        paused="向 cloudflare_images 的上传已暂停。",
        action="立即重试",
    ),
}
everywhere = pytest.mark.parametrize("language", sorted(READ))


def plain(text: str) -> str:
    """The text as a person sees it: no entities, and any space is a space."""
    return re.sub(r"\s+", " ", html.unescape(text))


class PhotoForm(forms.Form):
    """A form with one image."""

    photo = ImageField()


class AvatarForm(forms.Form):
    """A form whose image goes from the browser straight to the storage."""

    avatar = DirectImageField(storage="cloudflare_images")


class AlbumForm(forms.Form):
    """A form with several."""

    few = DirectImagesField(max_images=1)
    more = DirectImagesField(max_images=3)


def errors_of(body: bytes) -> str:
    form = PhotoForm({}, {"photo": SimpleUploadedFile("photo.png", body, "image/png")})
    return plain(str(form))


@everywhere
def test_a_form_says_what_is_wrong_with_a_file(language: str) -> None:
    wide = picture(size=(12_345, 2))
    with translation.override(language):
        # Some versions of Django group digits, others do not; the separators of German are old.
        numbers = {
            "wide": number_format(12_345, force_grouping=True),
            "limit": number_format(12_000, force_grouping=True),
        }
        assert plain(READ[language].too_wide.format(**numbers)) in errors_of(wide)
        assert READ[language].too_large in errors_of(picture() + bytes(10_700_000))


@everywhere
def test_a_form_counts_images_in_its_plural(language: str) -> None:
    files = [SimpleUploadedFile(f"{number}.png", picture(), "image/png") for number in range(4)]
    with translation.override(language):
        for name, text in zip(("few", "more"), READ[language].at_most, strict=True):
            with pytest.raises(ValidationError) as caught:
                AlbumForm().fields[name].clean(files)
            assert caught.value.messages == [text]


@everywhere
@pytest.mark.django_db
def test_the_element_has_its_texts(language: str, visitor: Visitor) -> None:
    with visitor.page(), translation.override(language):
        page = str(AvatarForm())
    found = json.loads(html.unescape(re.findall(r'data-texts="([^"]*)"', page)[0]))
    assert found["choose"] == READ[language].choose
    assert found["moved"] == READ[language].moved
    with translation.override("en"):
        assert found.keys() == texts().keys()
        same = {name for name, text in texts().items() if text == found[name]}
    assert same <= {"list"}  # "Images" is French, too


@everywhere
@pytest.mark.django_db
def test_the_list_of_uploads_is_in_the_language_of_the_editor(
    language: str, accept: Accept, admin_client: Any, settings: Any, clock: Clock
) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.middleware.locale.LocaleMiddleware"]
    settings.USE_THOUSAND_SEPARATOR = True
    words, headers = READ[language], {"Accept-Language": language}
    rows = [accept(), accept(), accept()]
    Upload.objects.filter(pk=rows[0].pk).update(last_error="No response.", attempts=1)
    Upload.objects.filter(pk=rows[1].pk).update(last_error="No response.", attempts=2)
    refuse_credentials()
    assert work() == 0
    clock.advance(minutes=2)
    page = plain(admin_client.get("/admin/cf_images/upload/", headers=headers).content.decode())
    assert words.paused in page
    assert f">{words.pending}</span>" in page
    assert all(text in page for text in words.attempts)
    assert words.action in page
    for texts_of, selected in zip(words.retried, (rows[:1], rows[1:]), strict=True):
        data = {"action": "retry", "_selected_action": [row.pk for row in selected]}
        answer = admin_client.post("/admin/cf_images/upload/", data, headers=headers, follow=True)
        assert texts_of in plain(answer.content.decode())
    # The names of fields.
    page = plain(
        admin_client.get(f"/admin/cf_images/upload/{rows[0].pk}/change/", headers=headers).content.decode()
    )
    with translation.override(language):
        for name in ("remote_id", "creator", "attempts"):
            label = str(Upload._meta.get_field(name).verbose_name)
            assert label[0].upper() + label[1:] in page
    assert "Creator" not in page


@everywhere
def test_views_answer_in_words(language: str) -> None:
    with translation.override(language):
        away = error_messages.message(CloudflareUnavailableError("No response."))
        with pytest.raises(ValidationError) as caught:
            validate_source_url("ftp://example.com/")
    assert "Images are not available" not in away
    assert "The URL cannot be used" not in caught.value.messages[0]
    assert "https://" in caught.value.messages[0]


def test_what_cloudflare_says_stays_as_it_is() -> None:
    error = ImageRejectedError("Uploaded image must have image/jpeg content type", code=5455)
    with translation.override("de"):
        assert error_messages.message(error) == error.message


def test_an_error_is_english_for_the_log_and_in_rows_whatever_the_language() -> None:
    with translation.override("de"), pytest.raises(ImageRejectedError) as caught:
        images.check_limits(ImageInfo(format="png", size=1, width=12_345, height=2))
    english = "The image is too large (12,345 × 2 pixels; the limit is 12,000 pixels per side)."
    assert caught.value.message == english
    with translation.override("en"):
        assert rejection(caught.value) == english
    with translation.override(None):
        assert rejection(caught.value) == english


def test_names_that_models_have_from_the_start_follow_the_language() -> None:
    with translation.override("de"):
        assert State.PENDING.label == "ausstehend"
        assert str(Upload._meta.verbose_name_plural) == "Uploads"
    with translation.override("ja"):
        assert State.PENDING.label == "処理待ち"
        assert str(Upload._meta.verbose_name_plural) == "アップロード"


@pytest.mark.django_db
def test_no_language_asks_for_a_migration(settings: Any) -> None:
    settings.LANGUAGE_CODE = "de"
    with translation.override("de"):
        call_command("makemigrations", "cf_images", check=True, dry_run=True, stdout=StringIO())


@pytest.mark.django_db
def test_operators_read_english_whatever_the_language(
    accept: Accept, cloudflare: Any, settings: Any, clock: Clock
) -> None:
    point_at(settings, cloudflare)
    accept()
    clock.advance(hours=2)
    assert operators_texts("de", settings) == operators_texts("en", settings)


def operators_texts(language: str, settings: Any) -> list[str]:
    """What commands and checks print on a site in this language, but for numbers, which may be times."""
    settings.LANGUAGE_CODE = language
    with translation.override(language):
        found = []
        for arguments in (["uploads"], ["doctor"], ["variants"]):
            printed = StringIO()
            try:
                call_command("cf_images", *arguments, stdout=printed, stderr=printed)
            except SystemExit as end:
                printed.write(f"exit {end.code}")
            found.append(printed.getvalue())
        return [re.sub(r"\d+", "0", text) for text in (*found, *map(str, checks.run_checks()))]


def test_the_site_of_these_tests_has_all_languages() -> None:
    assert set(READ) <= dict(django_settings.LANGUAGES).keys()
