"""Prints some messages of a channel: ticks.py URL [CHANNEL [COUNT]]"""

import asyncio
import sys

import cometd


async def main(url: str, channel: str = "/ticks", count: str = "3") -> None:
    async with cometd.Client(url) as client:
        await client.subscribe(channel)
        left = int(count)
        async for message in client:
            print(message.channel, message.data)
            left -= 1
            if not left:
                break


if __name__ == "__main__":
    try:
        asyncio.run(main(*sys.argv[1:]))
    except cometd.Error as error:
        sys.exit(f"ticks: {error}")
