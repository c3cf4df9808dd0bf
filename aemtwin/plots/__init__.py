"""Pictures of a run, one function per kind, for page, report, notebook and paper."""

from aemtwin.plots.calibration import calibration
from aemtwin.plots.curves import learning_curve, spectra, step_times
from aemtwin.plots.dose import dose
from aemtwin.plots.figures import KINDS, draw, save, size, to_bytes
from aemtwin.plots.front import front, hypervolume
from aemtwin.plots.latent import latent
from aemtwin.plots.maps import acquisition, mean, measured, uncertainty
from aemtwin.plots.reading import missing
from aemtwin.plots.trajectory import overview
from aemtwin.plots.twins import twin_sheet

__all__ = [
    "KINDS",
    "acquisition",
    "calibration",
    "dose",
    "draw",
    "front",
    "hypervolume",
    "latent",
    "learning_curve",
    "mean",
    "measured",
    "missing",
    "overview",
    "save",
    "size",
    "spectra",
    "step_times",
    "to_bytes",
    "twin_sheet",
    "uncertainty",
]
