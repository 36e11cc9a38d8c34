"""Secrets of the user never leave the machine by way of a log or an error: they are struck out of both.

Known are the values of environment variables called token, secret, password or key, what the clients of Kaggle and Hugging
Face keep at home, and passwords within addresses.
"""

import json
import logging
import os
import re
from contextlib import suppress
from functools import cache
from pathlib import Path

LOG_FORMAT = "%(asctime)s %(message)s"
NAMES = re.compile(r"TOKEN(?!IZ)|SECRET|PASSW(OR)?D|(^|_)KEY(_|$)", re.IGNORECASE)
IN_ADDRESS = re.compile(r"(?<=://)[^/\s:@]*:[^/\s@]+(?=@)")
SHORTEST = 8  # a shorter value would strike out ordinary words
STRUCK = "***"


class RedactingFormatter(logging.Formatter):
    """Formats a record, its traceback included, without secrets."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as text."""
        return redact(super().format(record))


def start_logging() -> None:
    """Log to stderr what is said from now on, of libraries the warnings alone, unless something logs already."""
    handler = logging.StreamHandler()
    handler.setFormatter(RedactingFormatter(LOG_FORMAT, "%H:%M:%S"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("pipeline").setLevel(logging.INFO)


def redact(text: str) -> str:
    """Return a text with asterisks in the place of secrets.

    >>> redact("GET https://me:pass@example.org/simple failed")
    'GET https://***@example.org/simple failed'
    """
    for secret in known_secrets():
        text = text.replace(secret, STRUCK)
    return IN_ADDRESS.sub(STRUCK, text)


@cache
def known_secrets() -> list[str]:
    """Return the secrets of the environment and of the home folder, the longest first."""
    secrets = {value for name, value in os.environ.items() if NAMES.search(name)}
    home = Path(os.path.expanduser("~"))
    kaggle = Path(os.environ.get("KAGGLE_CONFIG_DIR") or home / ".kaggle")
    hub = Path(os.environ.get("HF_HOME") or home / ".cache" / "huggingface")
    for path in (kaggle / "kaggle.json", kaggle / "access_token", hub / "token"):
        with suppress(OSError, ValueError):
            text = path.read_text(encoding="utf-8").strip()
            content = json.loads(text) if path.suffix == ".json" else {"token": text}
            items = content.items() if isinstance(content, dict) else ()
            secrets |= {value for name, value in items if NAMES.search(name) and isinstance(value, str)}
    return sorted((value for value in secrets if len(value) >= SHORTEST), key=len, reverse=True)
