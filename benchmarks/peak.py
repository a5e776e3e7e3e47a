"""The most memory that one way of ingesting takes, in a process that has imported that way and nothing else.

Here belongs what runs in such a process, so that this module must not import either way for itself. Not here: what is
compared (`memory`).
"""

from __future__ import annotations

import multiprocessing
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks.object_server import Server
from benchmarks.result import CannotMeasure


def peak(way: str, server: Server, conninfo: str, bucket: str, catalogs: list[str]) -> int:
    """The largest resident size, in bytes, of a process that ingests the catalogs.

    Args:
        way: `today` or `ours`, a module of this package with a function `ingest`; ours finds the catalogs itself.
        server: where the bucket is.
        conninfo: the URL of the database.
        bucket: the bucket.
        catalogs: the keys of the jobs' catalogs.

    Raises:
        CannotMeasure: the process failed.
    """
    # Not forked: a child would begin with the memory of this process.
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_ingest, args=(way, server, conninfo, bucket, catalogs, there))
    process.start()
    there.close()
    try:
        largest: int = here.recv()
    except EOFError as error:
        raise CannotMeasure(f"Ingesting ended before it was done ({way}); its error stands above.") from error
    finally:
        process.join()
        here.close()
    return largest


def _ingest(way: str, server: Server, conninfo: str, bucket: str, catalogs: list[str], told: Connection) -> None:
    ingest = import_module(f"benchmarks.{way}").ingest
    if way == "today":
        ingest(server.endpoint, bucket, catalogs, conninfo, transform_hrefs=False)
    else:
        ingest(server, conninfo)
    told.send(_largest_size())


def _largest_size() -> int:
    """Of this process so far, in bytes.

    Not `ru_maxrss`, which on Linux begins with that of the process that started this one.
    """
    try:
        status = Path("/proc/self/status").read_text()
    except OSError as error:
        raise CannotMeasure("Only Linux tells the largest size of a process.") from error
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024
