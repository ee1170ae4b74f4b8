"""`python -m bank`: serves until SIGTERM. Everything it needs to know stands in the environment (see `Settings`)."""

import asyncio
import json
import logging
import sys
from pathlib import Path

import uvicorn
from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from bank.api import create
from bank.book import Book
from bank.faults import LINE


class Settings(BaseSettings):
    """Names begin with BANK_."""

    model_config = SettingsConfigDict(env_prefix="BANK_")

    host: str = "127.0.0.1"
    port: int = 8090
    book: Path  # the SQLite file
    api_key_file: Path  # the clients' key alone, or a JSON object of secrets
    api_key_name: str = ""  # in that object

    def api_key(self) -> str:
        """Read the key; raises `ValueError` where there is none."""
        text = self.api_key_file.read_text().strip()
        key = json.loads(text).get(self.api_key_name, "") if self.api_key_name else text
        if not key:
            raise ValueError(f"{self.api_key_file} holds no key {self.api_key_name}".rstrip())
        return key


class Line(HttpToolsProtocol):
    """A connection that may be cut: requests find it in their state."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] - as uvicorn narrows it
        """Begin, and let requests know."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, LINE: transport}


def main() -> None:
    """Serve."""
    logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(asctime)s %(levelname)s %(message)s")
    try:
        settings = Settings()  # type: ignore[call-arg] - from the environment
        book, key = Book(settings.book), settings.api_key()
    except (ValidationError, ValueError, OSError) as error:
        sys.exit(f"bank: {error}")
    app = create(book, key)
    uvicorn.run(
        app, host=settings.host, port=settings.port, http=Line, loop="uvloop", log_config=None, access_log=False,
        timeout_graceful_shutdown=2,
    )  # fmt: skip
    book.close()


if __name__ == "__main__":
    main()
