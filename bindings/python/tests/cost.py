"""CPU time of an event, of this package beside aiocometd-ng, in the same rounds: µs of the whole process.

"library" is the part of cometd's that is not of the interpreter's thread.
"""

import asyncio
import http.client
import logging
import resource
import subprocess
import sys
import time
from importlib import import_module
from statistics import median
from typing import Any, Callable, Dict, List, Tuple
from urllib.parse import urlsplit

import cometd
import cometd.sync
from server import Server

ROUNDS = 3
#: Events in a response, and how many responses.
SHAPES = ((1, 1000), (10, 300), (100, 100))
SIZE = 100 - len('{"n":1,"pad":""}')


def publish(control: str, events: str) -> None:
    """A process of its own: publishes a response for each line that it reads."""
    connection = http.client.HTTPConnection(urlsplit(control).netloc)
    for _ in sys.stdin:
        connection.request("GET", f"/publish?channel=/a&count={events}&size={SIZE}")
        connection.getresponse().read()


def cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


class Load:
    def __init__(self, server: Server, events: int, responses: int) -> None:
        self.events, self.total = events, events * responses
        command = [sys.executable, __file__, server.control, str(events)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, text=True, bufsize=1)
        self.got = 0
        self.begun = self.begun_here = 0.0
        #: What the asking itself takes, which is not counted.
        self.asking = 0.0
        #: What other threads than this one have taken.
        self.elsewhere = 0.0

    def start(self) -> None:
        self.begun, self.begun_here = cpu(), time.thread_time()
        self.next()

    def next(self) -> None:
        assert self.process.stdin
        before = time.thread_time()
        self.process.stdin.write("\n")
        self.asking += time.thread_time() - before

    def count(self, data: Dict[str, Any]) -> bool:
        """Whether that was the last."""
        assert len(data["pad"]) == SIZE
        self.got += 1
        if self.got == self.total:
            return True
        if self.got % self.events == 0:
            self.next()
        return False

    def stop(self) -> float:
        here = (time.thread_time() - self.begun_here - self.asking) / self.total * 1e6
        cost = (cpu() - self.begun - self.asking) / self.total * 1e6
        self.elsewhere = max(0.0, cost - here)
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()
        return cost


async def ours(url: str, load: Load) -> float:
    async with cometd.Client(url) as client:
        await client.subscribe("/a")
        load.start()
        async for message in client:
            if load.count(message.data):
                break
        return load.stop()


def ours_sync(url: str, load: Load) -> float:
    with cometd.sync.Client(url) as client:
        client.subscribe("/a")
        load.start()
        for message in client:
            if load.count(message.data):
                break
        return load.stop()


async def theirs(url: str, load: Load) -> float:
    # It says of none of its names that it exports them.
    aiocometd_ng: Any = import_module("aiocometd_ng")
    async with aiocometd_ng.Client(url, aiocometd_ng.ConnectionType.LONG_POLLING) as client:
        await client.subscribe("/a")
        load.start()
        async for message in client:
            if load.count(message["data"]):
                break
        return load.stop()


def main() -> None:
    # What aiocometd-ng leaves behind when it is closed.
    logging.disable()
    clients: Tuple[Tuple[str, Callable[[str, Load], float]], ...] = (
        ("cometd", lambda url, load: asyncio.run(ours(url, load))),
        ("cometd.sync", ours_sync),
        ("aiocometd-ng", lambda url, load: asyncio.run(theirs(url, load))),
    )
    print(f"{'events':>6} " + " ".join(f"{name:>12}" for name, _ in clients) + f" {'ratio':>6} {'library':>8}")
    for events, responses in SHAPES:
        costs: Dict[str, List[float]] = {name: [] for name, _ in clients}
        library: List[float] = []
        for _ in range(ROUNDS):
            for name, run in clients:
                server = Server("--tick-ms", "0")
                load = Load(server, events, responses)
                costs[name].append(run(server.url, load))
                if name == "cometd":
                    library.append(load.elsewhere)
                server.stop()
        middle = [median(costs[name]) for name, _ in clients]
        row = " ".join(f"{it:>12.1f}" for it in middle)
        print(f"{events:>6} {row} {middle[0] / middle[2]:>6.2f} {median(library):>8.1f}")


if __name__ == "__main__":
    publish(*sys.argv[1:]) if len(sys.argv) > 1 else main()
