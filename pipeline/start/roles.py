"""Which file of a competition is what: training, test and sample files, one of each per task."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.errors.exceptions import DataError
from pipeline.start.files import RawFile, find_files, has_header, is_number, read_head, with_names

TRAIN, TEST = {"train", "training"}, {"test", "testing"}
SPARE = {"dev", "val", "valid", "validation", "unlabelled", "readme", "license", "description"}
SAMPLE = re.compile("sample|submi")
SAME = 0.5  # share of a sample's ids that the test file's first rows must have
# A question and its possible answers -> the answer, or None where nobody can be asked.
Ask = Callable[[str, Sequence[str]], str | None]


@dataclass(frozen=True)
class TaskFiles:
    """The files of one task, and what is to be said about the choice."""

    name: str
    train: RawFile
    test: RawFile
    sample: RawFile | None
    notes: list[str] = field(default_factory=list)


def find_tasks(
    folder: Path, *, train: Path | None, test: Path | None, sample: Path | None, ask: Ask
) -> list[TaskFiles]:
    """Return the tasks of a folder: one, or one for each training file that shares its prefix with a test file.

    `train`, `test` and `sample` are those that the user names.

    Raises:
        DataError: if there is no training or test file, or several that could be it; says which.
    """
    files = find_files(folder)
    samples = [path for path in files if SAMPLE.search(path.name.lower()) and not _words(path) & TRAIN]
    samples = [sample] if sample else samples
    rows = [path for path in files if path not in samples and not _words(path) & SPARE]
    trains = [train] if train else [path for path in rows if _words(path) & TRAIN]
    others = [path for path in rows if path not in trains]
    pairs = {_prefix(path): [o for o in others if _prefix(o).startswith(_prefix(path))] for path in trains}
    if train is None and len(trains) > 1 and len(pairs) == len(trains) and all(pairs) and all(pairs.values()):
        return [_task(name, path, pairs[name], []) for path, name in zip(trains, pairs, strict=True)]
    if not trains:
        trains, others = _by_columns(folder, others if test is None else [*others, test])
    if len(trains) > 1:
        answer = ask("Which is the training file?", [str(path) for path in trains])
        if answer is None:
            named = " and ".join(map(str, trains))
            raise DataError(f"{folder}: must have one training file, got {named}. Name it: --train {trains[0]}.")
        trains = [Path(answer)]
    tests = [test] if test else [path for path in others if _words(path) & TEST] or others
    if not tests:
        got = [path.name for path in files][:10]
        raise DataError(f"{folder}: must have a test file, got {got}. Put it there, or name it: --test <file>.")
    return [_task("main", trains[0], tests, samples)]


def _words(path: Path) -> set[str]:
    return set(re.findall("[a-z]+", path.name.lower().partition(".")[0]))


def _prefix(path: Path) -> str:
    """Return what a name says beside its role, `ocnli` of `OCNLI_train.csv`."""
    words = re.findall("[a-z0-9]+", path.name.lower().partition(".")[0])
    return "_".join(word for word in words if word not in TRAIN | TEST)


def _by_columns(folder: Path, paths: list[Path]) -> tuple[list[Path], list[Path]]:
    """Return the training files and the others where no name tells: they have columns that another file lacks."""
    tests = [path for path in paths if _words(path) & TEST]
    widths = {path: len(read_head(path).columns) for path in paths}
    least = min((widths[path] for path in tests or paths), default=0)
    trains = [path for path in paths if widths[path] > least and path not in tests]
    if not trains:
        got = [path.name for path in paths][:10] or "no csv, tsv, jsonl, json or parquet file"
        raise DataError(f"{folder}: must have a training file, got {got}. Put it there, or name it: --train <file>.")
    return trains, [path for path in paths if path not in trains]


def _task(name: str, train_path: Path, test_paths: Sequence[Path], sample_paths: Sequence[Path]) -> TaskFiles:
    """Return the files of a task, read; of several test files the first that goes with training file and sample."""
    samples = [_named(read_head(path)) for path in sample_paths]
    chosen, problem = None, None
    for path in test_paths:
        try:
            train, test = _alike(read_head(train_path), read_head(path))
        except DataError as error:
            problem = problem or error
            continue
        known = set(map(str, train.columns)) & set(map(str, test.columns))
        matching = [sample for sample in samples if fits(sample, train, test)]
        if known and (matching or chosen is None or not samples):
            chosen = train, test, next(iter(matching), None)
        if known and (matching or not samples):
            break
    if chosen is None:
        wanted = f"{train_path}: must share columns with the test file, but {[str(path) for path in test_paths]} do not"
        raise problem or DataError(f"{wanted}. Name the files: --train and --test.", code="E303")
    train, test, sample = chosen
    if samples and sample is None:
        raise DataError(
            f"{samples[0].path}: must have the ids of {test.path}, got {samples[0].columns} "
            f"and ids such as {samples[0].rows.iloc[0, 0]!r}. Download both again, or name it: --sample <file>.",
            code="E306",
        )
    spare = [str(path) for path in test_paths if path != test.path]
    notes = [f"{', '.join(spare)} could be the test file too, of another phase perhaps"] if spare else []
    return TaskFiles(name, train, test, sample, notes)


def _alike(train: RawFile, test: RawFile) -> tuple[RawFile, RawFile]:
    """Return both files as read in one form: params.yaml says it once for both."""
    if train.form != test.form:
        problem = None
        for form in (train.form, test.form):
            try:
                pair = read_head(train.path, form), read_head(test.path, form)
            except DataError as error:
                problem = problem or error
            else:
                train, test = pair
                break
        else:
            text = f"{test.path}: must be written as {train.path.name} is: {problem} Rewrite one of them."
            raise DataError(text, code="E307")
    header = has_header(train) or bool(_shared_names(train, test))
    return with_names(train, header), with_names(test, header)


def _shared_names(train: RawFile, test: RawFile) -> set[str]:
    """Return what stands in the first row of both files and nowhere else in the training file."""
    shared = {name for name in set(train.rows.iloc[0]) & set(test.rows.iloc[0]) if name and not is_number(name)}
    return {name for name in shared if not (train.rows[1:] == name).any(axis=None)}


def _named(sample: RawFile) -> RawFile:
    return with_names(sample, has_header(sample))


def id_places(sample: RawFile, test: RawFile) -> tuple[str | int, str | int] | None:
    """Return the column of a sample, and that of the test file, that have the same ids; None if none have."""
    for column in sample.columns:
        ids = sample.rows[column]
        for other in test.columns:
            if ids.is_unique and ids[: len(test.rows)].isin(test.values(other)).mean() >= SAME:
                return column, other
    return None


def fits(sample: RawFile, train: RawFile, test: RawFile) -> bool:
    """Return whether a sample is that of a test file: by its ids, or where these have no column by the rows' number."""
    if id_places(sample, test):
        return True
    is_counted = counts_from(sample) is not None or len(sample.columns) == 1
    return is_counted and not (sample.is_whole and test.is_whole and len(sample.rows) != len(test.rows))


def answer_columns(sample: RawFile, test: RawFile) -> list[str | int]:
    """Return the columns of a sample beside its ids, or beside the numbers of its rows."""
    ids = id_places(sample, test)
    is_counted = ids is None and len(sample.columns) > 1 and counts_from(sample) is not None
    place = ids[0] if ids else sample.columns[0] if is_counted else None
    return [column for column in sample.columns if column != place]


def counts_from(sample: RawFile) -> int | None:
    """Return the number from which a sample's first column counts the rows, or None if it does not."""
    first = sample.rows.iloc[:, 0]
    start = next((start for start in (0, 1) if first.iloc[0] == str(start)), None)
    counted = start is not None and first.tolist() == [str(number) for number in range(start, start + len(first))]
    return start if counted else None
