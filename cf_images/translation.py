"""The sentences of modules that know no Django, in the language of the visitor."""

from __future__ import annotations

from django.utils.formats import number_format
from django.utils.translation import get_language, gettext

from cf_images.exceptions import ImageRejectedError
from cf_images.sentences import Sentence, Value


def rejection(error: ImageRejectedError) -> str:
    """Return what a visitor reads about a file that was refused; what Cloudflare says stays as it is."""
    return " ".join(map(translated, error.sentences)) or error.message


def translated(sentence: Sentence) -> str:
    """Return the sentence in the current language, with numbers as that language writes them."""
    if get_language() is None:  # translations are off, and formats with them
        return str(sentence)
    return gettext(sentence.template) % {name: _localized(value) for name, value in sentence.values.items()}


def _localized(value: Value) -> str:
    return value if isinstance(value, str) else number_format(value, force_grouping=True)
