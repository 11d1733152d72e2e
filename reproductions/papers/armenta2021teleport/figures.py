"""What the room measures, and its figures; each function's arguments are the tables it needs."""

from __future__ import annotations
