"""Flags that several commands take, each with its help; `aemtwin.cli` uses them."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

Steps = Annotated[int | None, Parameter(help="Measurements that are decided on.")]
Out = Annotated[str | None, Parameter(help="Folder for the run's own folder.")]
Seed = Annotated[int | None, Parameter(help="Of all chance in the decisions.")]
Kind = Annotated[str | None, Parameter(help="afm or stem; default: guessed.")]
Select = Annotated[str | None, Parameter(help="Sample of a file of several.")]
Ideal = Annotated[bool, Parameter(negative="", help="No noise, no effect.")]
RealTime = Annotated[
    bool, Parameter(negative="", help="Take the time that the instrument would.")
]
Noise = Annotated[
    list[str] | None,
    Parameter(help="Read-out noise of a channel or mode: loops=1.5.", negative=""),
]
Calibrate = Annotated[
    list[str] | None,
    Parameter(help="Length of an axis that has none: x=0.39nm/px.", negative=""),
]
Images = Annotated[
    list[str] | None,
    Parameter(help="Images whose patches a dkl reads; default: all.", negative=""),
]
