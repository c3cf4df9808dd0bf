"""Flags that several commands take, each with its help; `aemtwin.cli` uses them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import CycloptsError, Parameter

from aemtwin.errors import (
    BadConfig,
    NotSupported,
    OutOfRange,
    UnknownName,
    WrongType,
)

WRONG_USE = (
    CycloptsError,
    BadConfig,
    NotSupported,
    OutOfRange,
    UnknownName,
    WrongType,
)
"""Errors of whoever wrote the command: the exit status is 2, not 1."""

Source = Annotated[str, Parameter(help="Catalogue name, twin folder or NSID file.")]
Told = Annotated[
    str, Parameter(help="Catalogue name, twin folder, NSID file or PYRO: URI.")
]
Experiment = Annotated[
    str | None, Parameter(help="An experiment by name, or a campaign file.")
]
Keys = Annotated[
    Path | None,
    Parameter(help="Folder of our certificate; default: $AEMTWIN_KEYS, if needed."),
]
Truth = Annotated[
    bool, Parameter(negative="", help="Tell the noise-free data, for scores.")
]
Picture = Annotated[
    Path | None, Parameter(name=["--output", "-o"], help="PNG, SVG, PDF or WebP.")
]
Page = Annotated[Path, Parameter(name=["--output", "-o"], help="The page to write.")]
Steps = Annotated[int | None, Parameter(help="Measurements that are decided on.")]
Out = Annotated[str | None, Parameter(help="Folder for the run's own folder.")]
Seed = Annotated[int | None, Parameter(help="Of all chance in the decisions.")]
Kind = Annotated[
    str | None, Parameter(help="afm, stem, stm, raman, ...; default: guessed.")
]
Select = Annotated[str | None, Parameter(help="Sample of a file of several.")]
Ideal = Annotated[bool, Parameter(negative="", help="No noise, no effect.")]
RealTime = Annotated[
    bool, Parameter(negative="", help="Take the time that the instrument would.")
]
Noise = Annotated[
    list[str] | None,
    Parameter(help="Read-out noise of a channel or mode: loops=1.5.", negative=""),
]
Effects = Annotated[
    str | None,
    Parameter(help="all, none, default, or names with commas; `aemtwin list effects`."),
]
Counts = Annotated[
    list[str] | None,
    Parameter(help="An array of counts: eds=expected, eds=recorded.", negative=""),
]
Calibrate = Annotated[
    list[str] | None,
    Parameter(help="Length of an axis that has none: x=0.39nm/px.", negative=""),
]
Images = Annotated[
    list[str] | None,
    Parameter(help="Images whose patches a dkl reads; default: all.", negative=""),
]
Scalarizer = Annotated[
    list[str] | None,
    Parameter(
        help="What to look for: band_intensity:low=1,high=2; -imprint for low values. "
        "Several, the flag given again, are sought by ehvi or novelty.",
        negative="",
        allow_leading_hyphen=True,
    ),
]
Surrogate = Annotated[
    str | None, Parameter(help="Model: gp, dkl, bayes_gp; `aemtwin list`.")
]
Stop = Annotated[
    str | None,
    Parameter(help="When to end early: regret:margin=2; `aemtwin list stopping`."),
]
Acquisition = Annotated[
    str | None, Parameter(help="Such as log_ei, thompson, random; `aemtwin list`.")
]
What = Annotated[
    str | None,
    Parameter(help="twins, effects, modes, experiments, scalarizers, surrogates, ..."),
]
Name = Annotated[
    str | None, Parameter(help="Tell all of one: its parameters and defaults.")
]
Checked = Annotated[
    str,
    Parameter(
        help="Twin by name, folder, file or PYRO: URI; gp, log_ei, my_module:MyModel."
    ),
]
Dose = Annotated[bool, Parameter(help="Act at all; without, laws that only look.")]
