"""Uploads from the browser straight to the storage: signed, owned, verified, and saved once.

::

    page ──▶ reserve: limits, an upload URL, a row ──▶ the browser posts the file to the URL
                                                           │
    form ──▶ verify: the row's owner, field, storage; what arrived ──▶ save: one conditional UPDATE
                                                           │
    never saved ──▶ expired ──▶ deleted by a worker (background.reserved)

A form carries one signed value that names a row (``signed_values``). Which image that is, the row says; no
browser sends an ID. ``owners`` says whose uploads are whose, ``targets`` for which field an upload is meant.
"""
