"""Runs one command and writes what all of its processes cost; started as a program of its own, small on purpose.

`python -I -S counted.py FILE COMMAND…`: FILE gets `wall cpu peak`: seconds until the command itself ended, seconds of
user and system time of it and everything that it started, detached work included, and the bytes of the largest process.
A process inherits the peak of whoever started it (getrusage(2)), hence no import that is not needed.
"""

import ctypes
import os
import resource
import sys
import time

PR_SET_CHILD_SUBREAPER = 36


def main(file: str, command: list[str]) -> int:
    # What outlives the command's first process is handed to this one, which waits for it and so knows its times.
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    began = time.perf_counter()
    first = os.posix_spawnp(command[0], command, os.environ)
    status, wall = 0, 0.0
    while True:
        try:
            pid, ended = os.wait()
        except ChildProcessError:
            break
        if pid == first:
            wall, status = time.perf_counter() - began, ended
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    with open(file, "w") as out:  # noqa: PTH123 - pathlib is half of this program's memory
        out.write(f"{wall:.6f} {used.ru_utime + used.ru_stime:.6f} {used.ru_maxrss * 1024}")
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
