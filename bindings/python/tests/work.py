"""What processes of a pool do."""

import cometd.sync


def one_tick(url: str) -> str:
    with cometd.sync.Client(url) as client:
        client.subscribe("/ticks")
        message = client.get()
        assert message
        return message.channel
