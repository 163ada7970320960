"""The links to the documentation that hints and messages end with: one page for each check and each error."""

from __future__ import annotations

# Read the Docs redirects /page/… to the language and version that readers get by default.
DOCUMENTATION = "https://django-cf-images.readthedocs.io/"
_PAGE = f"{DOCUMENTATION}page/"


def check_page(check_id: str) -> str:
    """Return the URL of the page about a system check, such as ``cf_images.E001``."""
    return f"{_PAGE}checks/{check_id.rpartition('.')[2]}.html"


def error_page(name: str) -> str:
    """Return the URL of the page about an error class, such as ``ImageNotFoundError``."""
    return f"{_PAGE}errors/{name}.html"


SETTINGS_PAGE = f"{_PAGE}reference/settings.html"


def with_link(text: str, url: str) -> str:
    """Return a sentence, or several, with the URL behind them."""
    return f"{text.rstrip().rstrip('.')}. See {url}" if text else f"See {url}"
