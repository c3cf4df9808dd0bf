"""Commands about instruments: served, let in, watched, looked at and checked.

`aemtwin.cli` has the others, and makes one command line of them all.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from aemtwin import options

WATCH_S = 3.0  # until a server that says nothing is told to be silent
SWITCH_S = 1e-3  # who asks meanwhile waits less for a twin that computes


def serve(
    source: options.Source,
    /,
    *,
    kind: options.Kind = None,
    select: options.Select = None,
    ideal: options.Ideal = False,
    truth: options.Truth = False,
    seed: Annotated[int, Parameter(help="Of all chance.")] = 0,
    host: Annotated[
        str, Parameter(help="Where to listen; beyond this machine with --keys.")
    ] = "127.0.0.1",
    port: Annotated[int, Parameter(help="0 for a free one.")] = 0,
    data_port: Annotated[
        int, Parameter(help="Of the data channel; 0 for a free one.")
    ] = 0,
    keys: Annotated[
        Path | None, Parameter(help="Our certificate's folder: `aemtwin keys`.")
    ] = None,
    limits: Annotated[
        Path | None, Parameter(help="File of what clients may do: docs/channels.md.")
    ] = None,
    serpent: Annotated[
        bool | None,
        Parameter(help="Plain Pyro4 clients; default: on this machine alone."),
    ] = None,
    real_time: options.RealTime = False,
    noise: options.Noise = None,
    counts: options.Counts = None,
    effects: options.Effects = None,
    calibrate: options.Calibrate = None,
    ledger: Annotated[Path | None, Parameter(help="File of the ledger.")] = None,
    until_stdin_closes: Annotated[bool, Parameter(show=False, negative="")] = False,
) -> None:
    """Serve a twin; the first line printed is its URI. Ctrl-C ends it."""
    from aemtwin import about, flags
    from aemtwin.instruments.opening import open_twin
    from aemtwin.remote.server import serve as serve_instrument

    said = flags.described(
        kind=kind,
        select=select,
        ideal=ideal,
        noise=noise,
        counts=counts,
        effects=effects,
        calibrate=calibrate,
        real_time=real_time,
    )
    twin = open_twin(source, seed=seed, ledger=ledger, **said)
    sys.setswitchinterval(SWITCH_S)
    serving = serve_instrument(
        twin,
        host=host,
        port=port,
        truth=truth,
        keys=keys,
        serpent=serpent,
        limits=limits,
        data_port=data_port,
    )
    try:
        print(serving.uri, flush=True)
        if until_stdin_closes:
            sys.stdin.read()
            return
        print(about.served(twin.describe()), file=sys.stderr, flush=True)
        serving.wait()
    finally:
        serving.close()
        twin.close()  # the ledger is one file again


def keys(
    folder: Annotated[Path, Parameter(help="For all of them.")],
    /,
    *,
    host: Annotated[
        list[str] | None,
        Parameter(help="Name or address of the server; again for more.", negative=""),
    ] = None,
    client: Annotated[
        list[str] | None,
        Parameter(
            help="NAME=ROLE: observe, operate or admin; again for more.", negative=""
        ),
    ] = None,
    days: Annotated[int, Parameter(help="How long they are valid.")] = 397,
    renew: Annotated[
        bool, Parameter(negative="", help="Make those anew that are there.")
    ] = False,
) -> None:
    """Make certificates: a small authority, a server's keys and those of clients."""
    from aemtwin import about, flags
    from aemtwin.remote import authority

    hosts = [*authority.HERE, *(host or ())]
    clients = flags.roles(client)
    made = authority.make_keys(
        folder, hosts=hosts, clients=clients, days=days, renew=renew
    )
    lacking = authority.lacking(folder, hosts=hosts, clients=clients)
    named = authority.made_for(folder / "server")
    for line in about.keys_made(folder, made, lacking, named, authority.HERE, clients):
        print(line)


def watch(
    uri: Annotated[str, Parameter(help="PYRO:...")],
    /,
    *,
    keys: options.Keys = None,
    once: Annotated[
        bool, Parameter(negative="", help="Show what there is, and end.")
    ] = False,
) -> None:
    """Show what passes at an instrument, and who holds it; it only looks."""
    from aemtwin import screen
    from aemtwin.remote.client import connect
    from aemtwin.watching import watched

    instrument = connect(uri, keys=keys, timeout_s=WATCH_S)
    try:
        screen.follow(watched(instrument), once=once)
    except KeyboardInterrupt:
        pass
    finally:
        instrument.close()


def pull(
    uri: Annotated[str, Parameter(help="PYRO:...")],
    ref: Annotated[
        str | None, Parameter(help="Request id, or recording; #NAME for one array.")
    ] = None,
    /,
    *,
    output: Annotated[
        Path | None,
        Parameter(name=["--output", "-o"], help="A .npy file, or a folder."),
    ] = None,
    keys: options.Keys = None,
    data: Annotated[
        str | None, Parameter(help="Data channel: tcp://HOST:PORT, if not as served.")
    ] = None,
) -> None:
    """Write large results as .npy files, piece by piece; goes on where it was cut off.

    Without a REF it says what there is.
    """
    import time

    from aemtwin import pulling
    from aemtwin.remote.client import connect

    scope = connect(uri, keys=keys, data=data or True)
    try:
        if ref is None:
            for line in pulling.listed(scope):
                print(line)
            return
        found = pulling.wanted(scope, ref)
        for one, path in zip(found, pulling.paths(ref, found, output), strict=True):
            begin = time.perf_counter()
            nbytes = pulling.pull(scope, one, path)
            rate = nbytes / pulling.MEBI / (time.perf_counter() - begin)
            print(f"{path}: {one.what}, {rate:.0f} MiB/s", flush=True)
    except KeyboardInterrupt:
        print("Stopped. The same command goes on where it was.", file=sys.stderr)
        sys.exit(1)
    finally:
        scope.close()


def info(
    source: options.Told,
    /,
    *,
    keys: options.Keys = None,
    kind: options.Kind = None,
    select: options.Select = None,
    counts: options.Counts = None,
    effects: options.Effects = None,
) -> None:
    """Say what a twin or an instrument can do, and what a twin's file holds."""
    from aemtwin import flags, listing, screen

    if source.startswith("PYRO:"):
        from aemtwin import about
        from aemtwin.remote.client import connect
        from aemtwin.watching import status

        instrument = connect(source, keys=keys)
        try:
            spec, state = instrument.describe(), instrument.state()
        finally:
            instrument.close()
        print(f"{spec.name}, kind {spec.kind}, protocol {spec.protocol}")
        print(*about.lines(spec), sep="\n")
        print(f"now: {status(state, None, spec.dose_units)}")
        return
    said = {"kind": kind, "select": select, "counts": counts, "effects": effects}
    screen.tell_twin(*listing.contents(source, **flags.described(**said)))


def check(
    source: options.Checked,
    /,
    *,
    keys: options.Keys = None,
    kind: options.Kind = None,
    select: options.Select = None,
    effects: options.Effects = None,
    dose: options.Dose = True,
) -> None:
    """Hold a twin, an instrument, a surrogate or an acquisition to laws: a line each.

    It acts on an instrument, so it costs dose; with --no-dose it only looks.
    """
    from aemtwin import flags
    from aemtwin.testing import sources

    said = {"kind": kind, "select": select, "effects": flags.effects(effects)}
    failed: list[Any] = []
    results = sources.check_source(source, acting=dose, keys=keys, **said)
    for line in sources.lines(results, failed):
        print(line, flush=True)
    if failed:
        sys.exit(1)


def doctor() -> None:
    """Check the installation: versions, folders, a twin served and measured."""
    from aemtwin import listing

    failed = False
    for name, ok, found in listing.check_installation():
        print(f"{'ok  ' if ok else 'FAIL'} {name}: {found}")
        failed |= not ok
    if failed:
        sys.exit(1)
