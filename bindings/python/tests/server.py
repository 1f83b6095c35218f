"""What the tests share: servers, limits, and what a process has."""

import faulthandler
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Callable, List
from urllib.parse import urlencode
from urllib.request import ProxyHandler, build_opener

# The servers of the tests are on this machine, whatever proxy it has.
os.environ["no_proxy"] = os.environ["NO_PROXY"] = "127.0.0.1"

TREE = Path(__file__).resolve().parents[3]
#: How long anything may take on a slow machine before it counts as not happening.
LIMIT = 90.0


class Server:
    """The demo server, or what COMETD_SERVER names, with options."""

    def __init__(self, *options: str) -> None:
        # A test that waits for ever says where, and ends all.
        faulthandler.dump_traceback_later(3 * LIMIT, exit=True)
        demo = [os.environ.get("COMETD_DEMO_SERVER") or str(TREE / "build" / "bin" / "cometd_demo_server")]
        command = shlex.split(os.environ.get("COMETD_SERVER", "")) or [*demo, "--quiet", "--exit-with-stdin"]
        self.process = subprocess.Popen(
            [*command, "--port", "0", *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout
        _, port, control = self.process.stdout.readline().split()
        self.url = f"http://127.0.0.1:{port}/cometd"
        self.control = f"http://127.0.0.1:{control}"

    def ask(self, what: str, **query: object) -> str:
        with build_opener(ProxyHandler({})).open(f"{self.control}/{what}?{urlencode(query)}", timeout=LIMIT) as answer:
            text: str = answer.read().decode()
            return text

    def stop(self) -> None:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.close()
        self.process.wait(LIMIT)
        self.process.stdout.close()


def wait_for(condition: Callable[[], bool]) -> None:
    """Waits for a condition that nothing else tells of."""
    until = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.005)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def library_threads() -> List[str]:
    names = []
    for task in os.listdir("/proc/self/task"):
        try:
            names.append(Path(f"/proc/self/task/{task}/comm").read_text().strip())
        except OSError:
            continue
    return [name for name in names if name.startswith("cometd")]


#: That a step of the loop took long is said of the machine.
QUIET = "import logging; logging.getLogger('asyncio').setLevel(logging.ERROR)\n"


def run_python(program: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """A program in an interpreter of its own, which has to end in time."""
    return subprocess.run(
        [sys.executable, "-X", "dev", "-c", QUIET + program, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        timeout=LIMIT,
    )
