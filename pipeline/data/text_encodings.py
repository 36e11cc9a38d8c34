"""Bytes of text files as UTF-8: strictly decoded, and what the encoding likely is where it is another one."""

import codecs

from pipeline.errors.exceptions import DataError, ParamsError

BOMS = {b"\xff\xfe\0\0": "utf-32", b"\0\0\xfe\xff": "utf-32", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
# Bytes beyond one per character: no text in another encoding is valid UTF-8 by chance for so long.
SURELY_UTF8 = 20


def as_utf8(content: bytes, encoding: str, *, name: str, key: str) -> bytes:
    """Return a file's content as UTF-8, without its byte order mark.

    Messages say the file's `name` and the task's `key` in params.yaml.

    Raises:
        DataError: if the content is in another encoding.
        ParamsError: if there is no such encoding.
    """
    content = content.removeprefix(b"\xef\xbb\xbf")
    try:
        is_utf8 = codecs.lookup(encoding).name in ("utf-8", "utf-8-sig")
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        guess = _guess_encoding(content, error.start)
        likely = f"It looks like {guess.upper()}: set {key}.encoding: {guess}" if guess else f"Set {key}.encoding"
        line = content.count(b"\n", 0, error.start) + 1
        where = f"{name}:{line}: must be {encoding.upper()}, got other bytes at byte {error.start}"
        raise DataError(f"{where}. {likely}, or fetch the file again.", code="E304") from error
    except (LookupError, ValueError) as error:
        raise ParamsError(
            f"{key}.encoding: {encoding!r} is not known. Use a name of Python's codecs.", code="E202"
        ) from error
    wide = _wide(content)
    if is_utf8 and wide:
        raise DataError(
            f"{name}: must be UTF-8, got a zero byte at its start. It looks like {wide.upper()}: set {key}.encoding: {wide}.",
            code="E304",
        )
    if not is_utf8 and _is_surely_utf8(content):
        raise DataError(
            f"{name}: is UTF-8 throughout, but would be read as {encoding.upper()}: other words. Remove {key}.encoding.",
            code="E304",
        )
    return content if is_utf8 else text.removeprefix("\ufeff").encode("utf-8", "replace")


def _is_surely_utf8(content: bytes) -> bool:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return len(content) - len(text) >= SURELY_UTF8


def _wide(content: bytes) -> str | None:
    """Return the UTF-16 of a text without a byte order mark that begins with an ASCII letter."""
    return {content[:1]: "utf-16-be", content[1:2]: "utf-16-le"}.get(b"\0")


def _guess_encoding(content: bytes, position: int) -> str | None:
    if known := next((encoding for mark, encoding in BOMS.items() if content.startswith(mark)), _wide(content)):
        return known
    from charset_normalizer import from_bytes

    start = content.rfind(b"\n", 0, max(0, position - 2**15)) + 1
    stop = content.find(b"\n", position + 2**15)
    best = from_bytes(content[start : stop if stop > 0 else None]).best()
    # gb18030 holds gbk and gb2312, which fail on rarer characters.
    return {"gbk": "gb18030", "gb2312": "gb18030"}.get(best.encoding, best.encoding) if best else None
