"""What the upload element says, in the language of the page; its script contains no text of its own.

``{name}`` and the like are filled in by ``static/cf_images/upload.js``.
"""

from __future__ import annotations

from django.utils.translation import gettext as _
from django.utils.translation import pgettext


def texts() -> dict[str, str]:
    """Return the texts, in the current language."""
    return {
        "choose": _("Choose an image or drop it here"),
        "chooseMany": _("Choose images or drop them here"),
        "replace": _("Choose another image or drop it here"),
        "list": pgettext("uploads", "Images"),
        # What is under way
        "preparing": _("Preparing {name}"),
        "waiting": _("Waiting to upload"),
        "sending": _("Uploading {name}"),
        "percent": _("{name}: {percent} percent uploaded"),
        "done": _("{name} is uploaded"),
        "reduced": _("reduced to {size}"),
        "offline": _("You are offline. The upload continues when you are online again."),
        "retrying": _("The connection was interrupted. Trying again."),
        "finishing": _("The form is sent when the uploads are complete."),
        # Buttons: as they are seen, and as they are read aloud
        "cancel": pgettext("upload", "Cancel"),
        "cancelName": _("Cancel the upload of {name}"),
        "retry": _("Try again"),
        "retryName": _("Try again to upload {name}"),
        "remove": pgettext("upload", "Remove"),
        "removeName": _("Remove {name}"),
        "up": _("Move up"),
        "upName": _("Move up {name}"),
        "down": _("Move down"),
        "downName": _("Move down {name}"),
        "moved": _("{name} is now number {position} of {count}"),
        "removed": _("{name} is removed"),
        # What went wrong
        "type": _("{name} is not an image of an accepted type."),
        "empty": _("{name} is empty."),
        "unreadable": _("{name} cannot be read. Choose the file again."),
        "tooLarge": _(
            "{name} is too large ({size}; the limit is {limit}), and this browser cannot reduce it."
        ),
        "tooManyPixels": _(
            "{name} is too large ({width} × {height} pixels), and this browser cannot reduce it."
        ),
        "location": _("This browser cannot remove the location from {name}. Save it as JPEG first."),
        "refused": _("{name} was refused: {reason}"),
        "failed": _("{name} could not be uploaded."),
        "withForm": _("It is sent with the form instead."),
        "forbidden": _("Uploads are not allowed. Reload the page and sign in again."),
        "attached": _("{name} was saved before. Choose the file again to save it once more."),
        "gone": _("The upload of {name} has expired. Choose the file again."),
        "interrupted": _("The upload of {name} was interrupted. Choose the file again to continue."),
        "blocked": _("Remove the image that failed, or try again, before you send the form."),
        "noRow": _("There is no row left for {name}."),
    }
