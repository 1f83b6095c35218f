"""Replay positions, and sessions, that outlive a client."""

import asyncio
import json
import tempfile
import threading
import unittest
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import cometd
import cometd.sync
from server import Server, wait_for

BACKOFF: Any = {"backoff_ms": (10, 100)}


class Store:
    def __init__(self, position: Optional[int] = None) -> None:
        self.positions: Dict[str, int] = {} if position is None else {"/event/a": position}
        self.saved: List[Tuple[str, int]] = []

    def load(self, channel: str) -> Optional[int]:
        return self.positions.get(channel)

    def save(self, channel: str, position: int) -> None:
        self.saved.append((channel, position))
        self.positions[channel] = position


class RestartTest(unittest.TestCase):
    def server(self, *options: str) -> Server:
        server = Server(*options)
        self.addCleanup(server.stop)
        return server

    def test_file_has_what_the_program_was_done_with(self) -> None:
        server = self.server()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        path = Path(folder.name) / "positions.json"

        def take(count: int) -> List[int]:
            store = cometd.FileReplayStore(path)
            with cometd.sync.Client(server.url, replay="all", replay_store=store, **BACKOFF) as client:
                client.subscribe("/event/a")
                return [client.get().data["n"] for _ in range(count)]  # type: ignore[union-attr]

        server.ask("publish", channel="/event/a", count=10)
        self.assertEqual(take(3), [0, 1, 2])
        self.assertEqual(take(3), [3, 4, 5])
        self.assertEqual(list(json.loads(path.read_text())), ["/event/a"])

    def test_message_whose_handling_failed_comes_again(self) -> None:
        async def main(server: Server) -> None:
            store = Store()
            seen: List[int] = []

            async def take() -> None:
                async with cometd.Client(server.url, replay="all", replay_store=store, **BACKOFF) as client:
                    await client.subscribe("/event/a")
                    async for message in client:
                        seen.append(message.data["n"])
                        self.assertIsNotNone(message.replay_id)
                        if len(seen) in (3, 6):
                            raise ValueError("no disk")

            server.ask("publish", channel="/event/a", count=10)
            for _ in range(2):
                with self.assertRaises(ValueError):
                    await take()
            self.assertEqual(seen, [0, 1, 2, 2, 3, 4])

        asyncio.run(main(self.server()))

    def test_message_of_a_thread_that_has_ended_is_not_done(self) -> None:
        server = self.server()
        store = Store()
        with cometd.sync.Client(server.url, replay_store=store, **BACKOFF) as client:
            client.subscribe("/event/a")
            server.ask("publish", channel="/event/a", count=20)
            # Numbers of threads are used again.
            for _ in range(20):
                thread = threading.Thread(target=client.get)
                thread.start()
                thread.join()
            self.assertEqual(store.saved, [])

    def test_message_of_a_stream_is_not_done_by_another(self) -> None:
        server = self.server()
        store = Store()
        with cometd.sync.Client(server.url, replay_store=store, **BACKOFF) as client:
            client.subscribe("/event/a")
            client.subscribe("/event/b")
            own = client.messages("/event/a")
            server.ask("publish", channel="/event/a")
            server.ask("publish", channel="/event/b")
            next(own)
            client.get()
            self.assertEqual(store.saved, [])
            client.get(0)
            self.assertEqual([channel for channel, _ in store.saved], ["/event/b"])

    def test_callback_is_done_when_it_has_returned(self) -> None:
        server = self.server()
        store = Store()
        numbers: List[int] = []
        with cometd.sync.Client(
            server.url, callback=lambda it: numbers.append(it.data["n"]), replay_store=store, **BACKOFF
        ) as client:
            client.subscribe("/event/a")
            server.ask("publish", channel="/event/a", count=10)
            wait_for(lambda: len(store.saved) == 10)
        positions = [position for _, position in store.saved]
        self.assertEqual(positions, list(range(positions[0], positions[0] + 10)))

    def test_older_message_that_is_not_done_holds_newer_ones_back(self) -> None:
        async def main(server: Server) -> None:
            store = Store()
            async with cometd.Client(server.url, replay_store=store, **BACKOFF) as client:
                first, second = client.messages("/event/a"), client.messages("/event/b")
                await client.subscribe("/event/a")
                await client.subscribe("/event/b")
                server.ask("publish", channel="/event/a")
                await first.__anext__()
                for _ in range(3):
                    server.ask("publish", channel="/event/b")
                    await second.__anext__()
                self.assertEqual([channel for channel, _ in store.saved], ["/event/b"] * 2)

        asyncio.run(main(self.server()))

    def test_store_that_raises_is_told(self) -> None:
        server = self.server()

        class Broken:
            def load(self, channel: str) -> Optional[int]:
                if channel == "/event/b":
                    raise OSError("no disk to load from")
                return None

            def save(self, channel: str, position: int) -> None:
                raise OSError("no disk to save to")

        with self.assertLogs("cometd") as logged:
            with cometd.sync.Client(server.url, replay_store=Broken(), **BACKOFF) as client:
                with self.assertRaisesRegex(OSError, "no disk to load from"):
                    client.subscribe("/event/b")
                client.subscribe("/event/a")
                server.ask("publish", channel="/event/a", count=2)
                client.get()
                client.get()
        self.assertIn("no disk to save to", logged.output[0])

    def test_file_that_holds_no_positions_is_an_error(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "positions"
            for text in ("[1]", '{"/a": "1"}', "{"):
                path.write_text(text)
                with self.assertRaises(ValueError):
                    cometd.FileReplayStore(path)

    def test_position_is_set_by_hand(self) -> None:
        server = self.server()
        server.ask("publish", channel="/event/a", count=3)
        with cometd.sync.Client(server.url, replay="new", **BACKOFF) as client:
            client.set_replay_position("/event/a", -2)
            client.subscribe("/event/a")
            self.assertEqual([message.data["n"] for _, message in zip(range(3), client)], [0, 1, 2])
            with self.assertRaises(cometd.Error):
                client.set_replay_position("/event/*", 1)

    def test_session_goes_on_in_another_client(self) -> None:
        async def main(server: Server) -> None:
            client = cometd.Client(server.url, acknowledgement=True, **BACKOFF)
            await client.connect()
            await client.subscribe("/a")
            session = client.session_id
            text = await client.export()
            # The session is told before the end.
            wait_for(lambda: client.state == cometd.State.CLOSED)
            self.assertEqual(await client.export(), text)
            client.close()
            async with cometd.Client(server.url, acknowledgement=True, resume=text, **BACKOFF) as client:
                self.assertEqual(client.session_id, session)
                server.ask("publish", channel="/a")
                self.assertEqual((await client.__anext__()).channel, "/a")

        asyncio.run(asyncio.wait_for(main(self.server()), 30))


if __name__ == "__main__":
    unittest.main()
