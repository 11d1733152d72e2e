"""What claims.yaml may contain: a claim, and the comparisons that it may expect."""

from __future__ import annotations

import math
from typing import Annotated, Literal, NamedTuple, get_args

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

Number = Annotated[float, Field(allow_inf_nan=False)]
Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


class Accepted(NamedTuple):
    """The numbers that a claim accepts: low to high, with the ends unless `open`."""

    low: float
    high: float
    open: bool = False

    def contains(self, low: float, high: float) -> bool:
        """Return whether the whole interval is accepted."""
        if self.open:
            return self.low < low and high < self.high
        return self.low <= low and high <= self.high

    def excludes(self, low: float, high: float) -> bool:
        """Return whether no number of the interval is accepted."""
        if self.open:
            return high <= self.low or low >= self.high
        return high < self.low or low > self.high


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Approx(_Strict):
    """Within abs, or within rel times |value|, of value."""

    op: Literal["approx"]
    value: Number
    abs: Annotated[Number, Field(gt=0)] | None = None
    rel: Annotated[Number, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _one_tolerance(self) -> Approx:
        if (self.abs is None) == (self.rel is None):
            raise ValueError("approx needs a tolerance: either abs or rel")
        if self.abs is None and self.value == 0:
            raise ValueError("a relative tolerance of 0 accepts only 0: give abs")
        return self

    def accepted(self) -> Accepted:
        """Return the accepted numbers."""
        width = self.abs if self.abs is not None else (self.rel or 0.0) * math.fabs(self.value)
        return Accepted(self.value - width, self.value + width)


class AtLeast(_Strict):
    """No less than value."""

    op: Literal["at_least"]
    value: Number

    def accepted(self) -> Accepted:
        """Return the accepted numbers."""
        return Accepted(self.value, math.inf)


class AtMost(_Strict):
    """No more than value."""

    op: Literal["at_most"]
    value: Number

    def accepted(self) -> Accepted:
        """Return the accepted numbers."""
        return Accepted(-math.inf, self.value)


class Between(_Strict):
    """From low to high."""

    op: Literal["between"]
    low: Number
    high: Number

    @model_validator(mode="after")
    def _ordered(self) -> Between:
        if self.low > self.high:
            raise ValueError(f"low {self.low} is above high {self.high}")
        return self

    def accepted(self) -> Accepted:
        """Return the accepted numbers."""
        return Accepted(self.low, self.high)


class Equals(_Strict):
    """Exactly value: for counts and identities."""

    op: Literal["equals"]
    value: Number

    def accepted(self) -> Accepted:
        """Return the accepted numbers."""
        return Accepted(self.value, self.value)


class Increasing(_Strict):
    """Above 0: a change, or the smallest of a trend."""

    op: Literal["increasing"]

    def accepted(self) -> Accepted:
        """Return the accepted numbers."""
        return Accepted(0.0, math.inf, open=True)


class Decreasing(_Strict):
    """Below 0: a change, or the largest of a trend."""

    op: Literal["decreasing"]

    def accepted(self) -> Accepted:
        """Return the accepted numbers."""
        return Accepted(-math.inf, 0.0, open=True)


Comparison = Approx | AtLeast | AtMost | Between | Equals | Increasing | Decreasing


class Claim(_Strict):
    """One claim of a paper: what, where, how it was read, and how close is close enough."""

    id: Name
    says: Text
    where: Text
    read_as: Literal["stated", "tabulated", "digitised", "derived"]
    metric: Text
    unit: Text
    expect: Annotated[Comparison, Field(discriminator="op")]
    because: Text
    scales: Annotated[list[Literal["smoke", "laptop", "full"]], Field(min_length=1)]
    figure: Text | None = None


def known_keys() -> dict[str, list[str]]:
    """Return comparison -> its keys, and "" -> the claim's keys, for error messages."""
    known = {"": list(Claim.model_fields)}
    for comparison in get_args(Comparison):
        keys = comparison.model_fields
        known[get_args(keys["op"].annotation)[0]] = list(keys)
    return known
