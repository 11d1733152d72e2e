"""The errors a user can cause and mend."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path


class UserError(Exception):
    """Wrong use or unusable input: exit status 2 and one readable message.

    Args:
        message: what is wrong and what would be right.
        file: the file at fault, named in the message.
        key: the key, claim or column at fault inside the file.
    """

    def __init__(self, message: str, *, file: Path | str | None = None, key: str | None = None):
        self.message, self.file, self.key = message, file, key
        where = ": ".join(str(part) for part in (file, key) if part is not None)
        super().__init__(f"{where}: {message}" if where else message)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return " (did you mean 'x'?)" for the closest known name, or the list of known names."""
    names = sorted(str(item) for item in known)
    close = get_close_matches(str(name), names, n=1, cutoff=0.6)
    if close:
        return f" (did you mean {close[0]!r}?)"
    return f" (known: {', '.join(names)})" if names else ""
