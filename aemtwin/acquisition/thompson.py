"""Thompson sampling: measure where one draw of the posterior is highest.

A draw is a map that could be the true one, given all that was measured; its maximum
lies as often at a candidate as that candidate is believed to be the best. So it weighs
search against certainty without a setting. `aemtwin.surrogates.draws` makes the draw,
`registry` finds the acquisition by name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from aemtwin.acquisition.analytic import Context
from aemtwin.errors import BadConfig
from aemtwin.surrogates.base import Posterior


@dataclass(frozen=True)
class Thompson:
    """The draw in the context is the score.

    Attributes:
        draws: True: the campaign asks the surrogate for a draw and puts it into the
            context.

    Source: Thompson (1933), Biometrika 25, 285; Russo et al. (2018), Foundations and
    Trends in Machine Learning 11, 1, for an overview.
    """

    draws: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """The name under which the registry knows it."""
        return "thompson"

    def __call__(self, posterior: Posterior, context: Context) -> NDArray[np.float64]:
        """Return the draw at m candidates, (m,), unit of y; −∞ where measured.

        Raises:
            BadConfig: If the context holds no draw of that many candidates.

        >>> import numpy as np
        >>> at = Posterior(np.zeros(2), np.ones(2))
        >>> known = Context(0.0, np.array([False, True]), np.array([0.3, 0.9]))
        >>> Thompson()(at, known).tolist()
        [0.3, -inf]
        """
        measured = np.asarray(context.measured, bool)
        if context.draw is None or np.shape(context.draw) != measured.shape:
            got = "no draw"
            if context.draw is not None:
                got = f"a draw of shape {np.shape(context.draw)}"
            raise BadConfig(
                f"The acquisition thompson got {got} for {measured.size} candidates; "
                "it takes one draw of the surrogate at each. Put "
                "surrogate.draw(key, state, candidates) into the context, or choose a "
                "surrogate that has `draw`, such as gp."
            )
        return np.where(measured, -np.inf, np.asarray(context.draw, np.float64))
