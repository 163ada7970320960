"""The signals about background uploads; sent by the worker after its transaction has committed.

Both give ``name`` (what the field stores) and ``storage`` (the alias). ``image_stored`` adds ``size`` in
bytes, ``width`` and ``height`` in pixels, ``None`` where they are unknown; ``image_rejected`` adds
``reason``. A worker that is killed in between sends nothing: the row, not the signal, is the source of truth.
"""

from __future__ import annotations

from django.dispatch import Signal

image_stored = Signal()
image_rejected = Signal()
