"""What may be wrong with an upload, in words for the person who uploads."""

from __future__ import annotations


class UploadProblem(Exception):  # noqa: N818  # its text is shown in a form; it is no error of the program
    """A sentence for a person, with the HTTP status of a view that says it.

    ``is_final``: the upload will never be saved, and is discarded. ``retry_after`` is in seconds.
    """

    def __init__(
        self, message: str, status: int = 400, *, is_final: bool = False, retry_after: int | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.is_final = is_final
        self.retry_after = retry_after
