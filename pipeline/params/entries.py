"""Files that are not there, and what DVC cannot hash in the folders that stages depend on, which it says too late."""

import itertools
import os
from collections.abc import Callable, Iterator
from typing import Any

from pipeline.model_sources import misplaced
from pipeline.params.problems import Problem


def check_files(values: dict[str, Any]) -> Iterator[Problem]:
    """Yield the competition's files that are not there; `values` need not be right otherwise."""
    for key, file in _files(values):
        if text := misplaced(file, "file", folder=f"data/{values.get('competition')}"):
            yield Problem(key, text, "E202")
        elif not os.path.isfile(file):  # pathlib raises on names that are too long
            text = f"no such file: {file}. Put the competition's files there or correct the path."
            yield Problem(key, text, "E202")


def _files(values: dict[str, Any]) -> Iterator[tuple[tuple[Any, ...], str]]:
    """Yield the files of all tasks, and the texts of further pre-training, by their keys."""
    tasks = values.get("tasks")
    for name, task in tasks.items() if isinstance(tasks, dict) else ():
        submission = task.get("submission") if isinstance(task, dict) else None
        sections = {("train",): task, ("test",): task, ("unlabelled",): task, ("submission", "sample"): submission}
        for key, section in sections.items():
            file = section.get(key[-1]) if isinstance(section, dict) else None
            files = {(*key, part): one for part, one in file.items()} if isinstance(file, dict) else {key: file}
            yield from ((("tasks", name, *place), one) for place, one in files.items() if isinstance(one, str))
    encoders = values.get("encoders")
    for name, encoder in encoders.items() if isinstance(encoders, dict) else ():
        pretraining = encoder.get("pretrain") if isinstance(encoder, dict) else None
        texts = pretraining.get("files") if isinstance(pretraining, dict) else None
        for number, file in enumerate(texts if isinstance(texts, list) else ()):
            if isinstance(file, str):
                yield ("encoders", name, "pretrain", "files", number), file


def check_entries(values: dict[str, Any]) -> Iterator[Problem]:
    """Yield what DVC cannot hash in the folders that stages depend on; `values` need not be right otherwise."""
    folders = {f"data/{values.get('competition')}": ("competition",), "models": ("encoders",)}
    for folder, location in folders.items():
        walk = os.walk(folder) if os.path.isdir(folder) else ()
        entries = sorted(os.path.join(root, name) for root, *names in walk for name in itertools.chain(*names))
        for must, is_right in HASHABLE.items():
            if wrong := [entry for entry in entries if not is_right(entry)]:
                first = os.fsencode(wrong[0]).decode("utf-8", "backslashreplace")
                text = (
                    f"DVC cannot hash {folder}: {must}, got {len(wrong)} others, first '{first}'. Rename or remove it."
                )
                yield Problem(location, text, "E202")


def _has_utf8_name(path: str) -> bool:
    try:
        return bool(os.fsencode(path).decode("utf-8"))
    except UnicodeDecodeError:
        return False


HASHABLE: dict[str, Callable[[str], bool]] = {
    "names in it must be UTF-8": _has_utf8_name,
    "it must hold no .dvcignore (move its lines to ./.dvcignore)": lambda path: os.path.basename(path) != ".dvcignore",
    "it must hold files and folders": lambda path: os.path.isfile(path) or os.path.isdir(path),
}
