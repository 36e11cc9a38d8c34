"""The content of a file that may be gzipped or zipped, and the refusal of archives that could do harm."""

import gzip
import lzma
import stat
import struct
import zipfile
import zlib
from io import BufferedIOBase
from pathlib import Path, PurePosixPath
from typing import IO

from pipeline.errors.exceptions import DataError, PipelineError

MAX_RATIO = 200
RATIO_COUNTS_FROM = 64 << 20
TAR_MAGIC_AT = 257
# What zipfile, gzip and the codecs below them raise on damaged bytes is not one family.
DAMAGED_ARCHIVE = (
    OSError, EOFError, RuntimeError, ValueError, LookupError, zlib.error, lzma.LZMAError, struct.error,
    zipfile.BadZipFile,
)  # fmt: skip


def read_uncompressed(path: Path) -> tuple[str, bytes]:
    """Return the name, without what compressed it, and the bytes of a file.

    Raises:
        DataError: if it cannot be read, is an archive of several files or a tar archive, or unpacks to absurdly much.
    """
    try:
        name, content = _open(path)
    except PipelineError:
        raise
    except DAMAGED_ARCHIVE as error:
        reason = f"{type(error).__name__}: {error}"
        raise DataError(f"{path}: cannot be read: {reason}. Fetch the file again or correct the path.") from error
    if content[TAR_MAGIC_AT : TAR_MAGIC_AT + 5] == b"ustar":
        raise DataError(
            f"{path}: must be the competition's file, got a tar archive of files. Unpack it and name the file.",
            code="E308",
        )
    return name, content


def _open(path: Path) -> tuple[str, bytes]:
    if path.suffix.lower() == ".zip":
        return _unzipped(path)
    if path.suffix.lower() == ".gz":
        with gzip.open(path) as file:
            return path.stem, _read_capped(file, path)
    return path.name, path.read_bytes()


def _unzipped(path: Path) -> tuple[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        files = [f for f in archive.infolist() if not f.is_dir() and not f.filename.startswith("__MACOSX/")]
        if len(files) != 1:
            names = [file.filename for file in files[:5]]
            raise DataError(
                f"{path}: must hold exactly one file, got {len(files)} {names}. Unpack it and name the file.",
                code="E308",
            )
        member = files[0]
        parts = PurePosixPath(member.filename.replace("\\", "/"))
        mode = member.external_attr >> 16
        if parts.is_absolute() or ".." in parts.parts or (stat.S_IFMT(mode) not in (0, stat.S_IFREG)):
            raise DataError(
                f"{path}: {member.filename!r} is not a regular file inside it. Do not trust this archive.", code="E308"
            )
        if member.flag_bits & 1:
            raise DataError(f"{path}: {member.filename!r} is encrypted. Unpack it and name the file.", code="E308")
        return parts.name, read_member(archive, member, path)


def read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> bytes:
    """Return the bytes of a member of the zip file at `path`, whatever sizes the archive claims for it.

    Raises:
        DataError: if it unpacks to absurdly much, or is packed in a way that cannot be unpacked piece by piece.
    """
    # zipfile unpacks what it reads of the other methods in one go, however much that is.
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        text = f"{path}: {member.filename!r} must be stored or deflated, got zip's method {member.compress_type}"
        raise DataError(f"{text}. Unpack it and name the file.", code="E308")
    # What is claimed may be less than what comes, never a reason to unpack more; later Pythons open no archive that lies.
    check_unpacked(member.file_size, compressed=path.stat().st_size, name=str(path))
    with archive.open(member) as file:
        return _read_capped(file, path)


def most_unpacked(n_bytes: int) -> int:
    """Return to how many bytes texts of so many compressed bytes can unpack at most."""
    return max(RATIO_COUNTS_FROM, MAX_RATIO * n_bytes)


def check_unpacked(n_bytes: int, *, compressed: int, name: str) -> None:
    """Refuse what has unpacked to more bytes than texts ever do; `name` is the file's, for the message.

    Raises:
        DataError: if it has.
    """
    if n_bytes > most_unpacked(compressed):
        raise DataError(
            f"{name}: unpacks to more than {MAX_RATIO} times its size. Unpack it by hand if you trust it.", code="E308"
        )


def _read_capped(file: BufferedIOBase | IO[bytes], path: Path) -> bytes:
    """Read a decompressing stream, which must not grow beyond what texts of a file's true size ever compress to."""
    compressed = path.stat().st_size
    content = file.read(most_unpacked(compressed) + 1)
    check_unpacked(len(content), compressed=compressed, name=str(path))
    return content
