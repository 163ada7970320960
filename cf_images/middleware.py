"""``CloudflareImagesErrorMiddleware``: an answer in words, not a bare 500, when an image fails in a view;
``DirectUploadsMiddleware``: lets forms know whose uploads they may take.
"""

from __future__ import annotations

import logging
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.template import TemplateDoesNotExist
from django.template.loader import render_to_string
from django.utils.cache import add_never_cache_headers, patch_vary_headers
from django.utils.deprecation import MiddlewareMixin
from django.utils.html import format_html

from cf_images import conf, error_messages
from cf_images.browser.owners import acting_for
from cf_images.exceptions import CloudflareImagesError, InvalidNameError, InvalidVariantError

logger = logging.getLogger(__name__)

TEMPLATE = "cf_images/error.html"
_JSON = "application/json"


class CloudflareImagesErrorMiddleware(MiddlewareMixin):
    """Respond to this package's errors in views with 400, 404, 409 or 502, in words; log the reason.

    HTML, by the template ``cf_images/error.html``, which a project may replace; or ``{"detail": "…"}`` for
    clients whose ``Accept`` prefers JSON. Works in sync and async sites. Other exceptions are Django's; while
    ``DEBUG`` is on, so are those about names and variants.
    """

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Return the response; ``None`` leaves the exception to Django."""
        if not isinstance(exception, CloudflareImagesError) or _is_shown_to_developers(exception):
            return None
        status = exception.http_status
        # Under these names Django's own handlers, such as AdminEmailHandler, expect them.
        error_messages.log(logger, exception, status_code=status, request=request)
        text = error_messages.message(exception)
        if _prefers_json(request):
            response: HttpResponse = JsonResponse({"detail": text}, status=status)
        else:
            response = HttpResponse(_page(request, text, status), status=status)
        for name, value in error_messages.headers(exception).items():
            response[name] = value
        patch_vary_headers(response, ["Accept"])
        add_never_cache_headers(response)
        return response


class DirectUploadsMiddleware(MiddlewareMixin):
    """Tell forms who sends them, so that they take that visitor's uploads alone.

    After the middleware of sessions and authentication. A Django form does not know its request.
    """

    def __call__(self, request: HttpRequest) -> Any:
        """Respond while forms know the request."""
        if self.async_mode:
            return self._respond(request)
        with acting_for(request):
            return self.get_response(request)

    async def _respond(self, request: HttpRequest) -> HttpResponseBase:
        with acting_for(request):
            response: HttpResponseBase = await self.get_response(request)  # type: ignore[misc]
            return response


def _is_shown_to_developers(error: CloudflareImagesError) -> bool:
    """Return whether Django's own page has to show it, with the value: most are mistakes in templates."""
    is_mistake = isinstance(error, InvalidVariantError | InvalidNameError)
    return is_mistake and bool(conf.project_setting("DEBUG"))


def _prefers_json(request: HttpRequest) -> bool:
    return request.get_preferred_type(["text/html", _JSON]) == _JSON


def _page(request: HttpRequest, text: str, status: int) -> str:
    try:
        return render_to_string(TEMPLATE, {"message": text, "status": status}, request)
    except TemplateDoesNotExist:  # the project's engines do not look into apps
        return format_html('<!DOCTYPE html><meta charset="utf-8"><title>{0}</title><p>{0}</p>', text)
