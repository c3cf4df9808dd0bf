"""One description of a run behind flags, TOML and Python: `CampaignConfig`.

What a file says and what a flag says go through the same model; unknown keys are
errors. `aemtwin.runs` turns one into a run, and writes it, resolved, into its folder.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from aemtwin.errors import BadConfig
from aemtwin.sections import (
    GateConfig,
    Inputs,
    Part,
    Parts,
    Search,
    TwinSource,
    part_of,
)

KEPT = ("seed", "ideal")  # of a campaign's twin, beside another one
MOST = 8  # numbers that a campaign seeks at once


class CampaignConfig(BaseModel):
    """Everything that describes a run; a resolved one makes it again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    twin: TwinSource | None = None  # either a twin to serve
    uri: str | None = None  # or an instrument that answers
    keys: str | None = None  # folder of our certificate; None: AEMTWIN_KEYS, if needed
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
            return part_of(value)
        parts = [part_of(one) for one in value]
        if not 1 <= len(parts) <= MOST:
            raise ValueError(f"it takes one scalarizer, or a list of up to {MOST}")
        if any(one in parts[:i] for i, one in enumerate(parts)):
            raise ValueError("no scalarizer stands twice in the list")
        return parts[0] if len(parts) == 1 else parts

    @field_validator("surrogate", "acquisition", "stop", mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        return part_of(value)

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
    if isinstance(value, list | tuple):
        return [_without_none(one) for one in value]
    return value
