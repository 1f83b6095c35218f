"""Functions of the program's, and what both clients have besides messages and calls."""

import asyncio
import gc
import logging
import signal
import threading
import unittest
import unittest.mock
import weakref
from typing import Any, Dict, List, Optional

import cometd
import cometd.sync
from server import LIMIT, Server, library_threads, run_python, wait_for

BACKOFF: Any = {"backoff_ms": (10, 100)}


class Noting(cometd.Extension):
    """Notes what it sees, and changes messages of /a."""

    def __init__(self) -> None:
        self.sent: List[str] = []

    def outgoing(self, message: Dict[str, Any]) -> Optional[Dict[str, Any]]:
        self.sent.append(message["channel"])
        if message["channel"] == "/secret":
            return None
        if message["channel"] == "/a":
            message["data"] = {"sent": message["data"]}
        return message

    def incoming(self, message: Dict[str, Any]) -> Optional[Dict[str, Any]]:
        if message["channel"] == "/a" and "data" in message:
            return {**message, "data": [message["data"]]}
        return message


class Failing(cometd.Extension):
    def incoming(self, message: Dict[str, Any]) -> Optional[Dict[str, Any]]:
        raise ValueError("no memory")


class Exiting(cometd.Extension):
    def outgoing(self, message: Dict[str, Any]) -> Optional[Dict[str, Any]]:
        raise SystemExit("not this time")


class FunctionsTest(unittest.TestCase):
    def server(self, *options: str) -> Server:
        server = Server(*options)
        self.addCleanup(server.stop)
        return server

    def test_handshake_provider_answers_a_challenge_later(self) -> None:
        async def main(server: Server) -> None:
            asked: List[cometd.Handshake] = []

            async def answer(handshake: cometd.Handshake) -> Optional[Dict[str, Any]]:
                asked.append(handshake)
                await asyncio.sleep(0)
                if handshake.refusal is None:
                    return None
                challenge = handshake.refusal["ext"]["authentication"]["challenge"]
                return {"ext": {"authentication": {"answer": f"{challenge}:secret"}}}

            async with cometd.Client(server.url, handshake_provider=answer, **BACKOFF) as client:
                self.assertEqual(client.state, cometd.State.CONNECTED)
            self.assertEqual([it.attempt for it in asked], [1, 2])

        asyncio.run(asyncio.wait_for(main(self.server("--challenge", "secret")), LIMIT))

    def test_header_provider_sees_each_request(self) -> None:
        server = self.server("--token", "good")
        requests: List[cometd.Request] = []

        def sign(request: cometd.Request) -> Dict[str, str]:
            requests.append(request)
            return {"Authorization": "Bearer good"}

        with cometd.sync.Client(server.url, header_provider=sign, **BACKOFF) as client:
            client.publish("/a", 1)
        phases = [request.phase for request in requests]
        self.assertEqual(phases[0], cometd.Phase.HANDSHAKE)
        self.assertIn(cometd.Phase.PUBLISH, phases)
        self.assertEqual(requests[0].method, "POST")
        self.assertTrue(requests[0].url.startswith(server.url))
        self.assertIn(b"/meta/handshake", requests[0].body)

    def test_providers_that_raise_are_told(self) -> None:
        def fail(_: Any) -> Any:
            raise ValueError("no window")

        providers: Any = ({"handshake_provider": fail}, {"header_provider": fail})
        for provider in providers:
            server = self.server()
            with self.assertLogs("cometd") as logged:
                client = cometd.sync.Client(server.url, **provider, **BACKOFF)
                with self.assertRaises(cometd.Error):
                    client.connect(timeout=0.3)
                error = client.last_error
                assert error
                self.assertIn("ValueError: no window", str(error))
                client.close()
            self.assertIn(f"{next(iter(provider))} has failed", logged.output[0])

            async def main(url: str) -> None:
                told: List[Any] = []
                asyncio.get_running_loop().set_exception_handler(lambda _, it: told.append(it["message"]))
                client = cometd.Client(url, **provider, **BACKOFF)
                connecting = asyncio.ensure_future(client.connect())
                while not told:
                    await asyncio.sleep(0.005)
                client.close()
                with self.assertRaises(cometd.Error):
                    await connecting
                self.assertEqual(told[0], f"{next(iter(provider))} has failed")

            asyncio.run(asyncio.wait_for(main(server.url), LIMIT))

    def test_extensions_change_and_drop_messages(self) -> None:
        server = self.server()
        extension = Noting()
        with cometd.sync.Client(server.url, extensions=[extension], **BACKOFF) as client:
            client.subscribe("/a")
            client.publish("/a", 1)
            self.assertEqual(client.get().data, [{"sent": 1}])  # type: ignore[union-attr]
            with self.assertRaises(cometd.Error) as caught:
                client.publish("/secret", 1)
            self.assertEqual(caught.exception.status, cometd.Status.MESSAGE_DELETED)
        self.assertEqual(extension.sent[0], "/meta/handshake")

    def test_extension_that_raises_does_no_harm(self) -> None:
        server = self.server()
        with self.assertLogs("cometd") as logged:
            with cometd.sync.Client(server.url, extensions=[Failing(), Exiting()], **BACKOFF) as client:
                client.subscribe("/a")
                client.publish("/a", 1)
                self.assertEqual(client.get().data, 1)  # type: ignore[union-attr]
                self.assertGreater(client.statistics()["failures"]["extension"], 0)
        output = "\n".join(logged.output)
        for text in ("Failing.incoming has failed", "no memory", "Exiting.outgoing has failed", "not this time"):
            self.assertIn(text, output)

    def test_what_functions_hold_is_given_back(self) -> None:
        server = self.server()
        extension = Noting()
        kept = weakref.ref(extension)
        client = cometd.sync.Client(server.url, extensions=[extension], token_provider=lambda: "Bearer a", **BACKOFF)
        client.connect()
        client.close()
        del extension, client

        def is_gone() -> bool:
            gc.collect()
            return kept() is None

        wait_for(is_gone)

    def test_provider_that_exits_has_failed(self) -> None:
        server = self.server()
        program = """
import sys, cometd.sync
asked = []
def provider(handshake):
    asked.append(1)
    if len(asked) == 1:
        sys.exit("not this time")
events = []
client = cometd.sync.Client(sys.argv[1], handshake_provider=provider, on_event=events.append, backoff_ms=(10, 100))
client.connect()
assert "SystemExit: not this time" in str(events), events
"""
        done = run_python(program, server.url)
        self.assertEqual((done.returncode, done.stdout), (0, ""), done.stderr)
        self.assertIn("handshake_provider has failed", done.stderr)
        self.assertNotIn("cffi", done.stderr)

    def test_functions_that_refer_to_their_client_do_not_keep_it(self) -> None:
        server = self.server()

        class Slim(cometd.Extension):
            __slots__ = ("client",)
            client: cometd.sync.Client

        class Store:
            client: cometd.sync.Client

            def load(self, channel: str) -> Optional[int]:
                return None

            def save(self, channel: str, position: int) -> None:
                return None

        def use() -> "weakref.ref[cometd.sync.Client]":
            extension, store = Slim(), Store()

            def token() -> str:
                return client.name

            client = cometd.sync.Client(
                server.url, extensions=[extension], replay_store=store, token_provider=token, **BACKOFF
            )
            extension.client = store.client = client
            client.connect()
            client.subscribe("/event/a")
            return weakref.ref(client)

        client = use()

        def is_gone() -> bool:
            gc.collect()
            return client() is None and not library_threads()

        wait_for(is_gone)

    def test_batch_is_one_request(self) -> None:
        server = self.server()
        extension = Noting()
        requests: List[bytes] = []

        def note(request: cometd.Request) -> None:
            requests.append(request.body)

        with cometd.sync.Client(server.url, extensions=[extension], header_provider=note, **BACKOFF) as client:
            client.subscribe("/b")
            del requests[:]
            with client.batch():
                for number in range(10):
                    client.publish("/b", number)
                with self.assertRaises(cometd.Error):
                    client.remote_call("/service/echo", 1)
            self.assertEqual([it.count(b'"/b"') for it in requests if b'"/b"' in it], [10])
            with self.assertRaises(cometd.Error) as caught, client.batch():
                client.publish("/denied/x", 1)
                client.publish("/b", 1)
            self.assertEqual(caught.exception.channel, "/denied/x")
            client.publish("/b", 1)

    def test_flush(self) -> None:
        async def main(server: Server) -> None:
            async with cometd.Client(server.url, **BACKOFF) as client:
                with client.batch():
                    calls = [client.publish("/b", number) for number in range(10)]
                await client.flush()
                self.assertTrue(all(call.done() for call in calls))
                failed = client.publish("/denied/x", 1)
                with self.assertRaises(cometd.Error) as caught:
                    await client.flush()
                self.assertEqual(caught.exception.status, cometd.Status.UNDELIVERED)
                self.assertIsInstance(failed.exception(), cometd.Error)
                await client.flush()

        server = self.server()
        asyncio.run(asyncio.wait_for(main(server), LIMIT))
        with cometd.sync.Client(server.url, **BACKOFF) as client:
            client.publish("/b", 1)
            client.flush()

    def test_server_that_says_nothing_holds_up_no_end(self) -> None:
        async def main(server: Server) -> None:
            client = cometd.Client(server.url, **BACKOFF)
            await client.connect()
            server.process.send_signal(signal.SIGSTOP)
            try:
                call = client.publish("/b", 1)
                with self.assertRaises(cometd.Error) as caught:
                    await client.flush(timeout=0.05)
                self.assertEqual(caught.exception.status, cometd.Status.TIMEOUT)
                with self.assertRaises(cometd.Error) as caught:
                    await client.disconnect(timeout=0.05)
                self.assertEqual(caught.exception.phase, cometd.Phase.DISCONNECT)
                self.assertEqual(client.state, cometd.State.CLOSED)
                self.assertIsInstance(call.exception(), cometd.Error)
            finally:
                server.process.send_signal(signal.SIGCONT)

        asyncio.run(asyncio.wait_for(main(self.server()), LIMIT))

        server = self.server()
        client = cometd.sync.Client(server.url, **BACKOFF)
        client.connect()
        server.process.send_signal(signal.SIGSTOP)
        try:
            with self.assertRaises(cometd.Error) as caught:
                client.disconnect(timeout=0.05)
        finally:
            server.process.send_signal(signal.SIGCONT)
        self.assertEqual(caught.exception.status, cometd.Status.TIMEOUT)
        self.assertEqual(client.state, cometd.State.CLOSED)
        client.close()

    def test_channels_have_iterations_of_their_own(self) -> None:
        async def main(server: Server) -> None:
            async with cometd.Client(server.url, **BACKOFF) as client:
                await client.subscribe("/**")
                with client.messages("/a/*") as own:
                    with client.batch():
                        for channel in ("/a/1", "/b", "/a/2", "/a/3"):
                            client.publish(channel, channel)
                    self.assertEqual((await own.__anext__()).data, "/a/1")
                    self.assertEqual((await client.__anext__()).data, "/b")
                    self.assertEqual((await own.__anext__()).data, "/a/2")
                    await client.flush()
                self.assertEqual((await client.__anext__()).data, "/a/3")
                with self.assertRaises(StopAsyncIteration):
                    await own.__anext__()
                with self.assertRaises(cometd.Error):
                    client.messages("no channel")

        server = self.server()
        asyncio.run(asyncio.wait_for(main(server), LIMIT))
        with cometd.sync.Client(server.url, **BACKOFF) as client:
            client.subscribe("/**")
            own = client.messages("/a/**")
            for channel in ("/a/1", "/b", "/a/2"):
                client.publish(channel, channel)
            self.assertEqual([next(own).data, next(own).data], ["/a/1", "/a/2"])
            self.assertEqual(client.get().data, "/b")  # type: ignore[union-attr]

    def test_closed_stream_ends_who_waits_for_it(self) -> None:
        async def main(url: str) -> None:
            async with cometd.Client(url, **BACKOFF) as client:
                own = client.messages("/a/*")
                waiting = asyncio.ensure_future(own.__anext__())
                await asyncio.sleep(0)
                own.close()
                with self.assertRaises(StopAsyncIteration):
                    await asyncio.wait_for(waiting, LIMIT / 2)

        asyncio.run(main(self.server().url))

    def test_one_of_two_equal_streams_is_closed(self) -> None:
        async def main(url: str) -> None:
            async with cometd.Client(url, **BACKOFF) as client:
                await client.subscribe("/a/*")
                one, two = client.messages("/a/*"), client.messages("/a/*")
                two.close()
                await client.publish("/a/1", 1)
                self.assertEqual((await asyncio.wait_for(one.__anext__(), LIMIT / 2)).data, 1)

        asyncio.run(main(self.server().url))

    def test_forgotten_stream_gives_its_channels_back(self) -> None:
        async def main(url: str) -> None:
            async with cometd.Client(url, **BACKOFF) as client:
                await client.subscribe("/a/*")
                client.publish("/a/1", 1)
                client.publish("/a/1", 2)
                async for message in client.messages("/a/*"):
                    self.assertEqual(message.data, 1)
                    break
                gc.collect()
                self.assertEqual((await client.__anext__()).data, 2)
                await client.publish("/a/1", 3)
                self.assertEqual((await client.__anext__()).data, 3)

        server = self.server()
        asyncio.run(asyncio.wait_for(main(server.url), LIMIT))
        with cometd.sync.Client(server.url, **BACKOFF) as client:
            client.subscribe("/a/*")
            client.messages("/a/*")
            gc.collect()
            client.publish("/a/1", 1)
            message = client.get(LIMIT)
            self.assertEqual(message and message.data, 1)

    def test_text_with_a_nul_is_refused(self) -> None:
        with self.assertRaises(ValueError):
            cometd.sync.Client("http://127.0.0.1/cometd", header="X: a\0b")
        with cometd.sync.Client(self.server().url, **BACKOFF) as client:
            for call in (client.subscribe, client.set_authorization):
                with self.assertRaises(ValueError):
                    call("/a\0b")

    def test_binary_messages(self) -> None:
        server = self.server()
        with cometd.sync.Client(server.url, **BACKOFF) as client:
            client.subscribe("/a")
            client.publish_binary("/a", b"\0\1\2", is_last=False, meta={"name": "x"})
            message = client.get()
            assert message
            self.assertEqual((message.binary, message.is_last), (b"\0\1\2", False))
            self.assertEqual(message.binary_meta, {"name": "x"})

    def test_publish_with_attempts(self) -> None:
        server = self.server()
        with cometd.sync.Client(server.url, **BACKOFF) as client:
            server.ask("fail", status=503, count=2, on="/a")
            client.publish("/a", 1, attempts=5)

    def test_live_client_has_another_authorization(self) -> None:
        server = self.server("--token", "good")
        client = cometd.sync.Client(server.url, bearer_token="old", await_credentials=True, **BACKOFF)
        with self.assertRaises(cometd.Error):
            client.connect(timeout=0.1)
        assert client.last_error
        self.assertEqual(client.last_error.status, cometd.Status.REFUSED)
        client.set_authorization("Bearer good")
        client._wait(lambda: client.state == cometd.State.CONNECTED, None)
        self.assertIsNone(client.last_error)
        client.close()

    def test_patterns(self) -> None:
        self.assertTrue(cometd.channel_matches("/a/*", "/a/b"))
        self.assertFalse(cometd.channel_matches("/a/*", "/a/b/c"))


class LogTest(unittest.TestCase):
    def test_log_is_that_of_python(self) -> None:
        server = Server()
        self.addCleanup(server.stop)
        with self.assertLogs("cometd", cometd.TRACE) as logged:
            cometd.log_to(logging.getLogger("cometd"), logging.DEBUG)
            try:
                with cometd.sync.Client(server.url, name="the one", **BACKOFF) as client:
                    client.publish("/a", 1)
            finally:
                cometd.log_to(None)
        self.assertTrue(any("the one" in line for line in logged.output), logged.output)
        self.assertLessEqual({"INFO", "DEBUG"}, {record.levelname for record in logged.records})
        count = len(logged.records)
        with cometd.sync.Client(server.url, **BACKOFF):
            pass
        self.assertEqual(len(logged.records), count)

    def test_lines_that_no_handler_takes_are_bounded_and_counted(self) -> None:
        server = Server("--tick-ms", "1")
        self.addCleanup(server.stop)
        goes_on = threading.Event()
        lines: List[str] = []

        class Slow(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                goes_on.wait(LIMIT)
                lines.append(record.getMessage())

        logger = logging.getLogger("cometd_slow")
        logger.propagate = False
        logger.setLevel(1)
        logger.addHandler(Slow())
        with unittest.mock.patch("cometd.logs._MOST", 5):
            cometd.log_to(logger, cometd.TRACE)
            try:
                with cometd.sync.Client(server.url, **BACKOFF) as client:
                    client.subscribe("/ticks")
                    for _ in range(100):
                        client.get()
                    sink = cometd.logs._sink
                    assert sink
                    wait_for(lambda: sink.lost > 0)
                    self.assertLessEqual(sink.lines.qsize(), 5)
                    goes_on.set()
                    wait_for(lambda: any("lines were lost" in line for line in lines))
            finally:
                goes_on.set()
                cometd.log_to(None)

    def test_handler_that_raises_and_exit_with_clients_alive(self) -> None:
        server = Server("--tick-ms", "1")
        self.addCleanup(server.stop)
        program = """
import logging, os, sys, cometd, cometd.sync
class Broken(logging.Handler):
    def emit(self, record):
        raise ValueError("no pipe")
logger = logging.getLogger("cometd")
logger.propagate = False
logger.setLevel(1)
logger.addHandler(Broken())
cometd.log_to(logger, cometd.TRACE, bodies=True)
client = cometd.sync.Client(sys.argv[1])
client.connect()
client.subscribe("/ticks")
child = os.fork()
if child:
    assert os.waitpid(child, 0)[1] == 0
    for _ in range(5):
        client.get()
else:
    client = cometd.sync.Client(sys.argv[1])
    client.connect()
"""
        done = run_python(program, server.url)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))


if __name__ == "__main__":
    unittest.main()
