"""Put pictures into the page itself, small enough to send by mail."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import NamedTuple

LARGEST_SVG = 130_000  # bytes; a bigger vector picture is embedded as pixels
_COLOURS = 256


class Picture(NamedTuple):
    """A picture as a data URI and its size in pixels."""

    uri: str
    width: int
    height: int


def embed(folder: Path, name: str, inches: tuple[float, float] | None = None) -> Picture | None:
    """Return the figure `name` as a data URI: SVG when small, else PNG with a reduced palette.

    Args:
        folder: where <name>.svg and <name>.png lie.
        inches: its size; read from the PNG unless given.

    Returns:
        None where neither file can be read.
    """
    vector, pixels = folder / f"{name}.svg", folder / f"{name}.png"
    size = _size(pixels) if inches is None else (inches[0] * 96, inches[1] * 96)
    width, height = (round(side) for side in (size or (640, 400)))
    if vector.is_file() and (vector.stat().st_size <= LARGEST_SVG or not pixels.is_file()):
        return Picture(_uri("image/svg+xml", vector.read_bytes()), width, height)
    if pixels.is_file():
        return Picture(_uri("image/png", _reduced(pixels.read_bytes())), width, height)
    return None


def _uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _size(path: Path) -> tuple[float, float] | None:
    """Return the size of a PNG as it should appear, from its own resolution."""
    if not path.is_file():
        return None
    from PIL import Image

    with Image.open(path) as image:
        dots = image.info.get("dpi", (96, 96))[0] or 96
        return image.width * 96 / dots, image.height * 96 / dots


def _reduced(content: bytes) -> bytes:
    """Store a picture with 256 colours if that is smaller (it is about a third)."""
    from PIL import Image

    with Image.open(io.BytesIO(content)) as image:
        flat = Image.new("RGB", image.size, "white")
        flat.paste(image, mask=image.getchannel("A") if image.mode == "RGBA" else None)
    out = io.BytesIO()
    flat.quantize(_COLOURS, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
    return min(out.getvalue(), content, key=len)
