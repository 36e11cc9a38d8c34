"""What doctor finds after kills and on bad disks, and that dvc repro then brings everything back without training."""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from pipeline import cli
from pipeline.checks import doctor, dvc_state
from pipeline.checks.doctor import Action, Finding, examine
from pipeline.checks.verify import Checked, Remedy
from pipeline.params.root import Run
from pipeline.units.checkpoints import Checkpoints
from pipeline.units.execution import run_units
from pipeline.units.stage import Stage
from pipeline.units.unit import Unit
from tests.conftest import Project

GONE = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True).stdout


def invoke(*arguments: str):
    return CliRunner().invoke(cli.app, list(arguments))


def flip_a_byte(path: Path) -> None:
    """Change a byte as a bad disk does: size, time and mode stay."""
    status = path.stat()
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    with path.open("r+b") as file:  # in place: all links see it
        file.write(content)
    path.chmod(status.st_mode)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.fixture
def project(finished: Project, tmp_path, monkeypatch) -> Project:
    clone = finished.clone(tmp_path / "project")
    monkeypatch.chdir(clone.folder)
    return clone


@pytest.fixture
def unit(tmp_path, monkeypatch) -> Unit:
    """A finished unit, and beside it what a killed run left."""
    monkeypatch.chdir(tmp_path)
    unit = Unit("bert/f0", {"n": 1})
    run = Run(backend="sequential", n_workers=1, device="cpu")
    run_units([(unit, lambda workspace: (workspace.result / "x").write_text("whole"), {})], run=run, stage=Stage("s"))
    return unit


def bad_lock_file(kind: str) -> bytes:
    lock = Path("dvc.lock").read_bytes()
    return {
        "empty": b"",
        "torn": lock[: lock.index(b"deps:") + 9],
        "merge": b"<<<<<<< HEAD\n" + lock + b"=======\n" + lock + b">>>>>>> other\n",
        "bytes": b"\xff\xfe" + lock,
    }[kind]


@pytest.mark.parametrize(
    "kind", ["empty", *(pytest.param(k, marks=pytest.mark.slow) for k in ("torn", "merge", "bytes"))]
)
def test_F6_an_unreadable_dvc_lock_is_moved_away_and_nothing_runs_again(
    finished: Project, project: Project, kind: str
) -> None:
    """`doctor --fix` puts an empty, torn or half-merged dvc.lock and a corrupt rwlock right; then no stage runs again."""
    content = bad_lock_file(kind)
    Path("dvc.lock").write_bytes(content)
    Path(".dvc/tmp/rwlock").write_text('{"write": {', encoding="utf-8")
    assert project.run("dvc", "repro").returncode != 0
    result = invoke("doctor")
    merging = ", with the marks of a merge" if kind == "merge" else ""
    line = f"dvc.lock: is not readable ({len(content)} bytes{merging}). To do: move it to dvc.lock.bad-1; then run dvc repro"
    assert result.exit_code == 4 and line in result.output and "nothing will be retrained" in result.output
    assert Path("dvc.lock").read_bytes() == content, "only --fix touches it"
    assert invoke("doctor", "--fix").exit_code == 0
    assert Path("dvc.lock.bad-1").read_bytes() == content
    assert project.repro() == []
    assert project.submission() == finished.submission()
    assert invoke("doctor").output == "0 found, 0 put right. nothing is wrong\n"


@pytest.mark.parametrize("text", ["", "{", "5", '{"write": {"/x": {"pid": "a"}}}'])
def test_F6_an_unreadable_rwlock_is_removed(project: Project, text: str) -> None:
    """A corrupt `.dvc/tmp/rwlock`, on which every DVC command fails, is removed."""
    Path(".dvc/tmp/rwlock").write_text(text, encoding="utf-8")
    assert ".dvc/tmp/rwlock: is not readable" in invoke("doctor", "--fix").output
    assert not Path(".dvc/tmp/rwlock").exists() and invoke("doctor").exit_code == 0


@pytest.mark.parametrize("pid", [os.getpid(), int(GONE)], ids=["alive", "gone"])
def test_F6_notes_of_a_dvc_that_is_gone_are_removed_and_those_of_a_living_one_respected(
    project: Project, pid: int, caplog
) -> None:
    """An rwlock that names a dead process is removed; while a process that it names lives, nothing of DVC's is touched."""
    note = {"write": {str(Path("out").absolute()): {"pid": pid, "cmd": "dvc repro"}}}
    Path(".dvc/tmp/rwlock").write_text(json.dumps(note), encoding="utf-8")
    Path("dvc.lock").write_bytes(b"")
    output = invoke("doctor", "--fix").output
    if pid == os.getpid():
        assert "0 found" in output and "dvc is at work" in caplog.text and Path("dvc.lock").exists()
        refused = invoke("verify")
        assert refused.exit_code == 4 and f"dvc is at work (process {pid})" in refused.output
    else:
        assert f"names processes that are gone: {pid}" in output and "2 found, 2 put right" in output


def test_F6_the_number_of_a_dead_dvc_that_is_somebody_elses_by_now_holds_nobody_up(project: Project, caplog) -> None:
    """A process younger than DVC's note is not the one named in it: after a power cut numbers are handed out again."""
    note = {"write": {str(Path("out").absolute()): {"pid": os.getpid(), "cmd": "dvc repro"}}}
    Path(".dvc/tmp/rwlock").write_text(json.dumps(note), encoding="utf-8")
    os.utime(".dvc/tmp/rwlock", (1e9, 1e9))
    assert f"names processes that are gone: {os.getpid()}" in invoke("doctor", "--fix").output
    assert "dvc is at work" not in caplog.text and not Path(".dvc/tmp/rwlock").exists()


@pytest.fixture
def small_project(tmp_path, monkeypatch) -> Path:
    """An empty project of git and DVC."""
    monkeypatch.chdir(tmp_path)
    for command in (["git", "init", "-q"], [sys.executable, "-m", "dvc", "init", "-q"]):
        subprocess.run(command, check=True)
    return tmp_path


def test_F6_an_index_lock_that_git_left_is_found_unless_somebody_has_it_open(small_project: Path) -> None:
    """A killed git or dvc leaves `.git/index.lock`, on which `dvc repro` fails; it is removed when nobody has it open."""
    lock = Path(".git/index.lock")
    with lock.open("w"):
        assert "index.lock" not in invoke("doctor", "--fix").output and lock.exists()
    assert ".git/index.lock: was left by a git or dvc that is gone" in invoke("doctor", "--fix").output
    assert not lock.exists() and "nothing is wrong" in invoke("doctor").output


@pytest.mark.parametrize("damage", ["overwritten", "cut off"])
def test_F6_a_damaged_database_of_dvc_is_found_and_made_anew(small_project: Path, damage: str) -> None:
    """DVC's database of files' digests, without which no DVC command starts, is found and removed; DVC makes it again."""
    # In a process of its own: sqlite would share what an open connection of this one knows of the file, cut off or not.
    ask = "from dvc.repo import Repo; print(Repo('.').site_cache_dir)"
    folder = subprocess.run([sys.executable, "-c", ask], check=True, capture_output=True, text=True).stdout.strip()
    database = Path(folder) / "links" / "cache.db"
    content = database.read_bytes()
    for path in database.parent.glob("cache.db-*"):
        path.unlink()
    database.write_bytes(b"x" * len(content) if damage == "overwritten" else content[: len(content) // 2])
    refused = invoke("verify")
    assert refused.exit_code == 4 and "E402" in refused.output and "stitchfold doctor --fix" in refused.output
    assert "DVC's database of digests is damaged (cache.db: " in invoke("doctor").output and database.exists()
    assert "1 found, 1 put right" in invoke("doctor", "--fix").output
    assert "nothing is wrong" in invoke("doctor").output


@pytest.mark.parametrize("linked", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["copies", "links"])
def test_F10_damage_that_dvc_does_not_see_is_found_and_brought_back(
    finished: Project, project: Project, linked: bool
) -> None:
    """Flipped bytes in artifacts, linked models and DVC objects, on which DVC is silent, are found and made again."""
    repo = dvc_state.open_project()
    objects = {digest: path for path, digest in dvc_state.cached_objects(repo)}
    locked = dict(dvc_state.locked_files(repo))
    folds, table = Path("out/split/folds.parquet"), Path("out/prepare/table.parquet")
    damaged, named = [folds, objects[locked[table]]], [folds, objects[locked[table]]]
    if linked:  # as `dvc repro` leaves a model: one file under three names
        model = Path("out/finetune/bert/models/intent-r0-f0/model.safetensors")
        models = Path(".stitchfold").rglob(model.name)
        stored = next(path for path in models if path.read_bytes() == model.read_bytes())
        for copy in (model, stored):
            copy.unlink()
            os.link(objects[locked[model]], copy)
        damaged, named = [*damaged, model], [*named, model.parent, stored.parent, objects[locked[model]]]
    assert project.repro() == [], "DVC now knows size and time of the copy"
    for path in damaged:
        flip_a_byte(path)
    assert project.repro() == [], "DVC is silent"
    wrong = invoke("verify")
    assert wrong.exit_code == 4 and "E402" in wrong.stderr
    assert all(f"{path}: " in wrong.stdout for path in named)
    assert invoke("doctor", "--fix").exit_code == 0
    assert table.exists(), "only its object was damaged"
    ran = set(project.repro())
    assert "prepare" in ran and ("finetune@bert" in ran) is linked
    assert not {"split", "finetune@electra", "baseline"} & ran
    assert project.submission() == finished.submission()
    assert "digests match" in invoke("verify").output
    if linked:
        units = json.loads(Path(".stitchfold/last_run/finetune-bert.json").read_text(encoding="utf-8"))
        assert (units["computed"], units["reused"]) == (1, 1), "all copies of one model were one file"


def test_F9_I4_damaged_results_and_checkpoints_are_set_aside_and_the_older_one_taken(unit: Unit) -> None:
    """`doctor --fix` sets a damaged result or checkpoint aside, and the unit goes on from the generation before it."""
    checkpoints = Checkpoints(unit.folder / "checkpoints")
    for step in (10, 20):
        checkpoints.save(step, {"step": step, "weights": torch.ones(3)})
    flip_a_byte(unit.result / "x")
    flip_a_byte(unit.folder / "checkpoints" / "step-000000020" / "tensors.safetensors")
    result = invoke("doctor")
    assert (
        result.exit_code == 4 and result.output.count("(bert/f0) does not match its manifest. To do: set it aside") == 2
    )
    assert unit.result.exists()
    assert "2 found, 2 put right" in invoke("doctor", "--fix").output
    assert list(unit.folder.glob("result.corrupt-*")) and not unit.result.exists()
    assert checkpoints.load()["step"] == 10


@pytest.fixture
def precious(tmp_path: Path) -> Path:
    """A folder outside of the project, such that everything that doctor looks for could be found in it."""
    folder = tmp_path / "precious"
    for name in (
        ".result.1/x",
        "result/x",
        "checkpoints/.step-000000030.1.tmp/x",
        "checkpoints/step-000000010/x",
        "f0/x",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("precious", encoding="utf-8")
    (folder / "f0" / "manifest.json").write_text('{"x": "another digest"}', encoding="utf-8")
    (folder / "notes").write_text("precious", encoding="utf-8")
    (folder / "notes.sha256").write_text("another  notes", encoding="utf-8")
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize(
    "name", ["", "result", "checkpoints", ".result.5", "checkpoints/step-000000010", "plain/result"]
)
def test_F6_doctor_follows_no_link_out_of_the_store(precious: Path, unit: Unit, name: str) -> None:
    """Where a unit or a part of it is a link nothing behind it is touched: at most the link is removed or set aside."""
    before, folder = content(precious), unit.folder
    if name.startswith("plain"):  # the link is further up
        shutil.rmtree(unit.result)
        folder.rename(precious.parent / "moved")
        folder.symlink_to(precious.parent / "moved")
        (folder / "result").symlink_to(precious / "result")
    else:
        link = folder / name
        link.parent.mkdir(exist_ok=True)
        if link.exists():
            shutil.rmtree(link)
        link.symlink_to(precious / name.replace(".result.5", "result"))
    said = invoke("doctor", "--fix").output
    assert content(precious) == before
    assert "0 found, 0 put right" in invoke("doctor").output, said


def test_F6_doctor_follows_neither_links_nor_dots_out_of_out(project: Project, precious: Path) -> None:
    """Damage behind a link in `out/`, or under `../` in a tampered list of DVC, costs the link or the list alone."""
    models = Path("out/finetune/bert/models")
    shutil.rmtree(models)
    models.symlink_to(precious, target_is_directory=True)
    repo = dvc_state.open_project()
    out = next(out for out in repo.index.outs if str(out) == "out/split")
    listing = Path(repo.cache.local.oid_to_path(out.hash_info.value))
    entries = json.loads(listing.read_bytes())
    entries[0]["relpath"] = "../../../precious/notes"
    forged = json.dumps(entries).encode()
    digest = f"{hashlib.md5(forged).hexdigest()}.dir"
    lock = Path("dvc.lock").read_text(encoding="utf-8").replace(out.hash_info.value, digest)
    Path("dvc.lock").write_text(lock, encoding="utf-8")
    named = Path(repo.cache.local.oid_to_path(digest))
    named.parent.mkdir(exist_ok=True)
    named.write_bytes(forged)
    before = content(precious)
    said = invoke("doctor", "--fix").output
    assert f"{models}: is a link to what does not match its manifest. Done: remove the link alone" in said
    assert "lists files outside the folder that it stands for. Done: remove it" in said
    assert content(precious) == before and not models.is_symlink() and not named.exists()


def test_F6_what_lies_outside_is_named_and_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precious: Path
) -> None:
    """A finding outside of project, store and cache is told with the advice to look at it, and never put right."""
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.setattr(doctor, "_examine", lambda: [Finding(Path("../precious/notes"), "is damaged", Action.REMOVE)])
    before = content(precious)
    result = invoke("doctor", "--fix")
    assert (
        "lies outside the project: nothing is touched there. To do: look at it, and remove it by hand" in result.output
    )
    assert result.exit_code == 4 and content(precious) == before
    assert not Finding(precious / "notes", "", Action.SET_ASIDE).repair() and content(precious) == before


def test_F1_what_a_killed_process_left_half_written_is_removed(unit: Unit) -> None:
    """Half-written results, checkpoints and files of processes that are gone are found with their size and removed."""
    left = [
        unit.folder / f".result.{GONE.strip()}",
        unit.folder / "checkpoints" / f".step-000000030.{GONE.strip()}.tmp",
    ]
    for folder in left:
        folder.mkdir(parents=True)
        (folder / "x").write_bytes(b"x" * 2000)
    (unit.folder / ".unit.json.1.tmp").touch()
    result = invoke("doctor")
    assert result.output.count("was left by a process that is gone (2.0 kB)") == 2
    assert "3 found, 3 put right" in invoke("doctor", "--fix").output
    assert not any(folder.exists() for folder in left) and unit.result.exists()


def test_F1_what_a_killed_write_left_in_out_is_removed(project: Project) -> None:
    """A file that was being written in `out/` when its process was killed has another name, and doctor removes it."""
    left = Path("out/plots/.scores.csv.1234.tmp")
    left.touch()
    assert f"{left}: was left by a process that is gone" in invoke("doctor", "--fix").output
    assert not left.exists()


def test_I6_a_unit_that_somebody_writes_is_not_touched_even_if_taken_up_in_between(unit: Unit) -> None:
    """What a living process holds is not looked at, nor repaired when it was taken up after the look."""
    half = unit.folder / ".result.1"
    half.mkdir()
    finding = next(iter(examine()))
    with (unit.folder / "lock").open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert "0 found" in invoke("doctor", "--fix").output
        assert finding.repair() is False
    assert half.exists()
    assert finding.repair() is True and not half.exists()


def test_what_doctor_removes_goes_by_the_remedy_and_not_by_the_words(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(dvc_state, "open_project", object)
    for name in ("busy", "rwlock_problem", "left_git_lock"):
        monkeypatch.setattr(dvc_state, name, lambda repo: None)
    by_repro = Checked(Path("a"), "is old. Run stitchfold doctor --fix, then dvc repro.", Remedy.REPRO)
    by_doctor = Checked(Path("b"), "is damaged in some way", Remedy.DOCTOR)
    monkeypatch.setattr(doctor, "check_artifacts", lambda: [by_repro, by_doctor, Checked(Path("c"))])
    for name in ("check_objects", "check_outs"):
        monkeypatch.setattr(doctor, name, lambda repo, md5: ())
    assert [finding.path for finding in examine()] == [Path("b")]
