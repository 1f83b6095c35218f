"""The client of scripts, against a server."""

import gc
import threading
import unittest
from typing import Any, Iterator, List

import cometd
import cometd.sync
from server import LIMIT, Server, descriptors, library_threads, wait_for

BACKOFF: Any = {"backoff_ms": (10, 100)}


class SyncTest(unittest.TestCase):
    def server(self, *options: str) -> Server:
        server = Server(*options)
        self.addCleanup(server.stop)
        return server

    def test_ten_thousand_events_come_in_order(self) -> None:
        server = self.server()
        with cometd.sync.Client(server.url, **BACKOFF) as client:
            client.subscribe("/many")
            server.ask("publish", channel="/many", count=10000, size=100)
            numbers = [message.data["n"] for _, message in zip(range(10000), client)]
            self.assertEqual(numbers, list(range(10000)))

    def test_ten_thousand_events_come_in_order_by_callback(self) -> None:
        server = self.server()
        numbers: List[int] = []
        with cometd.sync.Client(server.url, callback=lambda it: numbers.append(it.data["n"]), **BACKOFF) as client:
            client.subscribe("/many")
            server.ask("publish", channel="/many", count=10000, size=100)
            wait_for(lambda: len(numbers) == 10000)
            self.assertEqual(numbers, list(range(10000)))
            with self.assertRaises(cometd.Error):
                client.get()

    def test_outcomes(self) -> None:
        server = self.server()
        with cometd.sync.Client(server.url, **BACKOFF) as client:
            client.subscribe("/a")
            client.publish("/a", {"b": 1})
            self.assertEqual([message.data for _, message in zip(range(1), client)], [{"b": 1}])
            client.unsubscribe("/a")
            self.assertEqual(client.remote_call("/service/echo", 7).data, 7)
            with self.assertRaises(cometd.Error) as caught:
                client.subscribe("/denied/x")
            self.assertEqual(caught.exception.channel, "/denied/x")
            self.assertIsNone(client.get(timeout=0))
            client.disconnect()
            self.assertEqual(list(client), [])
        self.assertEqual(server.ask("sessions"), "0")

    def test_threads_share_a_client(self) -> None:
        server = self.server()
        with cometd.sync.Client(server.url, **BACKOFF) as client:
            client.subscribe("/a")

            def publish(who: int) -> None:
                for n in range(50):
                    client.publish("/a", [who, n])

            threads = [threading.Thread(target=publish, args=(who,)) for who in range(4)]
            for thread in threads:
                thread.start()
            got = [message.data for _, message in zip(range(200), client)]
            for thread in threads:
                thread.join(LIMIT)
            for who in range(4):
                self.assertEqual([n for it, n in got if it == who], list(range(50)))

    def test_close_ends_a_wait_in_another_thread(self) -> None:
        server = self.server()
        client = cometd.sync.Client(server.url, **BACKOFF)
        client.connect()
        ended: List[List[cometd.Message]] = []
        thread = threading.Thread(target=lambda: ended.append(list(client)))
        thread.start()
        wait_for(lambda: client._is_read)
        client.close()
        thread.join(LIMIT)
        self.assertEqual(ended, [[]])

    def test_token_provider_may_wait(self) -> None:
        server = self.server("--token", "good")
        waited = threading.Event()

        def token() -> str:
            waited.wait(LIMIT)
            return "Bearer good"

        timer = threading.Timer(0.05, waited.set)
        timer.start()
        with cometd.sync.Client(server.url, bearer_token="old", token_provider=token, **BACKOFF) as client:
            self.assertEqual(client.state, cometd.State.CONNECTED)
        timer.join()

    def test_exceptions_of_the_program_are_logged(self) -> None:
        server = self.server("--token", "good")

        def token() -> str:
            raise ValueError("no window")

        events: List[cometd.Event] = []
        with self.assertLogs("cometd") as logged, self.assertRaises(cometd.Error):
            cometd.sync.Client(server.url, token_provider=token, on_event=events.append, **BACKOFF).connect()
        self.assertIn("ValueError: no window", str([event.error for event in events]))
        self.assertIn("token_provider has failed", logged.output[0])

        server = self.server()
        got: List[int] = []

        def callback(message: cometd.Message) -> None:
            got.append(message.data)
            client.publish("/b", 1)

        with self.assertLogs("cometd") as logged:
            with cometd.sync.Client(server.url, callback=callback, **BACKOFF) as client:
                client.subscribe("/a")
                client.publish("/a", 1)
                client.publish("/a", 2)
                wait_for(lambda: got == [1, 2])
        # A callback cannot wait for its own thread.
        statuses = [it.exc_info[1].status for it in logged.records]  # type: ignore[index,union-attr]
        self.assertEqual(statuses, [cometd.Status.WOULD_DEADLOCK] * 2)

    def test_clients_that_nobody_closed_are_collected(self) -> None:
        server = self.server()
        before = descriptors()

        def use() -> Iterator[None]:
            for number in range(10):
                client = cometd.sync.Client(server.url, callback=print if number % 2 else None, **BACKOFF)
                client.connect()
                yield

        for _ in use():
            self.assertTrue(library_threads())
        gc.collect()
        wait_for(lambda: descriptors() == before and not library_threads())

    def test_connect_has_a_limit(self) -> None:
        server = self.server()
        server.ask("fail", status=503, count=1000000)
        client = cometd.sync.Client(server.url, **BACKOFF)
        with self.assertRaises(cometd.Error) as caught:
            client.connect(timeout=0.05)
        self.assertEqual(caught.exception.status, cometd.Status.TIMEOUT)
        client.close()


if __name__ == "__main__":
    unittest.main()
