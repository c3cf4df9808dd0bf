"""What a configuration chooses of an instrument: mode, images, what a surrogate reads.

`aemtwin.config` checks a description by itself; here it meets what there is.
"""

from __future__ import annotations

from typing import Any

from aemtwin.config import CampaignConfig
from aemtwin.errors import BadConfig
from aemtwin.specs import Channel, InstrumentSpec, Mode


def surrogate_params(config: CampaignConfig) -> dict[str, Any]:
    """Return the parameters of the surrogate; dkl is told the size of its patches.

    Raises:
        BadConfig: If it was given another one.
    """
    params = dict(config.surrogate.params)
    if config.surrogate.name == "dkl":
        size = config.inputs.size
        if params.setdefault("size", size) not in (0, size):
            raise BadConfig(
                f"dkl got size = {params['size']}, and patches have {size} pixels a "
                "side. Set size in [inputs] alone; 0 for dkl takes pixels as they are."
            )
    return params


def measured_mode(spec: InstrumentSpec, config: CampaignConfig) -> Mode:
    """Return the mode that a campaign measures.

    Raises:
        BadConfig: If the instrument measures nothing at a spot.
    """
    if not spec.modes:
        raise BadConfig(
            f"{spec.name} measures nothing at a spot: it has images alone, which "
            "`scan` and `trace` read. A campaign needs a mode; choose another sample."
        )
    return spec.mode(config.mode)


def overview_channel(spec: InstrumentSpec, config: CampaignConfig) -> Channel | None:
    """Return the channel of the first frame: the first that is not derived."""
    if config.overview == "":
        return None
    if config.overview is not None:
        return spec.channel(config.overview)
    return next((c for c in spec.channels if not c.derived), None)


def input_channels(
    spec: InstrumentSpec, config: CampaignConfig, *, patches: bool
) -> tuple[str, ...]:
    """Return the images of which a surrogate is given patches.

    Images that were computed from the spectra know what is sought, so none of them is
    taken unless the configuration says `leaky`.

    Args:
        spec: What the instrument can do.
        config: The campaign.
        patches: Whether its surrogate reads images.

    Raises:
        BadConfig: If it names images that the surrogate does not read, or derived ones.
        UnknownName: If it names a channel that is not there.
    """
    named = config.inputs.channels
    if not patches:
        if named:
            raise BadConfig(
                f"The surrogate {config.surrogate.name} learns from positions alone, "
                f"so inputs.channels = {list(named)} would change nothing. Choose the "
                "surrogate dkl, or leave them out."
            )
        return ()
    if named is None:
        found = [c for c in spec.channels if config.inputs.leaky or not c.derived]
        return tuple(c.name for c in found if c.dtype != "bool")
    for name in named:
        channel = spec.channel(name)
        if channel.derived and not config.inputs.leaky:
            raise BadConfig(
                f"The image {name!r} is computed from the spectra ({channel.derived}), "
                "so a surrogate that sees it knows what it should find out. Name an "
                "image that was measured, or say leaky = true in [inputs], which the "
                "report prints."
            )
    return tuple(named)
