"""What a paper claims, and the verdict on it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from reproductions.harness.claim_errors import claim_error
from reproductions.harness.claim_models import Accepted, Claim, known_keys
from reproductions.harness.errors import UserError, nearest
from reproductions.harness.files import write_json
from reproductions.harness.statistics import Metric, required_n
from reproductions.harness.yaml_files import read_yaml

VERSION = 1
REPRODUCED, REFUTED = "reproduced", "refuted"
INCONCLUSIVE, NOT_TESTED = "inconclusive", "not tested"
VERDICTS = (REPRODUCED, REFUTED, INCONCLUSIVE, NOT_TESTED)


def load_claims(path: Path | str) -> list[Claim]:
    """Read the claims of a room.

    Raises:
        UserError: names the file, the claim and the key at fault, and the nearest known name.
    """
    content = read_yaml(path)
    if not isinstance(content, list) or not content:
        raise UserError("must be a list of claims: '- id: ...'", file=path)
    claims: dict[str, Claim] = {}
    for place, entry in enumerate(content, start=1):
        if not isinstance(entry, dict):
            key = f"claim {place}"
            raise UserError(f"must be keys and values, got {entry!r}", file=path, key=key)
        name = str(entry.get("id", f"number {place}"))
        try:
            claim = Claim.model_validate(entry)
        except ValidationError as error:
            raise claim_error(path, name, error.errors(), known_keys()) from None
        if claim.id in claims:
            raise UserError("another claim has the same id", file=path, key=f"claim {name}: id")
        claims[claim.id] = claim
    return list(claims.values())


def judge(
    claims: Sequence[Claim],
    metrics: Mapping[str, Metric],
    missing: Mapping[str, str],
    scale: str,
    file: Path | str | None = None,
) -> list[dict[str, Any]]:
    """Give the verdict on every claim, in the order of the claims.

    Args:
        claims: what to judge.
        metrics: what was measured.
        missing: metric or measure function -> why it could not be measured.
        scale: claims not listed at it are not tested.
        file: the claims file, for messages.

    Raises:
        UserError: a claim's metric is not measured although nothing is missing, or measures a
            trend in the other direction.
    """
    entries = []
    for claim in claims:
        metric: Metric | None = None
        if scale not in claim.scales:
            verdict, reason = NOT_TESTED, f"judged at {', '.join(claim.scales)} only"
        elif claim.metric in metrics:
            metric = metrics[claim.metric]
            _same_direction(claim, metric, file)
            verdict, reason = decide(metric, claim.expect.accepted())
        else:
            verdict, reason = NOT_TESTED, _why_missing(claim, metrics, missing, file)
        entries.append(_entry(claim, metric, verdict, reason))
    return entries


def _same_direction(claim: Claim, metric: Metric, file: Path | str | None) -> None:
    trends = ("increasing", "decreasing")
    if metric.direction and claim.expect.op in trends and claim.expect.op != metric.direction:
        raise UserError(
            f"expects {claim.expect.op}, but {claim.metric} is trend(..., {metric.direction!r})",
            file=file,
            key=f"claim {claim.id}: expect.op",
        )


def _why_missing(
    claim: Claim,
    metrics: Mapping[str, Metric],
    missing: Mapping[str, str],
    file: Path | str | None,
) -> str:
    """Return why there is no such metric; with nothing missing, the claim is at fault."""
    if claim.metric in missing:
        return missing[claim.metric]
    # measure_mnist gives mnist_gap: where several are missing, that is the one that counts
    own = [name for name in missing if claim.metric.startswith(f"{name.removeprefix('measure_')}_")]
    if own:
        return missing[max(own, key=len)]
    if missing:
        return "not measured; " + "; ".join(f"{name}: {why}" for name, why in missing.items())
    raise UserError(
        f"no measure function gives the metric {claim.metric!r}{nearest(claim.metric, metrics)}",
        file=file,
        key=f"claim {claim.id}: metric",
    )


def decide(metric: Metric, accepted: Accepted) -> tuple[str, str]:
    """Hold an interval against the accepted numbers: return the verdict and the reason."""
    low, high = metric.low, metric.high
    if not all(map(math.isfinite, (metric.value, low, high))):
        return INCONCLUSIVE, metric.note or "the interval is unknown"
    if accepted.contains(low, high):
        return REPRODUCED, metric.note
    if accepted.excludes(low, high):
        return REFUTED, metric.note
    reason = _what_would_decide(metric, accepted)
    return INCONCLUSIVE, f"{reason}; {metric.note}" if metric.note else reason


def _what_would_decide(metric: Metric, accepted: Accepted) -> str:
    """Say which limits the interval straddles and the seeds that it would take."""
    limits = sorted({x for x in accepted[:2] if metric.low <= x <= metric.high})
    said = " and ".join(f"{limit:.6g}" for limit in limits)
    straddles = f"the interval [{metric.low:.6g}, {metric.high:.6g}] straddles {said}"
    if metric.kind == "exact":
        return f"{straddles}; a smaller error bound would decide"
    needed = [required_n(metric, limit) for limit in limits]
    known = [n for n in needed if n is not None]
    if len(known) < len(needed):
        return f"{straddles}; the value is on it or too near: no feasible number of seeds decides"
    return f"{straddles}; about {max(known)} seeds would decide (now {metric.n})"


def _finite(number: float) -> float | None:
    return float(number) if math.isfinite(number) else None


def _entry(claim: Claim, metric: Metric | None, verdict: str, reason: str) -> dict[str, Any]:
    """Return one claim as verdict.json holds it; what is unknown is null."""
    interval = [_finite(metric.low), _finite(metric.high)] if metric else None
    return {
        "id": claim.id,
        "says": claim.says,
        "where": claim.where,
        "read_as": claim.read_as,
        "metric": claim.metric,
        "unit": claim.unit,
        "expect": claim.expect.model_dump(exclude_none=True),
        "because": claim.because,
        "measured": _finite(metric.value) if metric else None,
        "interval": None if interval is None or None in interval else interval,
        "n": metric.n if metric and metric.kind == "sample" else None,
        "verdict": verdict,
        "reason": reason,
        "figure": claim.figure,
    }


def write_verdict(
    path: Path | str,
    paper: str,
    scale: str,
    data: Any,
    provenance: Mapping[str, Any],
    entries: Sequence[Mapping[str, Any]],
) -> None:
    """Write verdict.json, version 1, atomically."""
    content = {"version": VERSION, "paper": paper, "scale": scale, "data": data}
    write_json(path, {**content, "provenance": dict(provenance), "claims": list(entries)})


def read_verdict(path: Path | str) -> dict[str, Any]:
    """Read verdict.json.

    Raises:
        UserError: absent, cut short, of another version, or not a verdict.
    """
    return read_versioned(path, "verdict")


def read_versioned(path: Path | str, what: str) -> dict[str, Any]:
    """Read a verdict or a record, whose version and outer shape are the same."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"there is no such {what}", file=path) from None
    except (OSError, ValueError) as error:
        raise UserError(f"cut short or not JSON: {error}", file=path) from error
    version = content.get("version") if isinstance(content, dict) else None
    if version != VERSION:
        message = f"a {what} of version {version}; this is version {VERSION}: make it again"
        raise UserError(message, file=path, key="version")
    for key in ("paper", "scale", "claims"):
        if key not in content:
            raise UserError(f"a {what} without {key!r}: make it again", file=path, key=key)
    return content
