"""Save a training run and take it up again: tensors in safetensors, written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

FORMAT = 1


@dataclass
class Checkpoint:
    """Say where a run is kept, how often, and which generators belong to it.

    The file is removed when the run is complete.

    Args:
        path: of the safetensors file.
        every_seconds: between saves; 0 saves after every step.
        key: whatever else tells this run from others, such as its settings.
        generators: those the problem or the batches draw from while training.
    """

    path: Path
    every_seconds: float = 60.0
    key: str = ""
    generators: Sequence[torch.Generator] = ()
    _saved: float = field(default_factory=time.monotonic, repr=False)

    def due(self) -> bool:
        """Tell whether it is time to save."""
        return time.monotonic() - self._saved >= self.every_seconds

    def save(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Write tensors and facts, what JSON can hold, in place of the file."""
        from safetensors.torch import save_file

        states = {f"generator.{k}": g.get_state() for k, g in enumerate(self.generators)}
        kept = {name: tensor.detach().cpu() for name, tensor in (tensors | states).items()}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.path.with_name(f"{self.path.name}.{os.getpid()}.unfinished")
        try:
            # Views of one buffer become tensors of their own, as the format demands.
            own = {name: tensor.contiguous().clone() for name, tensor in kept.items()}
            save_file(own, unfinished, {"facts": json.dumps({"format": FORMAT, **facts})})
            os.replace(unfinished, self.path)
        finally:
            unfinished.unlink(missing_ok=True)
        self._saved = time.monotonic()

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Return what was saved and set the generators back, or None where nothing was.

        Raises:
            ValueError: naming the file, where it is cut short or of another format.
        """
        if not self.path.exists():
            return None
        tensors, facts = _read(self.path)
        if facts.get("format") != FORMAT:
            raise ValueError(
                f"checkpoint {self.path} has format {facts.get('format')}, not {FORMAT}"
            )
        for k, source in enumerate(self.generators):
            if f"generator.{k}" not in tensors:
                raise ValueError(f"checkpoint {self.path} has no state for generator {k}")
            source.set_state(tensors.pop(f"generator.{k}"))
        return tensors, facts

    def remove(self) -> None:
        """Delete the file: the run is complete."""
        self.path.unlink(missing_ok=True)


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {}).get("facts", "{}"))
            return {name: file.get_tensor(name) for name in file.keys()}, facts  # noqa: SIM118
    except (SafetensorError, json.JSONDecodeError) as error:
        raise ValueError(
            f"checkpoint {path} cannot be read ({error}); delete it to start"
        ) from error


def fingerprint(*tensors: Tensor) -> str:
    """Return a digest of the tensors' shapes, types and bytes: what a run started from."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(f"{tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
