"""What can go wrong while data is obtained: a source that fails, a disk that does."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reproductions.harness.errors import UserError

FULL = (errno.ENOSPC, errno.EDQUOT)
CACHE_VARIABLE = "REPRODUCTIONS_CACHE"


class SourceFailed(Exception):
    """One source did not deliver; the next one may."""

    @classmethod
    def of(cls, error: BaseException) -> SourceFailed:
        """Return the failure that an error of a source amounts to; a full disk is raised on.

        No other source could do better on a full disk, and its error names the file.
        """
        if isinstance(error, OSError) and error.errno in FULL:
            raise error
        return cls(" ".join(str(error).split()) or type(error).__name__)


class NotDelivered(UserError):
    """No source delivered a data set; `reasons` says why of each, in one line."""

    def __init__(self, message: str, reasons: str, file: Path):
        super().__init__(message, file=file)
        self.reasons = reasons


@contextmanager
def storage_errors(path: Path, what: str, way_out: str) -> Iterator[None]:
    """Turn an OSError of the block into a UserError that names the file and the way out.

    Args:
        path: the file or folder written to, named where the error itself names none.
        what: what is being written, e.g. "the cache".
        way_out: what to do about it, e.g. which variable moves the cache.
    """
    try:
        yield
    except OSError as error:
        file = error.filename if isinstance(error.filename, (str, Path)) else path
        if error.errno in FULL:
            message = f"no space is left on the disk of {what}; free some, or {way_out}"
        else:
            message = f"{what} cannot be written ({error.strerror or error}); {way_out}"
        raise UserError(message, file=file) from error
