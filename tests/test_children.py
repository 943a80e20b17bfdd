"""Nothing that a test has started outlives it: killed, interrupted, or done."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
#: Starts a child that starts another, which writes down who it is, and waits for both.
PARENT = """\
import os, signal, sys
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored below a shell that runs the tests behind &
sys.path.insert(0, {tests!r})
import children, subprocess, time
def is_over(self, input=None, timeout=None):  # once all have started, however busy this machine is
    while not (os.path.exists({said!r}) and open({said!r}).read()):
        time.sleep(0.02)
    raise subprocess.TimeoutExpired(self.args, timeout)
if {is_over}:
    subprocess.Popen.communicate = is_over
inner = "import os, time; open({said!r}, 'w').write(str(os.getpid())); time.sleep(2000)"
outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {{inner!r}}])"
children.run([sys.executable, "-c", outer], cwd=Path("."), env=os.environ, timeout=2000)
"""


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM, None])
def test_what_a_child_started_ends_with_whoever_started_it(
    how: signal.Signals | None, tmp_path: Path
) -> None:
    """None: the time of the child is over."""
    said = tmp_path / "said"
    code = PARENT.format(tests=str(TESTS), said=str(said), is_over=how is None)
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL) as parent:
        until = time.monotonic() + 600
        while not (said.exists() and said.read_text()) and time.monotonic() < until:
            time.sleep(0.05)
        pid = int(said.read_text())
        if how is not None:
            assert is_there(pid)
            parent.send_signal(how)
        parent.wait(600)
    until = time.monotonic() + 600
    while is_there(pid) and time.monotonic() < until:
        time.sleep(0.05)
    assert not is_there(pid)
