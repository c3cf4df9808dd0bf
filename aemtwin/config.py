"""One description of a run behind flags, TOML and Python: `CampaignConfig`.

What a file says and what a flag says go through the same model; unknown keys are
errors. `aemtwin.runs` turns one into a run, and writes it, resolved, into its folder.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    SerializerFunctionWrapHandler,
    Tag,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

from aemtwin.errors import BadConfig
from aemtwin.scalarizers.registry import parse
from aemtwin.specs import METRES

KEPT = ("seed", "ideal")  # of a campaign's twin, beside another one
MOST = 8  # numbers that a campaign seeks at once
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
        return _part(value)

    @model_validator(mode="after")
    def _range(self) -> GateConfig:
        if self.low is None and self.high is None:
            raise ValueError("a gate has low, or high, or both")
        low, high = self.low, self.high
        if low is not None and high is not None and low >= high:
            raise ValueError("low is below high")
        return self


class CampaignConfig(BaseModel):
    """Everything that describes a run; a resolved one makes it again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    twin: TwinSource | None = None  # either a twin to serve
    uri: str | None = None  # or an instrument that answers
    scalarizer: Parts = Part(name="loop_area")  # of several, the first is the value
    surrogate: Part = Part(name="gp")
    acquisition: Part = Part(name="log_ei")
    inputs: Inputs = Inputs()
    search: Search = Search()
    stop: Part | None = None  # a stopping rule; None: all steps
    gate: GateConfig | None = None  # None: all that gives a number is learned from
    first: int = Field(10, ge=1)  # points before the surrogate decides
    steps: int = Field(50, ge=0)  # points that it decides
    seed: int = Field(0, ge=0, lt=2**63)
    mode: str | None = None
    dwell_s: float | None = Field(None, gt=0)
    parameters: dict[str, float] = Field(default_factory=dict)  # of the mode
    candidates: tuple[int, int] | None = None  # (rows, columns) of the grid searched
    overview: str | None = None  # the channel scanned first; None: the first; "": none
    baseline: bool = True  # measure a random run too, where the truth is known
    out: str = "runs"

    @field_validator("scalarizer", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        if not isinstance(value, list | tuple):
            return _part(value)
        parts = [_part(one) for one in value]
        if not 1 <= len(parts) <= MOST:
            raise ValueError(f"it takes one scalarizer, or a list of up to {MOST}")
        if any(one in parts[:i] for i, one in enumerate(parts)):
            raise ValueError("no scalarizer stands twice in the list")
        return parts[0] if len(parts) == 1 else parts

    @field_validator("surrogate", "acquisition", "stop", mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        return _part(value)

    @property
    def sought(self) -> tuple[Part, ...]:
        """The scalarizers, one or several."""
        return (
            self.scalarizer
            if isinstance(self.scalarizer, tuple)
            else (self.scalarizer,)
        )

    @model_validator(mode="after")
    def _one_instrument(self) -> CampaignConfig:
        if self.twin is not None and self.uri is not None:
            raise ValueError("give a twin or a uri, not both")
        if self.candidates is not None and min(self.candidates) < 1:
            raise ValueError("candidates is (rows, columns), each at least 1")
        return self

    def to_toml(self) -> str:
        """Return the resolved description as TOML."""
        return tomli_w.dumps(_without_none(self.model_dump(mode="json")))


def _part(value: Any) -> Any:
    """Take `band_intensity:low=1` as well as a table."""
    if not isinstance(value, str):
        return value
    name, params = parse(value)
    return {"name": name, "params": params}


def load(path: Path, changes: Mapping[str, Any] | None = None) -> CampaignConfig:
    """Read a campaign file; `changes` (such as flags) win over what it says.

    Raises:
        BadConfig: If the file is not a campaign; the message names key and value.
    """
    try:
        with path.open("rb") as file:
            said = tomllib.load(file)
    except (OSError, ValueError) as error:  # of TOML, or of its letters
        raise BadConfig(
            f"{path} cannot be read as a campaign ({error}). See experiments/ for "
            "files that can; data is given by --twin FILE."
        ) from None
    return build(said, changes, origin=str(path))


def build(
    said: Mapping[str, Any],
    changes: Mapping[str, Any] | None = None,
    *,
    origin: str = "the arguments",
) -> CampaignConfig:
    """Check a description and fill in the defaults.

    Raises:
        BadConfig: If a key is unknown or a value is not allowed.
    """
    given = {key: value for key, value in (changes or {}).items() if value is not None}
    if "twin" in given and isinstance(said.get("twin"), Mapping):
        # A source that names a variable stands for a file, wherever that is.
        same = "$" in str(said["twin"].get("source", ""))
        kept = {k: v for k, v in said["twin"].items() if same or k in KEPT}
        given["twin"] = {**kept, **given["twin"]}
    if isinstance(given.get("inputs"), Mapping):
        given["inputs"] = {**dict(said.get("inputs", {})), **given["inputs"]}
    if "uri" in given or "twin" in given:  # another instrument takes the place of both
        said = {key: value for key, value in said.items() if key not in ("uri", "twin")}
    merged = {**said, **given}
    try:
        return CampaignConfig.model_validate(merged)
    except ValidationError as error:
        key = str((error.errors()[0]["loc"] or ("",))[0])
        raise BadConfig(
            _sentence(error, "the flags" if key in given else origin)
        ) from (None)


def seeded(config: CampaignConfig, seed: int) -> CampaignConfig:
    """Let one seed decide the chance of the decisions and of the twin's noise."""
    twin = config.twin
    if twin is not None:
        twin = twin.model_copy(update={"seed": seed})
    return config.model_copy(update={"seed": seed, "twin": twin})


def _sentence(error: ValidationError, origin: str) -> str:
    """Say the first thing that is wrong: key, value, what is allowed."""
    first = error.errors()[0]
    if not first["loc"]:
        return f"In {origin}: {first['msg']}."
    loc = [part for part in first["loc"] if part not in ("one", "several")]
    where = ".".join(str(part) for part in loc)
    if first["type"] == "extra_forbidden":
        table: type[BaseModel] = CampaignConfig
        if len(loc) > 1:
            tables: dict[str, type[BaseModel]] = {
                "twin": TwinSource,
                "inputs": Inputs,
                "search": Search,
                "gate": GateConfig,
            }
            table = tables.get(str(loc[0]), Part)
        names = list(table.model_fields)
        near = difflib.get_close_matches(str(loc[-1]), names, n=1)
        guess = f" Did you mean {near[0]!r}?" if near else ""
        allowed = ", ".join(names)
        return f"In {origin}, there is no key {where!r}; allowed: {allowed}.{guess}"
    got = repr(first["input"])[:80]
    return f"In {origin}, {where} = {got} is not allowed: {first['msg']}."


def _without_none(value: Any) -> Any:
    """TOML has no null: what is None is left out, and so is an empty table."""
    if isinstance(value, dict):
        return {k: _without_none(v) for k, v in value.items() if v not in (None, {})}
    return value
