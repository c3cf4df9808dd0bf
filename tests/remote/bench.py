"""A real instrument as its server sees it: hardware that goes on when the server dies.

`Hardware` is outside the server: it exposes the specimen when it is told to, and counts
how often, by request. `Bench` is the server's side of it.
"""

from __future__ import annotations

import hashlib
import json
import socket
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np

from aemtwin.errors import InstrumentFault
from aemtwin.instruments import planning
from aemtwin.instruments.acting import Acting
from aemtwin.instruments.afm import AFM
from aemtwin.instruments.ledger import Ledger
from aemtwin.instruments.protocol import State
from aemtwin.measurement import Measurement
from aemtwin.specs import Axis, Channel, InstrumentSpec, Mode, Parameter

FIELD = ((0.0, 1e-6), (0.0, 1e-6))


def value_of(rid: str) -> np.ndarray:
    """What the specimen answers to a request: 8 numbers that depend on its id alone."""
    return np.frombuffer(hashlib.sha256(rid.encode()).digest(), "<u4").astype("<f4")


class Hardware:
    """Exposes when told, in `exposure_s`, and remembers every exposure."""

    def __init__(self, exposure_s: float = 0.0) -> None:
        self.exposures: Counter[str] = Counter()
        self._exposure_s = exposure_s
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with sock, sock.makefile("rw") as stream:
            try:
                for line in stream:
                    self.exposures[json.loads(line)] += 1  # it is done, whoever lives
                    time.sleep(self._exposure_s)
                    stream.write("done\n")
                    stream.flush()
            except OSError:
                return


class Bench(Acting):
    """A microscope with one mode; each measurement is an exposure of the hardware."""

    def __init__(self, port: int, ledger: Path | None = None, wire=None) -> None:
        self._sock = None
        if wire is None:
            self._sock = socket.create_connection(("127.0.0.1", port))
            wire = self._sock.makefile("rw")
        self._wire = wire
        axis = Axis("t", "s", np.arange(8.0), "Time", "temporal")
        dwell = Parameter("dwell_s", "s", 1.0, 1e-3, 10.0)
        mode = Mode("glow", "Intensity", "V", "float32", (axis,), dwell, ("glow",))
        height = Channel("height", "Height", "m", "float64", (4, 4), FIELD)
        spec = InstrumentSpec(
            name="bench",
            kind="afm",
            bounds=FIELD,
            channels=(height,),
            modes=(mode,),
            settings=AFM.settings,
            limits=AFM.limits,
            dose_units="s",
            identity={"name": "bench", "kind": "afm", "serial": "0001"},
        )
        super().__init__(spec, Ledger(ledger, spec.identity))
        self._position = np.full(2, 5e-7)
        self._settings = {p.name: p.default for p in AFM.settings}
        self._time_s = 0.0
        self.recover()

    def close(self) -> None:
        self._jobs.close()
        self._ledger.close()
        self._wire.close()
        if self._sock is not None:
            self._sock.close()

    def state(self) -> State:
        doses = [event.get("dose", 0.0) for event in self._ledger.events()]
        return State(
            position=self._position,
            settings=dict(self._settings),
            time_s=self._time_s,
            dose=float(sum(doses)),
            operations=len(self._ledger),
            busy=self._busy,
            last=self._last,
            lease=self._desk.holder,
        )

    def duration(self, operation) -> float:
        return 0.0

    def stop(self) -> State:
        self.stop_waiting()
        return self.state()

    def complete(self, call, given):
        return planning.complete(self._spec, AFM, call, given)

    def dose_of(self, request) -> float:
        return planning.dose_of(AFM, self._settings, request.call, request.arguments)

    def now_s(self) -> float:
        return self._time_s

    def perform(self, request, begin_s):
        if request.call == "move_to":
            self._position = np.array(request.arguments["position"])
            return self._position
        if request.call != "measure":
            raise InstrumentFault(f"The bench has no {request.call}.")
        self._wire.write(json.dumps(request.rid) + "\n")
        self._wire.flush()
        if self._wire.readline() != "done\n":
            raise InstrumentFault("The hardware is gone.")
        self._time_s += request.arguments["dwell_s"]
        mode = self._spec.mode()
        return Measurement(
            call="measure",
            mode=mode.name,
            arrays={"glow": value_of(request.rid)},
            units={"glow": "V"},
            quantities={"glow": "Intensity"},
            axes=mode.axes,
            asked=self._position,
            actual=self._position,
            time_s=(begin_s, self._time_s),
            dwell_s=request.arguments["dwell_s"],
            dose=self.dose_of(request),
            rid=request.rid,
        )

    def left(self, request, begin_s, error):
        return {"dose": self.dose_of(request), "position": self._position.tolist()}
