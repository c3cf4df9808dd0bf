"""The tables of a campaign file, each checked by itself: twin, inputs, search, gate.

`aemtwin.config` puts them together.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    SerializerFunctionWrapHandler,
    Tag,
    field_validator,
    model_serializer,
    model_validator,
)

from aemtwin.errors import BadConfig
from aemtwin.plugins import parse
from aemtwin.specs import METRES

LENGTH = re.compile(r"([0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)\s*([^\W\d]+)/(.+)")


def calibration(axis: str, text: str) -> tuple[str, float]:
    """Read what one unit of an axis is: `0.39nm/px`, one px is 0.39 nm.

    Returns:
        The unit that the file states, and its length in metres.

    Raises:
        BadConfig: If it is written otherwise.

    >>> calibration("x", "0.5nm/SI px")
    ('SI px', 5e-10)
    """
    match = LENGTH.fullmatch(text.strip())
    if match is None or match[2].lower() not in METRES:
        raise BadConfig(
            f"The calibration of {axis} got {text!r}; it is length/unit, with the unit "
            "that the file states, as x=0.39nm/px. `aemtwin info FILE` shows the units."
        )
    length = float(match[1]) * METRES[match[2].lower()]
    if not 0 < length < 1:
        raise BadConfig(
            f"The calibration of {axis} got {text!r}; one unit of an axis is longer "
            "than nothing and shorter than a metre."
        )
    return match[3], length


class Part(BaseModel):
    """A scalarizer, a surrogate or an acquisition by name, with its parameters."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    params: dict[str, Any] = Field(default_factory=dict)

    @property
    def text(self) -> str:
        """The short form: `band_intensity:low=1.6,high=1.9`."""
        params = ",".join(f"{key}={value}" for key, value in self.params.items())
        return f"{self.name}:{params}" if params else self.name


Parts = Annotated[
    Annotated[Part, Tag("one")] | Annotated[tuple[Part, ...], Tag("several")],
    Discriminator(lambda said: "several" if isinstance(said, list | tuple) else "one"),
]
"""One part, or several of a kind."""


class TwinSource(BaseModel):
    """A twin to serve for the run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    kind: str | None = None
    select: str | None = None
    ideal: bool = False
    seed: int = Field(0, ge=0)
    noise: dict[str, float] = Field(default_factory=dict)  # sd of channels and modes
    counts: dict[str, Literal["expected", "recorded"]] = Field(default_factory=dict)
    effects: str | list[str] | dict[str, dict[str, Any]] | None = None  # None: its own
    calibrate: dict[str, tuple[str, float]] = Field(default_factory=dict)
    real_time: bool = False  # let each operation take its time

    @field_validator("calibrate", mode="before")
    @classmethod
    def _lengths(cls, value: Any) -> Any:
        """Take `x = "0.39nm/SI px"` as well as `x = ["SI px", 0.39e-9]`."""
        if not isinstance(value, Mapping):
            return value
        return {
            axis: calibration(axis, said) if isinstance(said, str) else said
            for axis, said in value.items()
        }

    @field_validator("calibrate")
    @classmethod
    def _positive(cls, value: dict[str, tuple[str, float]]) -> Any:
        if not all(0 < length < 1 for _, length in value.values()):
            raise ValueError("one unit is longer than nothing, in metres")
        return value


class Inputs(BaseModel):
    """What a surrogate that reads images is told of a candidate: patches around it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    channels: tuple[str, ...] | None = None  # None: all that were measured; (): none
    size: int = Field(default=8, ge=1, le=64)  # pixels of a patch along each side
    scales: tuple[int, ...] = (1,)  # pixels of the image that one of a patch averages
    border: Literal["mirror", "skip"] = "mirror"  # skip: only where patches are whole
    leaky: bool = False  # allow images computed from the spectra; the report says so
    # lines of the first frame that are taken anew before each decision; 0: none
    refresh: int = Field(default=0, ge=0)

    @field_validator("refresh")
    @classmethod
    def _refresh(cls, value: int) -> int:
        if value == 1:
            raise ValueError("refresh takes 2 lines or more, or 0 for none")
        return value

    @field_validator("scales")
    @classmethod
    def _scales(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not value or min(value) < 1 or len(set(value)) < len(value):
            raise ValueError("scales are whole numbers from 1 on, none of them twice")
        return value


class Search(BaseModel):
    """What a decision weighs besides what the acquisition says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    travel: float = Field(
        default=0.0, ge=0, allow_inf_nan=False
    )  # 1: gain per second taken
    apart_m: float = Field(
        default=0.0, ge=0, allow_inf_nan=False
    )  # least distance of spots
    batch: int = Field(default=1, ge=1, le=64)  # spots that one belief decides on
    dwell_s: tuple[float, ...] | None = None  # to decide among; None: nothing to decide

    @field_validator("dwell_s")
    @classmethod
    def _ladder(cls, value: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if value is None:
            return None
        if len(set(value)) < 2 or not all(0 < t < float("inf") for t in value):
            raise ValueError("dwells are two or more, finite and more than 0, seconds")
        return tuple(sorted(set(value)))

    @model_serializer(mode="wrap")
    def _said(self, whole: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out dwells that are not said: such records stay what they were."""
        told: dict[str, Any] = whole(self)
        return {k: v for k, v in told.items() if k != "dwell_s" or v is not None}


class GateConfig(BaseModel):
    """What a measurement must be worth to be learned from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    quality: Part = Part(name="snr")  # any scalarizer
    low: float | None = Field(None, allow_inf_nan=False)  # the least that passes
    high: float | None = Field(None, allow_inf_nan=False)  # the most that passes

    @field_validator("quality", mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        return part_of(value)

    @model_validator(mode="after")
    def _range(self) -> GateConfig:
        if self.low is None and self.high is None:
            raise ValueError("a gate has low, or high, or both")
        low, high = self.low, self.high
        if low is not None and high is not None and low >= high:
            raise ValueError("low is below high")
        return self


def part_of(value: Any) -> Any:
    """Take `band_intensity:low=1` as well as a table."""
    if not isinstance(value, str):
        return value
    name, params = parse(value)
    return {"name": name, "params": params}
