"""The client of asyncio, against a server."""

import asyncio
import gc
import unittest
from typing import Any, Awaitable, Callable, Dict, List

import cometd
from server import LIMIT, Server, descriptors, library_threads

BACKOFF: Any = {"backoff_ms": (10, 100)}


def run(main: Callable[[Server], Awaitable[None]], *options: str) -> None:
    server = Server(*options)
    try:
        asyncio.run(asyncio.wait_for(main(server), LIMIT))
    finally:
        server.stop()


async def wait_for(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.005)


class AsyncioTest(unittest.TestCase):
    def test_ten_thousand_events_come_in_order(self) -> None:
        async def main(server: Server) -> None:
            async with cometd.Client(server.url, **BACKOFF) as client:
                await client.subscribe("/many")
                server.ask("publish", channel="/many", count=10000, size=100)
                numbers = []
                async for message in client:
                    self.assertEqual(message.channel, "/many")
                    numbers.append(message.data["n"])
                    if len(numbers) == 10000:
                        break
                self.assertEqual(numbers, list(range(10000)))

        run(main)

    def test_who_does_not_iterate_still_gets_outcomes(self) -> None:
        async def main(server: Server) -> None:
            async with cometd.Client(server.url, **BACKOFF) as client:
                await client.subscribe("/many")
                server.ask("publish", channel="/many", count=5000, size=10)
                for number in range(100):
                    await client.publish("/mine", number)
                count = 0
                async for _ in client:
                    count += 1
                    if count == 5000:
                        break

        run(main)

    def test_publish_has_its_outcome(self) -> None:
        async def main(server: Server) -> None:
            async with cometd.Client(server.url, **BACKOFF) as client:
                await client.subscribe("/mine")
                await asyncio.gather(*[client.publish("/mine", {"n": n, "text": "ä\U0001f600"}) for n in range(100)])
                for n in range(100):
                    message = await client.__anext__()
                    self.assertEqual(message.data, {"n": n, "text": "ä\U0001f600"})
                with self.assertRaises(cometd.Error) as caught:
                    await client.publish("/denied/x", 1)
                self.assertEqual(caught.exception.phase, cometd.Phase.PUBLISH)
                with self.assertRaises(cometd.Error) as caught:
                    client.publish("no channel", 1)
                self.assertEqual(caught.exception.status, cometd.Status.INVALID_CHANNEL)

        run(main)

    def test_denied_subscribe_is_an_error(self) -> None:
        async def main(server: Server) -> None:
            async with cometd.Client(server.url, **BACKOFF) as client:
                with self.assertRaises(cometd.Error) as caught:
                    await client.subscribe("/denied/x")
                error = caught.exception
                self.assertEqual(error.status, cometd.Status.REFUSED)
                self.assertEqual(error.phase, cometd.Phase.SUBSCRIBE)
                self.assertEqual(error.channel, "/denied/x")
                self.assertEqual(error.http_status, 200)
                self.assertIsNone(error.retry_in)
                self.assertIn("denied", error.bayeux or "")
                self.assertIn("/denied/x", str(error))

        run(main)

    def test_lost_session_is_told_and_the_subscription_is_back(self) -> None:
        async def main(server: Server) -> None:
            events: List[cometd.Event] = []
            async with cometd.Client(server.url, on_event=events.append, **BACKOFF) as client:
                await client.subscribe("/a")
                server.ask("forget")
                await wait_for(lambda: any(event.is_renewed for event in events))
                states = [event.state for event in events if event.type == cometd.EventType.STATE]
                self.assertIn(cometd.State.REHANDSHAKING, states)
                self.assertEqual([event.channel for event in events if event.is_renewed], ["/a"])
                server.ask("publish", channel="/a")
                self.assertEqual((await client.__anext__()).channel, "/a")

        run(main)

    def test_failed_connect_tells_when_it_is_tried_again(self) -> None:
        async def main(server: Server) -> None:
            events: List[cometd.Event] = []
            async with cometd.Client(server.url, on_event=events.append, **BACKOFF) as client:
                await client.subscribe("/a")
                server.ask("fail", status=503, on="/meta/connect")
                server.ask("publish", channel="/a")
                await wait_for(lambda: any(event.error for event in events))
                error = next(event.error for event in events if event.error)
                self.assertEqual((error.status, error.http_status), (cometd.Status.HTTP_STATUS, 503))
                self.assertEqual(error.phase, cometd.Phase.CONNECT)
                self.assertIsNotNone(error.retry_in)
                self.assertFalse(error.is_fatal)

        run(main)

    def test_token_is_renewed_by_a_coroutine(self) -> None:
        async def main(server: Server) -> None:
            asked: "asyncio.Future[None]" = asyncio.get_running_loop().create_future()
            answer: "asyncio.Future[str]" = asyncio.get_running_loop().create_future()

            async def token() -> str:
                asked.set_result(None)
                return await answer

            client = cometd.Client(server.url, bearer_token="old", token_provider=token, **BACKOFF)
            connecting = asyncio.ensure_future(client.connect())
            await asked
            self.assertEqual(client.state, cometd.State.HANDSHAKING)
            answer.set_result("Bearer good")
            await connecting
            self.assertEqual(client.state, cometd.State.CONNECTED)
            await client.disconnect()
            client.close()

        run(main, "--token", "good")

    def test_exception_of_the_token_provider_is_the_error(self) -> None:
        async def main(server: Server) -> None:
            told: List[Dict[str, Any]] = []
            asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))

            def token() -> str:
                raise ValueError("no window")

            events: List[cometd.Event] = []
            with self.assertRaises(cometd.Error) as caught:
                async with cometd.Client(server.url, token_provider=token, on_event=events.append, **BACKOFF):
                    self.fail("it has no token")
            self.assertTrue(caught.exception.is_fatal)
            errors = [event.error for event in events if event.error]
            self.assertIn("ValueError: no window", str(errors))
            self.assertIn(cometd.Status.CREDENTIALS, [error.status for error in errors])
            self.assertIsInstance(told[0]["exception"], ValueError)

        run(main, "--token", "good")

    def test_exception_of_on_event_goes_to_the_loop(self) -> None:
        async def main(server: Server) -> None:
            told: List[Dict[str, Any]] = []
            asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))

            def on_event(event: cometd.Event) -> None:
                raise KeyError(str(event))

            async with cometd.Client(server.url, on_event=on_event, **BACKOFF) as client:
                await client.subscribe("/a")
                server.ask("publish", channel="/a")
                self.assertEqual((await client.__anext__()).channel, "/a")
            self.assertIsInstance(told[0]["exception"], KeyError)

        run(main)

    def test_disconnect_tells_the_server_and_ends_the_iteration(self) -> None:
        async def main(server: Server) -> None:
            async with cometd.Client(server.url, **BACKOFF) as client:
                await client.subscribe("/a")
                publish = client.publish("/a", 1)
                await client.disconnect()
                self.assertTrue(publish.done())
                self.assertEqual([message.data async for message in client], [1])
                self.assertEqual(client.state, cometd.State.CLOSED)
                with self.assertRaises(cometd.Error) as caught:
                    client.publish("/a", 2)
                self.assertEqual(caught.exception.status, cometd.Status.CLOSED)
            self.assertEqual(server.ask("sessions"), "0")

        run(main)

    def test_close_ends_what_waits(self) -> None:
        async def main(server: Server) -> None:
            async with cometd.Client(server.url, **BACKOFF) as client:
                waiting = asyncio.ensure_future(client.__anext__())
                await asyncio.sleep(0)
                call = client.publish("/a", 1)
                client.close()
                with self.assertRaises(StopAsyncIteration):
                    await waiting
                with self.assertRaises(cometd.Error):
                    await call
            client.close()

        run(main)

    def test_what_is_cancelled_leaves_the_client_alive(self) -> None:
        async def main(server: Server) -> None:
            async with cometd.Client(server.url, **BACKOFF) as client:
                await client.subscribe("/a")
                first = asyncio.ensure_future(client.__anext__())
                second = asyncio.ensure_future(client.__anext__())
                await asyncio.sleep(0)
                first.cancel()
                client.publish("/b", 1).cancel()
                await client.publish("/a", 2)
                self.assertEqual((await second).data, 2)

        run(main)

    def test_fatal_error_is_raised_by_the_iteration(self) -> None:
        async def main(server: Server) -> None:
            async with cometd.Client(server.url, **BACKOFF) as client:
                server.ask("disconnect")
                with self.assertRaises(cometd.Error) as caught:
                    async for _ in client:
                        pass
                self.assertTrue(caught.exception.is_fatal)

        run(main)

    def test_remote_call_has_its_answer(self) -> None:
        async def main(server: Server) -> None:
            async with cometd.Client(server.url, **BACKOFF) as client:
                answer = await client.remote_call("/service/echo", {"a": [1]})
                self.assertEqual(answer.data, {"a": [1]})

        run(main)

    def test_websocket(self) -> None:
        async def main(server: Server) -> None:
            async with cometd.Client(server.url, transports=["websocket", "long-polling"]) as client:
                await client.subscribe("/a")
                await client.publish("/a", None)
                self.assertIsNone((await client.__anext__()).data)
                self.assertEqual(client.statistics()["transport"], "websocket")

        run(main)

    def test_clients_that_nobody_closed_are_collected(self) -> None:
        async def main(server: Server) -> None:
            before = descriptors()
            for _ in range(10):
                client = cometd.Client(server.url, **BACKOFF)
                await client.connect()
                await client.subscribe("/a")
            self.assertGreater(descriptors(), before)
            self.assertTrue(library_threads())
            del client
            gc.collect()
            await wait_for(lambda: descriptors() == before and not library_threads())

        run(main)

    def test_thousands_of_outcomes_leave_nothing_behind(self) -> None:
        async def main(server: Server) -> None:
            async with cometd.Client(server.url, **BACKOFF) as client:
                await asyncio.gather(*[client.publish("/a", n) for n in range(3000)])
                self.assertEqual(client._calls, {})

        run(main)


class OptionsTest(unittest.TestCase):
    def test_every_option_is_set_by_its_name(self) -> None:
        defaults: Any = {it.name: it.default for it in cometd.options() if it.default is not None}
        self.assertGreater(len(defaults), 20)
        cometd.Client("http://127.0.0.1:9/", **defaults).close()
        cometd.Client(
            "http://127.0.0.1:9/",
            header=["X-A: 1", "X-B: 2"],
            insecure=False,
            events_capacity=(10, 1000),
            handshake_ext={"a": 1},
            timeout_ms=5,
        ).close()

    def test_refused_option_is_an_error_that_names_it(self) -> None:
        refused: Any = ({"no_such": 1}, {"timeout_ms": -1}, {"insecure": "maybe"})
        for options in refused:
            with self.assertRaises(cometd.Error) as caught:
                cometd.Client("http://127.0.0.1:9/", **options)
            self.assertIn(next(iter(options)), str(caught.exception))
        with self.assertRaises(cometd.Error) as caught:
            cometd.Client("nowhere")
        self.assertEqual(caught.exception.status, cometd.Status.INVALID_URL)

    def test_constants_are_those_of_the_library(self) -> None:
        from cometd._cometd import lib

        for prefix, kind in (
            ("COMETD_E_", cometd.Status),
            ("COMETD_PHASE_", cometd.Phase),
            ("COMETD_STATE_", cometd.State),
            ("COMETD_EVENT_", cometd.EventType),
        ):
            theirs = {name[len(prefix) :]: getattr(lib, name) for name in dir(lib) if name.startswith(prefix)}
            self.assertEqual({it.name: it.value for it in kind}, theirs)


if __name__ == "__main__":
    unittest.main()
