"""Checks of aliases in which other apps keep the renditions that they make themselves."""

from __future__ import annotations

from django.apps import apps
from django.core import checks

from cf_images import conf
from cf_images.accounts import Account, backend_options
from cf_images.checks.project import rendition_aliases
from cf_images.checks.storages import Check, Messages
from cf_images.exceptions import InvalidVariantError
from cf_images.variants import Transform, grammar
from cf_images.variants.named import PUBLIC

_WAGTAIL, _WAGTAIL_SETTING = "wagtail.images", "WAGTAILIMAGES_RENDITION_STORAGE"
_HINT = (
    'Declare CF_IMAGES["VARIANTS"] = {"original": {"width": 9999, "height": 9999}} and give the alias '
    'OPTIONS {"variant": "original"}.'
)


def served_renditions() -> Messages:
    """W031: renditions of an app that Cloudflare makes smaller, since ``url()`` is a variant.

    Apps that are not known keep them under given names, too; there, only ``public`` is told, which no project
    has chosen.
    """
    known = {alias for _, _, alias in rendition_aliases()} | {_wagtails_alias()}
    for alias, given in backend_options().items():
        options = Account(given, alias=alias).options
        is_chosen = alias not in known and options.variant != PUBLIC
        if (options.unique_names and alias != _wagtails_alias()) or options.require_signed_urls or is_chosen:
            continue  # what is wrong with unique names is W012
        if _makes_smaller(options.variant):
            purpose = (
                "is for the renditions of other apps, and"
                if alias in known
                else "keeps given names, which is for the renditions of other apps; but"
            )
            yield checks.Warning(
                f'STORAGES["{alias}"] {purpose} its images are served as {options.variant!r}, which makes '
                f"large ones smaller.",
                hint=_HINT,
                id="cf_images.W031",
            )


def wagtail() -> Messages:
    """W032: Wagtail cuts the names of renditions, so that two images may want the same one."""
    alias = _wagtails_alias()
    given = backend_options().get(alias)
    if given is not None and not conf.option("unique_names", given):
        yield checks.Warning(
            f'Wagtail keeps its renditions in STORAGES["{alias}"] under given names. It shortens them, so '
            f"that two images may have renditions of one name, and saving the second fails.",
            hint=f"Give Wagtail an alias with unique names in {_WAGTAIL_SETTING}: it finds renditions by its "
            f"own table, and needs no given names.",
            id="cf_images.W032",
        )


CHECKS: tuple[Check, ...] = (served_renditions, wagtail)


def _wagtails_alias() -> str:
    """Return the alias of Wagtail's renditions; an empty string without Wagtail, or for a class."""
    if not apps.is_installed(_WAGTAIL):
        return ""
    return str(conf.project_setting(_WAGTAIL_SETTING) or "default")


def _makes_smaller(variant: str) -> bool:
    """Return whether a variant is no larger than ``public`` on a side, or does more than scale down.

    Nothing is known about a variant that exists only in the account.
    """
    try:
        transform = _transform(variant)
    except InvalidVariantError:
        return False  # another check reports it
    if transform is None:
        return False
    sides = [side for side in (transform.width, transform.height) if side]
    return transform.fit != "scale-down" or min(sides, default=9999) <= conf.PUBLIC_VARIANT["width"]


def _transform(variant: str) -> Transform | None:
    if grammar.is_flexible(variant):
        return Transform.parse(variant)
    declared = conf.named_variant(variant)
    return declared.transform if declared else None
