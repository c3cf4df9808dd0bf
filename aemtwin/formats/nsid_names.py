"""Names and texts as HDF5, pyNSID and sidpy accept them, and sidpy's own words.

`aemtwin.formats.nsid_write` and `aemtwin.formats.pycroscopy` make texts safe with
these; what was given is kept beside them, so that nothing is lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from aemtwin.specs import Axis

EXACT = "aemtwin_metadata"  # the dataset with texts and metadata as given

DATA_TYPES = frozenset(
    "UNKNOWN SPECTRUM LINE_PLOT LINE_PLOT_FAMILY IMAGE IMAGE_MAP IMAGE_STACK "
    "SPECTRAL_IMAGE IMAGE_4D POINT_CLOUD".split()
)
KINDS = frozenset(
    "UNKNOWN SPATIAL RECIPROCAL SPECTRAL TEMPORAL CHANNEL POINT_CLOUD".split()
)
RESERVED = frozenset(  # attributes of a sidpy.Dataset that no dimension may replace
    "A T blocks chunks chunksize dask data_descriptor data_type dtype h5_dataset "
    "h5_dataset_name h5_filename imag itemsize labels metadata modality name nbytes "
    "ndim none npartitions numblocks original_metadata partitions point_cloud "
    "provenance quantity real shape size source structures title units variance view "
    "vindex".split()
)


def safe_text(text: str) -> str:
    """Return `text` as HDF5 and sidpy take it; empty becomes "generic".

    >>> safe_text("µm"), safe_text(" ")
    ('µm', 'generic')
    """
    text = text.replace("\0", "").encode("utf-8", "replace").decode().strip()
    return text or "generic"


def safe_name(text: str, taken: Iterable[str] = ()) -> str:
    """Return `text` as the name of an HDF5 object that is none of `taken`.

    >>> safe_name("dI/dV", {"dI_dV"})
    'dI_dV_'
    """
    kept = "".join(c if c.isprintable() and c not in "/-" else "_" for c in text)
    name = safe_text(kept)
    if name.strip(".") == "":
        name = name.replace(".", "_")
    while name in taken:
        name += "_"
    return name


def safe_labels(axes: Sequence[Axis]) -> list[str]:
    """Return a name for every axis that a `sidpy.Dataset` accepts, all different."""
    labels: list[str] = []
    for axis in axes:
        own = {f"dim_{i}" for i in range(len(axes))}
        labels.append(safe_name(axis.name, {*RESERVED, *labels, *own, EXACT}))
    return labels


def data_type_of(axes: Sequence[Axis]) -> str:
    """Return sidpy's name for an array with these axes.

    >>> import numpy as np
    >>> data_type_of([Axis("bias", "V", np.arange(3.0))])
    'SPECTRUM'
    """
    kinds = [axis.kind for axis in axes]
    spatial, rest = kinds.count("spatial"), [k for k in kinds if k != "spatial"]
    if spatial == 2:
        of_pixel = {(): "IMAGE", ("spectral",): "SPECTRAL_IMAGE"}
        of_pixel[("temporal",)] = "IMAGE_STACK"
        of_pixel[("reciprocal", "reciprocal")] = "IMAGE_4D"
        return of_pixel.get(tuple(rest), "UNKNOWN")
    if len(kinds) == 1:
        return "SPECTRUM" if kinds == ["spectral"] else "LINE_PLOT"
    if kinds == ["reciprocal", "reciprocal"]:
        return "IMAGE"
    return "LINE_PLOT_FAMILY" if len(kinds) == 2 and "spectral" in rest else "UNKNOWN"


def safe_data_type(text: str) -> str:
    """Return the nearest that sidpy knows.

    >>> safe_data_type("image"), safe_data_type("hologram")
    ('IMAGE', 'UNKNOWN')
    """
    return text.upper() if text.upper() in DATA_TYPES else "UNKNOWN"


def safe_kind(text: str) -> str:
    """Return the nearest dimension type that sidpy knows."""
    return text.upper() if text.upper() in KINDS else "UNKNOWN"
