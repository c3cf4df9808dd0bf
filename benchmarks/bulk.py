"""How fast large arrays come, beside a bare TCP socket and beside reading the file.

    python -m benchmarks.bulk --out benchmarks/results/bulk.json
    python -m benchmarks.bulk --big 10 --folder FOLDER
    python -m benchmarks.bulk --watchers 20
    python -m benchmarks.bulk --garbage 10000

Each way is taken in turn, so that what else the machine does falls on all alike;
medians. The server is another process; the bare socket sends from memory. "hashed":
the client compares SHA-256, as it does in earnest; "pulled" is the same without.
`--big`: a 4D stack of so many GiB, from an HDF5 file to an .npy file, and the memory of
both sides. `--watchers`: the rate of a scan with nobody watching, and with so many, and
one more who asks for a lot, reads nothing of it and is stopped. `--garbage`: random
bytes to the data port under CURVE.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing as mp
import os
import signal
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import msgpack
import numpy as np
import zmq

import aemtwin
from aemtwin.formats.nsid import write_nsid
from aemtwin.formats.specimens import make_sample
from aemtwin.instruments.stem import STEM
from aemtwin.instruments.store import Reference, Store
from aemtwin.instruments.twin import Twin
from aemtwin.remote import curve
from aemtwin.remote.bulk import PIECE, Bulk
from aemtwin.remote.link import Link, Ranges
from aemtwin.remote.pull import Puller
from aemtwin.sample import StoredArray
from aemtwin.specs import Axis
from tests.remote.test_bulk import garbage
from tests.small import small_arrays

MEBI, GIBI = 2**20, 2**30
SIZES = (1, 16, 128)


def serve(folder: str, keys: Any, pipe: Any) -> None:
    """Serve kept arrays by ZeroMQ, with CURVE and without, and by a bare socket."""
    store, admitted = Store(Path(folder)), curve.Admitted()
    admitted.admit({"subjectAltName": (("URI", curve.KEY + keys),)}, "benchmark")
    plain = Bulk(store.read, "127.0.0.1")
    secured = Bulk(store.read, "127.0.0.1", 0, admitted)
    bare = socket.create_server(("127.0.0.1", 0))
    ends = [one.endpoint.replace("*", "127.0.0.1") for one in (plain, secured)]
    pipe.send((*ends, admitted.key, bare.getsockname()[1]))
    known: dict[bytes, bytes] = {}
    while True:
        sock, _ = bare.accept()
        with sock:
            while rid := sock.recv(100):
                if rid not in known:
                    place = store.place(rid.decode(), 0)
                    assert place is not None
                    known[rid] = Path(place.path).read_bytes()
                sock.sendall(known[rid])


def ways(folder: Path) -> dict[str, Any]:
    public, secret = curve.new_pair()
    (folder / "keys").mkdir()
    (folder / "keys" / curve.FILE).write_text(secret)
    here, there = mp.Pipe()
    arguments = str(folder / "data"), public, there
    server = mp.Process(target=serve, args=arguments, daemon=True)
    server.start()
    plain, secured, key, port = here.recv()
    bare = socket.create_connection(("127.0.0.1", port))
    store, dice = Store(folder / "data"), np.random.default_rng(0)
    links = {
        "pulled": Link(lambda again: (plain, ""), folder=None, timeout_s=30.0),
        "pulled, CURVE": Link(
            lambda again: (secured, key), folder=folder / "keys", timeout_s=30.0
        ),
    }
    puller = Puller(
        lambda *asked: None,
        lambda: {"data": plain},
        host="127.0.0.1",
        folder=None,
        use=plain,
        timeout_s=30.0,
    )
    puller.told({"data": plain})
    told = {}
    for size in SIZES:
        rid = f"r/{size}/scan"
        data = dice.integers(0, 2**16, size * MEBI // 2, "u2")
        reference = store.keep(rid, 0, data)
        place = store.place(rid, 0)
        assert place is not None
        tried: dict[str, Callable[[], Any]] = {
            "bare socket": lambda r=reference: received(bare, r),
            **{
                name: lambda one=one, r=reference: by(one, r)
                for name, one in links.items()
            },
            "pulled, hashed": lambda r=reference: puller.array(r),
            "file, read": lambda p=place: np.fromfile(p.path, "u2").max(),
            "file, mapped": lambda r=reference: store.load(r).max(),
        }
        times: dict[str, list[float]] = {name: [] for name in tried}
        for k in range(max(8, min(40, 512 // size))):
            for name, take in tried.items():
                begin = time.perf_counter()
                found = take()
                seconds = time.perf_counter() - begin
                if k:  # the first warms up
                    times[name].append(seconds)
                if k == 1 and not name.startswith("file"):
                    assert np.array_equal(np.frombuffer(found, "u2"), data)
        rates = {n: size / 1024 / statistics.median(t) for n, t in times.items()}
        told[f"{size} MiB"] = {
            "GiB/s": {name: round(rate, 3) for name, rate in rates.items()},
            "of the bare socket": {
                name: round(rate / rates["bare socket"], 2)
                for name, rate in rates.items()
                if name.startswith("pulled")
            },
            "mapped, of reading the file": round(
                rates["file, mapped"] / rates["file, read"], 2
            ),
        }
    server.terminate()
    return told


def received(sock: socket.socket, reference: Reference) -> np.ndarray[Any, Any]:
    found = np.empty(reference.nbytes, "u1")
    view, there = memoryview(found), 0
    sock.sendall(reference.rid.encode())
    while there < len(view):
        there += sock.recv_into(view[there:])
    return found


def by(link: Link, reference: Reference) -> np.ndarray[Any, Any]:
    found = np.empty(reference.nbytes, "u1")
    view, size = memoryview(found), reference.nbytes

    def put(offset: int, data: Any) -> None:
        view[offset : offset + len(data)] = data

    ranges = {k: min(PIECE, size - k) for k in range(0, size, PIECE)}
    link.pull(reference.rid, 0, Ranges(ranges), put)
    return found


# A stack that fits in no memory


def memory_of(pid: int) -> tuple[float, float]:
    """Return the memory that a process has of its own, now and at most, MiB."""
    said = dict(
        line.split(":", 1)
        for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    return tuple(int(said[key].split()[0]) / 1024 for key in ("RssAnon", "VmHWM"))  # type: ignore[return-value]


def stack(path: Path, gibi: float) -> StoredArray:
    """Write a 4D stack to an NSID file, a block at a time."""
    side, pixels = 128, 256
    scans = int(gibi * GIBI / (side * pixels * pixels * 2))
    axes = [
        Axis(name, "nm", np.arange(float(n)), "Length", "spatial")
        for name, n in (("y", scans), ("x", side))
    ] + [
        Axis(name, "1/nm", np.arange(float(pixels)), "Reciprocal length", "reciprocal")
        for name in ("v", "u")
    ]
    small = np.zeros((2, side, pixels, pixels), "u2")
    first = (Axis("y", "nm", np.arange(2.0), "Length", "spatial"), *axes[1:])
    write_nsid(path, [StoredArray("patterns", "Counts", "", small, first)])
    block = np.random.default_rng(0).integers(0, 2**16, small.shape[1:], "u2")
    with h5py.File(path, "r+") as file:
        found: list[str] = []
        file.visititems(
            lambda name, one: (
                found.append(name)
                if isinstance(one, h5py.Dataset) and one.ndim == 4
                else None
            )
        )
        old = file[found[0]]
        group, name, attributes = old.parent, old.name.split("/")[-1], dict(old.attrs)
        scales = [old.dims[i][0].name for i in range(4)]
        del file[found[0]]
        del file[scales[0]]
        file[scales[0]] = axes[0].values
        file[scales[0]].make_scale("y")
        new = group.create_dataset(name, (scans, *small.shape[1:]), "u2")
        for key, value in attributes.items():
            if key not in ("DIMENSION_LIST", "CLASS", "NAME"):
                new.attrs[key] = value
        for i, scale in enumerate(scales):
            new.dims[i].attach_scale(file[scale])
            new.dims[i].label = "yxvu"[i]
        for k in range(scans):
            new[k] = block + np.uint16(k)
    return StoredArray("patterns", "Counts", "", None, tuple(axes))


def big(gibi: float, folder: Path) -> dict[str, Any]:
    import subprocess
    import sys

    path = folder / "stack.nsid.h5"
    stack(path, gibi)
    command = [sys.executable, "-m", "aemtwin", "serve", str(path), "--truth"]
    command += ["--kind", "stem", "--ideal"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    uri = server.stdout.readline().strip()
    scope = aemtwin.connect(uri)
    (reference,) = scope.recordings()
    before = memory_of(server.pid)[0], memory_of(os.getpid())[0]
    begin, most = time.monotonic(), [0.0, 0.0]
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.1):
            for k, pid in enumerate((server.pid, os.getpid())):
                most[k] = max(most[k], memory_of(pid)[0])

    threading.Thread(target=look, daemon=True).start()
    found = scope.pull(reference, folder / "stack.npy")
    took_s = time.monotonic() - begin
    over.set()
    right = all(
        np.array_equal(found[k, 5], found[0, 5] + np.uint16(k))
        for k in range(0, len(found), max(len(found) // 20, 1))
    )
    scope.close()
    server.terminate()
    server.communicate()
    return {
        "GiB": round(reference.nbytes / GIBI, 2),
        "shape": list(reference.shape),
        "right": right,
        "took_s": round(took_s, 1),
        "GiB/s": round(reference.nbytes / GIBI / took_s, 3),
        "server's own memory, MiB more": round(most[0] - before[0], 1),
        "client's own memory, MiB more": round(most[1] - before[1], 1),
    }


# Who watches


FRAME: dict[str, Any] = {  # of a beam: a line each 8.7 ms
    "shape": (400, 512),
    "dwell_s": 1.5e-5,
    "channels": ["height"],
}


def watch(uri: str, rid: str, count: int, ready: Any, seen: Any) -> None:
    def one() -> None:
        scope = aemtwin.connect(uri)
        for _ in ("connected", "begun"):
            ready.wait()
        lines = [line.seq for line in scope.follow(rid)]
        seen.put(lines == list(range(FRAME["shape"][0])))
        scope.close()

    watching = [threading.Thread(target=one) for _ in range(count)]
    for thread in watching:
        thread.start()
    for thread in watching:
        thread.join()


def stalled(uri: str, where: str, rid: str, ready: Any) -> None:
    """Ask for far more than is ever read, and stop."""
    context = zmq.Context()
    dealer = context.socket(zmq.DEALER)
    dealer.setsockopt(zmq.RCVHWM, 1)
    dealer.connect(where)
    scope = aemtwin.connect(uri)
    for _ in ("connected", "begun"):
        ready.wait()
    next(scope.follow(rid))
    for n in range(10_000):
        said = {"n": n, "rid": "recording/0/stored", "seq": 0, "offset": 0, "size": 240}
        dealer.send(msgpack.packb(said))
    os.kill(os.getpid(), signal.SIGSTOP)


def hold(pipe: Any) -> None:
    """Be the instrument: scan, alone and watched, and tell the rates."""
    twin = Twin(make_sample(small_arrays()), STEM, name="beam", real_time=True)
    with aemtwin.serve(twin, truth=True) as server:
        data = server._offered._endpoints["data"].replace("*", "127.0.0.1")
        pipe.send((server.uri, data))
        while (rid := pipe.recv()) is not None:
            begin = time.monotonic()
            twin.scan(**FRAME, rid=rid)
            pipe.send(FRAME["shape"][0] / (time.monotonic() - begin))
    twin.close()


def watchers(count: int) -> dict[str, Any]:
    here, there = mp.Pipe()
    instrument = mp.Process(target=hold, args=(there,), daemon=True)
    instrument.start()
    uri, data = here.recv()
    assert instrument.pid is not None
    rates: dict[str, list[float]] = {"alone": [], "watched": []}
    seen: Any = mp.Queue()
    before, frozen, right = memory_of(instrument.pid)[0], [], []
    for k in range(6):
        name = "watched" if k % 2 else "alone"
        rid, groups = f"r/{k}/scan", []
        if name == "watched":
            ready = mp.Barrier(count // 2 * 2 + 2)
            args = uri, rid, count // 2, ready, seen
            groups = [mp.Process(target=watch, args=args) for _ in range(2)]
            frozen.append(mp.Process(target=stalled, args=(uri, data, rid, ready)))
            for one in (*groups, frozen[-1]):
                one.start()
            ready.wait()
            here.send(rid)
            time.sleep(0.1)
            ready.wait()
        else:
            here.send(rid)
        rates[name].append(here.recv())
        for one in groups:
            one.join()
            right += [seen.get(timeout=60) for _ in range(count // 2)]
    after = memory_of(instrument.pid)[0]
    for one in frozen:
        one.kill()
    here.send(None)
    instrument.join(10)
    alone, watched = (statistics.median(rates[name]) for name in ("alone", "watched"))
    return {
        "watchers": count,
        "that saw every line, of all": [sum(right), len(right)],
        "lines a second alone": round(alone, 1),
        "lines a second watched": round(watched, 1),
        "ratio": round(watched / alone, 3),
        "instrument's own memory, MiB more": round(after - before, 1),
    }


def trash(count: int) -> dict[str, Any]:
    admitted, heard = curve.Admitted(), []
    one = Bulk(lambda *asked: b"", "127.0.0.1", 0, admitted)
    one._answer = heard.append  # type: ignore[method-assign]
    where = one.endpoint.replace("*", "127.0.0.1")
    before, begin = memory_of(os.getpid())[0], time.monotonic()
    garbage(where, count)
    took_s = time.monotonic() - begin
    after = memory_of(os.getpid())[0]
    del one._answer
    public, secret = curve.new_pair()
    admitted.admit({"subjectAltName": (("URI", curve.KEY + public),)}, "benchmark")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / curve.FILE).write_text(secret)
        link = Link(
            lambda again: (where, admitted.key), folder=Path(folder), timeout_s=10.0
        )
        link.pull("r", 0, Ranges({0: 0}), lambda *came: None)
        link.close()
    one.close()
    return {
        "connections": count,
        "messages that came in": len(heard),
        "memory, MiB more": round(after - before, 1),
        "took_s": round(took_s, 1),
        "who has a key is let in after it": True,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--big", type=float, default=0.0)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--watchers", type=int, default=0)
    parser.add_argument("--garbage", type=int, default=0)
    parser.add_argument("--machine", default="not told")
    parser.add_argument("--out", type=Path)
    said = parser.parse_args()
    told: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": said.machine,
    }
    with tempfile.TemporaryDirectory(dir=said.folder) as scratch:
        if said.big:
            told["a 4D stack"] = big(said.big, Path(scratch))
        elif said.watchers:
            told["watchers"] = watchers(said.watchers)
        elif said.garbage:
            told["garbage"] = trash(said.garbage)
        else:
            told["ways"] = ways(Path(scratch))
    print(json.dumps(told, indent=1))
    if said.out is not None:
        said.out.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
