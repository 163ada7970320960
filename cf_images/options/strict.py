"""The options as they should be written: without the values that Cloudflare ignores in silence.

For the builder of flexible variants and for declarations; what comes in a URL is read by ``OPTIONS``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from cf_images.exceptions import InvalidVariantError
from cf_images.options.table import (
    OPTIONS,
    Option,
    RefusedError,
    UnreadableError,
    number,
    pixels,
    shown,
    trim_of,
    trim_text,
    within,
)

LONGEST_SIDE = 12_000  # pixels: "Supported formats and limitations" (Cloudflare Images docs)
# The documentation ends at 2; more than 3 is reduced to 3, with a warning nobody sees.
_HIGHEST_DPR = 3


def checked(name: str, value: object, options: Mapping[str, Option], *, called: str = "") -> Any:
    """``value`` as an option keeps it; ``InvalidVariantError`` names it, ``called`` so, and what is valid."""
    option = options[name]
    try:  # read again as written, to so many decimals: a tiny number may be none
        return option.read(option.write(option.read(value)))
    except (UnreadableError, RefusedError):
        pass
    raise InvalidVariantError(f"{called or name} cannot be {shown(value)}; valid is {option.valid}")


def _above(low: float, read: Callable[[object], float]) -> Callable[[object], float]:
    def read_above(value: object) -> float:
        if (found := read(value)) <= low:
            raise UnreadableError
        return found

    return read_above


def _side(value: object) -> int:
    if (found := pixels(value)) > LONGEST_SIDE:
        raise RefusedError
    return found


def _width(value: object) -> int | str:
    return "auto" if value == "auto" else _side(value)


def _degrees(value: object) -> int:
    return int(_above(0, OPTIONS["rotate"].read)(value))


_SIDE = number(_side, valid=f"1 to {LONGEST_SIDE:,} pixels")
_LENGTH = number(within(0, LONGEST_SIDE), valid=f"0 to {LONGEST_SIDE:,} pixels")
_FACTOR = number(
    _above(0, OPTIONS["gamma"].read), valid="a factor from above 0 to below 255, 1 for no change"
)
STRICT: dict[str, Option] = OPTIONS | {
    "blur": number(within(1, 250), valid="1 to 250"),
    "brightness": _FACTOR,
    "contrast": _FACTOR,
    "dpr": number(_above(0, within(0, _HIGHEST_DPR)), valid=f"a number from above 0 to {_HIGHEST_DPR}"),
    "gamma": _FACTOR,
    "height": _SIDE,
    "rotate": Option(_degrees, valid=OPTIONS["rotate"].valid),
    "trim": Option(trim_of(_LENGTH.read), valid=OPTIONS["trim"].valid, write=trim_text),
    "trim.height": _SIDE,
    "trim.left": _LENGTH,
    "trim.top": _LENGTH,
    "trim.width": _SIDE,
    # Four sizes by browser and device ("Make responsive images"); that page knows nothing to adjust them.
    "width": Option(_width, valid=f"1 to {LONGEST_SIDE:,} pixels, or auto"),
}
