"""Who may upload from the browser."""

from __future__ import annotations

from typing import Any

from cf_images import conf
from cf_images.browser import targets


def may_upload(request: Any, label: str, *, is_rendered: bool) -> bool:
    """Return whether the visitor may upload for the field ``label``.

    Users who are logged in, for a field of a form that this site has rendered for them; without a form, who
    may add or change rows of the field's model. ``CF_IMAGES["DIRECT_UPLOADS_ALLOWED"]`` decides instead of
    both, also for visitors who are not logged in.
    """
    if decide := conf.function_setting("DIRECT_UPLOADS_ALLOWED"):
        return bool(decide(request, label))
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return False
    field = targets.model_field(label)
    if is_rendered or field is None:
        return is_rendered
    app, model = field.model._meta.app_label, field.model._meta.model_name
    return any(user.has_perm(f"{app}.{action}_{model}") for action in ("add", "change"))
