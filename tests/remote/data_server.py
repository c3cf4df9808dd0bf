"""A data channel in a process of its own, to be killed: PORT FOLDER."""

from __future__ import annotations

import sys
from pathlib import Path

from aemtwin.instruments.store import Store
from aemtwin.remote.bulk import Bulk

if __name__ == "__main__":
    store = Store(Path(sys.argv[2]))
    bulk = Bulk(store.read, "127.0.0.1", int(sys.argv[1]))
    sys.stdout.write(bulk.endpoint + "\n")
    sys.stdout.flush()
    sys.stdin.read()
    bulk.close()
