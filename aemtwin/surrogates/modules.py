"""Any Flax module as the net of a deep kernel: by name, tried before it is used.

`build` makes a net by name, one of the house (`networks`) or of the user;
`parameter_shapes` asks it what it is made of and refuses one that does not fit, without
running it; `begun` gives it parameters to begin with. A net maps each row on its own:
some rows are padding, and candidates are read in pieces.
"""

from __future__ import annotations

import dataclasses
from functools import cache
from importlib import import_module
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import traverse_util
from jax import Array

from aemtwin.errors import BadConfig, unknown
from aemtwin.surrogates.networks import Convolutions, Features, Layer

ROWS = 3  # with which a net is tried
ALLOWED = "network takes mlp, cnn, or a Flax linen module as package.module:Class"


def build(
    network: str | nn.Module | type, hidden: tuple[int, ...], features: int
) -> nn.Module:
    """Make a net by name.

    Args:
        network: "mlp", "cnn", or "package.module:Class", a Flax linen module that can
            be made without arguments, or that class itself; if it has a field
            `features`, it is told how many. Or a module that is made, taken as it is.
            If its `images` is True, it reads (n, size, size, channels), else (n, p).
        hidden: Widths of the hidden layers, of the nets of the house alone.
        features: Latent features.

    Raises:
        UnknownName: If there is no net of that name.
        BadConfig: If it cannot be imported or made, or is no Flax linen module.

    >>> build("mlp", (8,), 2)  # doctest: +ELLIPSIS
    Features(...
    """
    if isinstance(network, str) and ":" not in network:
        house: dict[str, Any] = {"mlp": Features, "cnn": Convolutions}
        if network not in house:
            advice = 'Or give "package.module:Class" of a Flax module of your own.'
            raise unknown("network", network, house, advice)
        net: nn.Module = house[network](hidden, features)
        return net
    found = _imported(network) if isinstance(network, str) else network
    if not isinstance(found, nn.Module) and not (
        isinstance(found, type) and issubclass(found, nn.Module)
    ):
        raise BadConfig(
            f"The network {network!r} is {found!r}, no flax.linen.Module; {ALLOWED}. "
            "Make it a class that inherits from flax.linen.Module."
        )
    try:
        if isinstance(found, type):
            fields = {field.name for field in dataclasses.fields(found)}
            found = found(**({"features": features} if "features" in fields else {}))
        hash(found)
    except Exception as error:  # whatever the user's own module raises
        raise BadConfig(
            f"The network {network!r} cannot be made: {error}; it takes no argument "
            "but features. Give its other fields defaults that can be hashed."
        ) from error
    return found


def _imported(name: str) -> Any:
    """Return what "package.module:Class" names."""
    where, _, kind = name.partition(":")
    try:
        return getattr(import_module(where), kind)
    except Exception as error:  # whatever the user's own file raises
        raise BadConfig(
            f"The network {name!r} cannot be imported: {error}; {ALLOWED}. Put its "
            "file where Python looks for modules, or mend the name."
        ) from error


def flat_names(tree: Any) -> dict[str, Any]:
    """Return the leaves of a nested dict by name, names inside names joined by "/"."""
    return dict(traverse_util.flatten_dict(tree, sep="/"))  # type: ignore[no-untyped-call]


@cache
def parameter_shapes(
    network: nn.Module, shape: tuple[int, ...], features: int
) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the parameters of a net, by name, in the order it has them.

    Names of parameters in modules inside are joined by "/".

    Args:
        network: A Flax linen module.
        shape: Of one row of its inputs, (p,) or (size, size, channels).
        features: How many it is to return.

    Raises:
        BadConfig: If it fails, returns another shape, or has more than parameters.
    """
    name = type(network).__name__
    order: list[str] = []

    def begin(key: Array, rows: Array) -> Any:
        out, made = network.init_with_output(key, rows)
        order.extend(flat_names(made.get("params", {})))
        return out, made

    key = jax.eval_shape(jax.random.key, 0)
    rows: Any = jax.ShapeDtypeStruct(  # type: ignore[no-untyped-call]
        (ROWS, *shape), jnp.float32
    )
    try:
        out, made = jax.eval_shape(begin, key, rows)
    except Exception as error:  # whatever the user's own module raises
        raise BadConfig(
            f"The network {name} failed on inputs of shape {rows.shape}: {error}. It "
            "takes them and nothing else; set images = True in it for patches of "
            "(n, size, size, channels)."
        ) from error
    got = getattr(out, "shape", None)
    if got != (ROWS, features):
        raise BadConfig(
            f"The network {name} made {got if got else type(out).__name__} of inputs "
            f"of shape {rows.shape}; it is to make {(ROWS, features)}, a row of "
            "features for each. Mend its last layer, or set features in [surrogate]."
        )
    parameters = flat_names(made.get("params", {}))
    real = all(jnp.issubdtype(a.dtype, jnp.floating) for a in parameters.values())
    if set(made) != {"params"} or not parameters or not real:
        raise BadConfig(
            f"The network {name} has {sorted(made) or 'nothing'} to learn; it takes "
            "real parameters alone, one or more, and no state such as running "
            "averages. Take a layer norm in place of a batch norm."
        )
    return {part: tuple(parameters[part].shape) for part in order}


def begun(
    key: Array, network: nn.Module, shape: tuple[int, ...], features: int, count: int
) -> dict[str, Array]:
    """Return the parameters with which `count` nets begin, (count, ...) float32 each.

    Those of the house have weights from N(0, 1) and biases 0; others begin as they say.
    """
    shapes = parameter_shapes(network, shape, features)
    if not isinstance(network, Layer):
        rows = jnp.zeros((1, *shape), jnp.float32)
        keys = jax.random.split(key, count)
        made = jax.vmap(lambda k: network.init(k, rows)["params"])(keys)
        flat_made = flat_names(made)
        return {name: flat_made[name].astype(jnp.float32) for name in shapes}
    lengths = [int(np.prod(one)) for one in shapes.values()]
    ends = np.cumsum(lengths)
    flat = jax.random.normal(key, (count, int(ends[-1])), jnp.float32)
    return {
        name: flat[:, end - length : end].reshape(-1, *one)
        * (0.0 if len(one) == 1 else 1.0)  # a bias begins at 0
        for (name, one), length, end in zip(
            shapes.items(), lengths, ends.tolist(), strict=True
        )
    }


def last_layer(shapes: dict[str, tuple[int, ...]]) -> str:
    """Return the name of the weights of the last layer: the last matrix that was made.

    >>> last_layer({"kernel_0": (9, 4), "kernel_1": (4, 2), "bias_1": (2,)})
    'kernel_1'
    """
    matrices = [name for name, shape in shapes.items() if len(shape) > 1]
    return (matrices or list(shapes))[-1]
