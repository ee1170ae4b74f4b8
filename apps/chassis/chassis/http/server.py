"""The server's end: nobody is cut off."""

import asyncio
import contextlib
import socket

import uvicorn

LINGER = 0.3  # s in which a connection may still bring a request when this process ends


class Server(uvicorn.Server):
    """Ends without cutting anybody off.

    uvicorn, told to end, closes every connection that has no request under way. To a client whose request is on its
    way, or lies there unread, that is a reset, and it cannot know whether its wish was heard.
    """

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more connections, and for a moment requests on those there are; each answer ends its connection."""
        for server in self.servers:
            server.close()
        self.server_state.default_headers.append((b"connection", b"close"))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER):
                while self.server_state.connections:  # noqa: ASYNC110 - a set of uvicorn's, which tells nobody
                    await asyncio.sleep(0.01)
        await super().shutdown(sockets)
