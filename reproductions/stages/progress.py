"""Say how far a stage is: a bar in a terminal, plain lines anywhere else."""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, TextIO

QUIET_SECONDS = 5.0


class Progress:
    """What a stage tells people. Call it with the fraction done and a note.

    Args:
        title: what is being done.
        out: where lines go.
        log: a file that keeps every line as well.
        bar: draw a bar (for a terminal that this process has to itself).
    """

    def __init__(self, title: str, out: TextIO, log: TextIO | None = None, bar: bool = False):
        self.title, self.out, self.log = title, out, log
        self.began = self.said = time.monotonic()
        self.bar: Any = None
        if bar:
            from rich.console import Console
            from rich.progress import Progress as Bar

            self.bar = Bar(console=Console(file=out), transient=True)
            self.task = self.bar.add_task(title, total=1.0)
            self.bar.start()
        else:
            self.line("started")

    def __call__(self, fraction: float, note: str = "") -> None:
        """Say how far it is; lines come every few seconds, however often this is called."""
        if self.bar is not None:
            told = f"{self.title} {note}".rstrip()
            self.bar.update(self.task, completed=fraction, description=told)
        elif fraction > 0 and time.monotonic() - self.said < QUIET_SECONDS:
            return
        elif fraction > 0:
            self.line(f"{100 * fraction:.0f} % {note}".rstrip())
        elif note:
            self.line(note)

    def line(self, text: str) -> None:
        """Say a line at once."""
        self.said = time.monotonic()
        told = f"{self.title}: {text}"
        for stream in (self.out, self.log):
            if stream is not None:
                stream.write(told + "\n")
                stream.flush()

    def close(self) -> None:
        """Take the bar away."""
        if self.bar is not None:
            self.bar.stop()
            self.bar = None

    def seconds(self) -> float:
        """Return how long it has taken so far."""
        return time.monotonic() - self.began


@contextmanager
def stage(title: str, log: Path, redirect: bool) -> Iterator[Progress]:
    """Give a stage its progress, and keep its lines and what it raises in a log.

    Args:
        redirect: send all else that is printed to the log too, and draw no bar (for jobs that run
            side by side). Without it a debugger works.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("", encoding="utf-8")
    with (
        log.open("a", encoding="utf-8") as file,
        _redirected(file) if redirect else nullcontext(sys.stderr) as terminal,
    ):
        progress = Progress(title, terminal, file, bar=not redirect and terminal.isatty())
        try:
            yield progress
            progress.close()
            progress.line(f"done in {progress.seconds():.1f} s")
        except Exception as error:
            file.writelines(traceback.format_exception(error))
            raise
        finally:
            progress.close()


@contextmanager
def _redirected(log: TextIO) -> Iterator[TextIO]:
    """Send this process's output, compilers and libraries included, to a log; yield the old one."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(1), os.dup(2)]
    terminal = os.fdopen(os.dup(2), "w", encoding="utf-8")
    try:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        yield terminal
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, old in zip((1, 2), kept, strict=True):
            os.dup2(old, number)
            os.close(old)
        terminal.close()
