"""Secrets of the user never leave the machine by way of a log or an error: they are struck out of both.

Known are the values of environment variables called like a secret, what clients of Kaggle, Hugging Face, git, clouds and
others keep at home, and what looks like a token, a private key or a password within an address wherever it comes from.
"""

import logging
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from urllib.parse import quote, quote_plus

LOG_FORMAT = "%(asctime)s %(message)s"
NAMES = re.compile(
    r"TOKEN(?!IZ)|SECRET|PASSW(OR)?D|PASSPHRASE|CREDENTIAL|COOKIE|CONNECTION_?STRING|WEBHOOK|API_?KEY"
    r"|(^|[_.-])((ACCESS|ACCOUNT|PRIVATE|AUTH)?KEY|PASS|PWD|PAT|SAS|DSN)([_.-]|$)|(^|_)(AUTH|JWT|BEARER)$",
    re.IGNORECASE,
)
NO_SECRET = {"PWD", "OLDPWD"}  # where the shell is
POINTER = re.compile(r"_(PATH|FILE|DIR)$|APPLICATION_CREDENTIALS$", re.IGNORECASE)  # says where a secret lies, is none
# Where programs keep secrets: below the home folder, below the place that a variable names, below the project.
AT_HOME = (
    ".netrc", "_netrc", ".git-credentials", ".config/git/credentials", ".pypirc", ".npmrc", ".my.cnf", ".aws/credentials",
    ".config/gh/hosts.yml", ".config/dvc/config", ".docker/config.json", ".config/pip/pip.conf", ".pip/pip.conf",
    ".config/gcloud/application_default_credentials.json", ".kaggle/kaggle.json", ".kaggle/access_token",
    ".kaggle/credentials.json", ".config/kaggle/kaggle.json", ".config/kaggle/access_token", ".cache/huggingface/token",
    ".cache/huggingface/stored_tokens", ".huggingface/token",
)  # fmt: skip
AT_VARIABLE = {
    "KAGGLE_CONFIG_DIR": ("kaggle.json", "access_token"), "HF_HOME": ("token", "stored_tokens"), "NETRC": ("",),
    "XDG_CONFIG_HOME": ("kaggle/kaggle.json", "kaggle/access_token", "git/credentials", "gh/hosts.yml"),
    "XDG_CACHE_HOME": ("huggingface/token", "huggingface/stored_tokens"),
}  # fmt: skip
AT_PROJECT = (".dvc/config.local", ".env")
LARGEST_FILE = 2**20
WORD = re.compile(r"[\w.-]+")
VALUE = re.compile(r"""["']?[ \t]*[=:]?\s*(?:"([^"]*)"|'([^']*)'|([^\s"',}]+))""")
PASSWORD = re.compile(r"(?<=://)[^/\s:@]*:([^/\s]+)(?=@)")
SHAPES = re.compile(
    r"(?<=://)[^/\s:@]*:[^/\s]+(?=@)|(?<=://)[\w-]{20,}(?=@)"  # https://name:password@host, https://token@host
    r"|(?i:(?<=bearer )[\w.~+/=-]{16,}|(?<=authorization: basic )[\w+/=]+)"
    r"|\b(?:hf_|gh[opsur]_|npm_|KGAT_)[A-Za-z0-9]{20,}|\bAKIA[A-Z0-9]{16}|\bAIza[\w-]{30,}"
    r"|\b(?:github_pat_|glpat-|pypi-Ag|xox[abeprs]-)[\w-]{16,}|\bsk-(?=[\w-]*\d)[\w-]{20,}"
    r"|\beyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]*"  # a JSON web token
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
)
QUERY = re.compile(r"(?<=[?&])([\w.-]+)=([^&\s'\"]+)")
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

    >>> redact("GET https://me:pass@example.org/simple?api_key=7 failed")
    'GET https://***@example.org/simple?api_key=*** failed'
    """
    for secret in known_secrets():
        text = text.replace(secret, STRUCK)
    text = QUERY.sub(lambda pair: f"{pair[1]}={STRUCK}" if NAMES.search(pair[1]) else pair[0], text)
    return SHAPES.sub(STRUCK, text)


@cache
def known_secrets() -> list[str]:
    """Return the secrets of the environment, the home folder and the project, as they are and as an address quotes them.

    The longest come first: one may be part of another.
    """
    secrets = set(_secrets_of_environment())
    home = Path(os.path.expanduser("~"))
    files = [*(home / name for name in AT_HOME), *map(Path, AT_PROJECT)]
    files += [Path(os.environ[at]) / name for at, names in AT_VARIABLE.items() if os.environ.get(at) for name in names]
    files += [Path(value) for name, value in os.environ.items() if NAMES.search(name) and POINTER.search(name)]
    for path in files:
        with suppress(OSError, ValueError):
            if path.is_file() and path.stat().st_size <= LARGEST_FILE:  # no fifo, no device
                secrets |= set(_secrets_of_text(path.read_text(encoding="utf-8")))
    long = [secret for secret in secrets if len(secret) >= SHORTEST]
    return sorted({form(secret) for secret in long for form in (str, quote, quote_plus)}, key=len, reverse=True)


def _secrets_of_environment() -> Iterator[str]:
    for name, value in os.environ.items():
        yield from (match[1] for match in PASSWORD.finditer(value))
        if NAMES.search(name) and not POINTER.search(name) and name not in NO_SECRET:
            yield from (value, *value.splitlines())


def _secrets_of_text(text: str) -> Iterator[str]:
    """Yield the secrets of a file of settings in any form: one bare token, JSON, ini, netrc, or addresses.

    >>> list(_secrets_of_text("machine a login me password 12345")), list(_secrets_of_text('{"user": "me", "key": "abc"}'))
    (['12345'], ['abc'])
    """
    if len(text.split()) == 1:
        yield text.strip()
    yield from (match[1] for match in PASSWORD.finditer(text))
    for word in WORD.finditer(text):
        if NAMES.search(word[0]) and (value := VALUE.match(text, word.end())):
            yield from filter(None, value.groups())
