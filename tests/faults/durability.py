"""A record of what a process made durable and in which order, as a power cut would find it."""

import json
import os
import stat
from pathlib import Path
from typing import Any

from pipeline.artifacts.files import sha256_of

EVENTS = Path("events.jsonl")


def record_durability() -> None:
    """Note each fsync of this process, with what it made durable, and each rename, with what then has a new name."""
    fsync, rename = os.fsync, os.rename

    def recorded_fsync(descriptor: int) -> None:
        fsync(descriptor)
        status = os.fstat(descriptor)
        is_folder = stat.S_ISDIR(status.st_mode)
        content = None if is_folder else sha256_of(Path(f"/proc/self/fd/{descriptor}"))
        note({"fsync": status.st_ino, "content": content})

    def recorded_rename(source: Path, target: Path) -> None:
        moved = [path for path in (Path(source), *Path(source).rglob("*")) if path.is_file()]
        note({"rename": str(target), "moved": {str(path.stat().st_ino): sha256_of(path) for path in moved}})
        rename(source, target)

    def note(event: dict[str, Any]) -> None:
        if "parent" not in event and "rename" in event:
            event["parent"] = Path(event["rename"]).parent.stat().st_ino
        with EVENTS.open("a", encoding="utf-8") as file:
            file.write(json.dumps(event) + "\n")

    EVENTS.unlink(missing_ok=True)
    os.fsync, os.rename = recorded_fsync, recorded_rename


def not_durable(folder: Path) -> list[str]:
    """Return a line for each rename of what was not synced, or that was not synced itself, and each file never synced."""
    events = [json.loads(line) for line in (folder / EVENTS).read_text(encoding="utf-8").splitlines()]
    synced: dict[str, str] = {}
    problems = []
    for event, following in zip(events, [*events[1:], {}], strict=True):
        if "fsync" in event:
            synced[str(event["fsync"])] = event["content"]
            continue
        if any(synced.get(inode) != content for inode, content in event["moved"].items()):
            problems.append(f"{event['rename']} was renamed before it was synced")
        if following.get("fsync") != event["parent"]:
            problems.append(f"the folder of {event['rename']} was not synced after the rename")
    results = [*folder.glob("out/**/*"), *folder.glob(".stitchfold/units/*/result/**/*")]
    files = [path for path in results if path.is_file()]
    problems += [f"{path} was never synced" for path in files if synced.get(str(path.stat().st_ino)) != sha256_of(path)]
    return problems
