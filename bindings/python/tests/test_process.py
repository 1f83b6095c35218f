"""What processes do around a client: they end, fork, and start others."""

import unittest

from server import Server, run_python

ASYNCIO = """
import asyncio, gc, os, sys, cometd
async def main():
    client = cometd.Client(sys.argv[1], on_event=lambda event: None, token_provider=lambda: "Bearer a")
    await client.connect()
    await client.subscribe("/ticks")
    await client.__anext__()
"""

CALLBACK = """
import sys, threading, cometd.sync
came = threading.Event()
def callback(message):
    came.set()
clients = [cometd.sync.Client(sys.argv[1], callback=callback) for _ in range(3)]
for client in clients:
    client.connect()
    client.subscribe("/ticks")
came.wait()
"""


class ProcessTest(unittest.TestCase):
    maxDiff = None

    def ends(self, program: str, status: int = 0, output: str = "") -> None:
        server = Server("--tick-ms", "1")
        self.addCleanup(server.stop)
        done = run_python(program, server.url)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (status, output, ""))

    def test_exit_with_a_client_of_asyncio_alive(self) -> None:
        self.ends(ASYNCIO + "    global kept; kept = client\nasyncio.run(main())")

    def test_exit_while_a_client_is_awaited(self) -> None:
        self.ends(ASYNCIO + "    asyncio.create_task(client.disconnect()); sys.exit(3)\nasyncio.run(main())", 3)

    def test_provider_whose_loop_is_closed_fails_silently(self) -> None:
        self.ends(
            """
import asyncio, sys, cometd
from cometd._cometd import ffi, lib
async def main():
    global client
    client = cometd.Client(sys.argv[1], header_provider=lambda request: {"X-Seen": "1"})
    await client.connect()
asyncio.run(main())
lib.cometd_client_disconnect(client._client, 2000, ffi.NULL)
"""
        )

    def test_exit_while_callbacks_run(self) -> None:
        self.ends(CALLBACK)

    def test_exit_while_a_daemon_thread_iterates(self) -> None:
        self.ends(
            """
import sys, threading, cometd.sync
client = cometd.sync.Client(sys.argv[1])
client.connect()
client.subscribe("/ticks")
came = threading.Event()
threading.Thread(target=lambda: [came.set() for _ in client], daemon=True).start()
came.wait()
"""
        )

    def test_exit_while_a_callback_never_returns(self) -> None:
        self.ends(
            """
import sys, threading, cometd.sync
subscribed, came = threading.Event(), threading.Event()
def callback(message):
    if subscribed.is_set():
        came.set()
        threading.Event().wait()
client = cometd.sync.Client(sys.argv[1], callback=callback)
client.connect()
client.subscribe("/ticks")
subscribed.set()
came.wait()
"""
        )

    def test_exit_while_a_token_provider_waits(self) -> None:
        server = Server("--token", "good")
        self.addCleanup(server.stop)
        program = """
import sys, threading, cometd.sync
asked = threading.Event()
def token():
    asked.set()
    threading.Event().wait()
client = cometd.sync.Client(sys.argv[1], token_provider=token)
threading.Thread(target=client.connect, daemon=True).start()
asked.wait()
"""
        done = run_python(program, server.url)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))

    def test_fork_leaves_the_parent_its_client(self) -> None:
        self.ends(
            ASYNCIO
            + """
    child = os.fork()
    if child == 0:
        try:
            client.publish("/a", 1)
        except cometd.Error as error:
            assert error.status == cometd.Status.FORKED
        assert client.state == cometd.State.CLOSED
        client.close()
        del client
        gc.collect()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    for _ in range(5):
        await client.__anext__()
    await client.publish("/a", 1)
    await client.disconnect()
asyncio.run(main())
"""
        )

    def test_child_of_a_fork_has_clients_of_its_own(self) -> None:
        self.ends(
            """
import os, sys, cometd.sync
parent = cometd.sync.Client(sys.argv[1])
parent.connect()
child = os.fork()
with cometd.sync.Client(sys.argv[1]) as client:
    client.subscribe("/ticks")
    assert client.get()
if child:
    assert os.waitpid(child, 0)[1] == 0
    parent.disconnect()
"""
        )

    def test_multiprocessing(self) -> None:
        for method in ("spawn", "fork"):
            with self.subTest(method):
                self.ends(
                    f"""
import multiprocessing, sys
sys.path.insert(0, {str(__file__).rpartition("/")[0]!r})
import cometd.sync, work
client = cometd.sync.Client(sys.argv[1], callback=lambda message: None)
client.connect()
client.subscribe("/ticks")
context = multiprocessing.get_context({method!r})
with context.Pool(2) as pool:
    print(pool.map(work.one_tick, [sys.argv[1]] * 4))
""",
                    output="['/ticks', '/ticks', '/ticks', '/ticks']\n",
                )

    def test_ctrl_c_ends_a_wait(self) -> None:
        self.ends(
            """
import signal, sys, threading, os, cometd.sync
client = cometd.sync.Client(sys.argv[1])
client.connect()
threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    client.get()
except KeyboardInterrupt:
    print("interrupted")
client.publish("/a", 1)
""",
            output="interrupted\n",
        )


if __name__ == "__main__":
    unittest.main()
