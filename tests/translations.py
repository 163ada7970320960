"""The catalogs of translations: what is in the source, what is in ``locale/``, and how one follows the other.

``python3 dev.py translations`` updates every catalog from the source and compiles it; with languages, as in
``dev.py translations it pt``, it adds their catalogs first. Babel does it: gettext's programs are not needed.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterator
from gettext import GNUTranslations
from pathlib import Path
from typing import Any

from babel.messages import Catalog, extract, mofile, pofile
from django.utils.translation.template import templatize

import cf_images

PACKAGE = Path(cf_images.__file__).parent
LOCALE = PACKAGE / "locale"
NAME = "LC_MESSAGES/django"
# The functions that mark a text, and which of their arguments are the message, its plural and its context.
PLAIN, PLURAL = None, (1, 2)
IN_CONTEXT, PLURAL_IN_CONTEXT = ((1, "c"), 2), ((1, "c"), 2, 3)
KEYWORDS: dict[str, Any] = {
    **dict.fromkeys(("_", "gettext", "gettext_lazy", "Sentence"), PLAIN),
    **dict.fromkeys(("ngettext", "ngettext_lazy"), PLURAL),
    **dict.fromkeys(("pgettext", "pgettext_lazy"), IN_CONTEXT),
    **dict.fromkeys(("npgettext", "npgettext_lazy"), PLURAL_IN_CONTEXT),
}
# Babel writes them with nothing in them, and with its own version.
HEADERS = (
    "Project-Id-Version|Report-Msgid-Bugs-To|PO-Revision-Date|Last-Translator|Language-Team|Generated-By"
)
EMPTY_HEADERS = re.compile(rf'^"(?:{HEADERS}): .*\n', re.M)
# For operators and developers: always English.
ENGLISH = ("emulator", "management", "checks", "doctor", "migrations", "test")


def main(languages: list[str]) -> None:
    """Add the catalogs of ``languages``, then update and compile all."""
    for language in languages:
        path(language).parent.mkdir(parents=True, exist_ok=True)
        if not path(language).exists():
            write(language, new(language))
    for language in all_languages():
        catalog = updated(language)
        write(language, catalog)
        path(language, ".mo").write_bytes(compiled(catalog))
        missing = sum(not is_complete(message) for message in messages(catalog))
        print(f"{language}: {len(list(messages(catalog)))} messages, {missing} without a translation")  # noqa: T201  # the answer


def all_languages() -> list[str]:
    """Return the names of the folders in ``locale/``."""
    return sorted(folder.name for folder in LOCALE.iterdir() if folder.is_dir())


def path(language: str, ending: str = ".po") -> Path:
    """Return where the catalog of a language is."""
    return LOCALE / language / f"{NAME}{ending}"


def read(language: str) -> Catalog:
    """Return the catalog as it is written; only its complete messages count."""
    with path(language).open("rb") as file:
        return pofile.read_po(file, locale=language)


def write(language: str, catalog: Catalog) -> None:
    """Write the catalog without line numbers and versions, which change all the time."""
    text = io.BytesIO()
    pofile.write_po(text, catalog, width=100, include_lineno=False, ignore_obsolete=True, sort_by_file=True)
    path(language).write_text(EMPTY_HEADERS.sub("", text.getvalue().decode()), encoding="utf-8")


def new(language: str) -> Catalog:
    """Return an empty catalog."""
    catalog = Catalog(locale=language, project="django-cf-images", charset="utf-8", fuzzy=False)
    catalog.header_comment = "# Translations of django-cf-images, under the same license as the package."
    return catalog


def updated(language: str) -> Catalog:
    """Return the catalog with the messages of the source; those that are gone are left out."""
    catalog = read(language)
    catalog.update(extracted(), no_fuzzy_matching=True, update_creation_date=False)
    return catalog


def extracted() -> Catalog:
    """Return the messages of the source."""
    catalog = Catalog()
    for file in sources():
        text = file.read_text(encoding="utf-8")
        code = as_python(text) if file.suffix == ".html" else text
        for _, message, _, context in found(code):
            catalog.add(
                message, locations=[(file.relative_to(PACKAGE.parent).as_posix(), 1)], context=context
            )
    return catalog


def found(code: str) -> Iterator[Any]:
    """Yield line, message, comments and context of each call that marks a text."""
    return extract.extract("python", io.BytesIO(code.encode()), keywords=KEYWORDS)


def as_python(template: str) -> str:
    """Return the marked texts of a template as calls, as Django gives them to gettext's program."""
    return "\n".join(line.strip() for line in templatize(template).splitlines())


def sources() -> list[Path]:
    """Return the files that may have texts for visitors and editors."""
    files = [*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.html")]
    return sorted(file for file in files if file.relative_to(PACKAGE).parts[0] not in ENGLISH)


def compiled(catalog: Catalog) -> bytes:
    """Return the catalog as Django loads it."""
    file = io.BytesIO()
    mofile.write_mo(file, catalog)
    return file.getvalue()


def loaded(body: bytes) -> dict[Any, str]:
    """Return what Python's gettext reads from a compiled catalog; of its headers, that of plural forms."""
    found = GNUTranslations(io.BytesIO(body))
    catalog: dict[Any, str] = found._catalog  # type: ignore[attr-defined]  # there is no other way to all
    return {**catalog, "": found.info()["plural-forms"]}


def messages(catalog: Catalog) -> Iterator[Any]:
    """Yield the messages, without the header."""
    return (message for message in catalog if message.id)


def is_complete(message: Any) -> bool:
    """Return whether every form of the message is translated."""
    return all(message.string) if isinstance(message.string, list | tuple) else bool(message.string)


if __name__ == "__main__":
    main(sys.argv[1:])
