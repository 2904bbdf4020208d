"""Keeps one child alive exactly as long as the process that started this keeper.

    keeper.py LOG_FILE COMMAND [ARGUMENT...]

The child gets a session of its own, so that ministack and every function process it starts form one group. The keeper
reads its standard input, a pipe whose other end only the starter holds: when the starter ends, however it ends (Ctrl-C,
a panic, SIGKILL), the pipe closes and the whole group is ended. When the child ends by itself, so does the keeper, with
the child's exit status.
"""

import os
import signal
import subprocess
import sys
import threading
import time

PATIENCE_SECONDS = 2.0


def signal_group(group: int, number: int) -> bool:
    """Signal the whole group; False when nothing of it is left."""
    try:
        os.killpg(group, number)
        return True
    except (ProcessLookupError, PermissionError):
        return False


def end(child: subprocess.Popen) -> None:
    signal_group(child.pid, signal.SIGTERM)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        child.poll()
        if not signal_group(child.pid, 0):
            return
        time.sleep(0.02)
    signal_group(child.pid, signal.SIGKILL)
    child.wait()


def main() -> int:
    log_path, command = sys.argv[1], sys.argv[2:]
    # A Ctrl-C in the terminal reaches the keeper too; its starter decides when it is over.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with open(log_path, "ab", buffering=0) as log:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )

    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    signal.signal(signal.SIGHUP, lambda *_: over.set())

    def wait_for_starter() -> None:
        while sys.stdin.buffer.read(4096):
            pass
        over.set()

    threading.Thread(target=wait_for_starter, daemon=True).start()
    while not over.wait(0.1):
        status = child.poll()
        if status is not None:
            # Function processes may outlive a crashed ministack; they go as well.
            signal_group(child.pid, signal.SIGKILL)
            return status if status >= 0 else 128 - status
    end(child)
    return 0


if __name__ == "__main__":
    # The reading thread may be blocked in a read for good, so leave without joining it.
    os._exit(main())
