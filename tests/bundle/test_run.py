"""A bundle by itself: elsewhere, alone, without a network, on tests of any size, against a clock, whatever fails."""

import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.artifacts.paths import predictions_path
from pipeline.artifacts.predictions import probabilities_of, read_predictions
from pipeline.artifacts.table import read_table
from pipeline.bundle import run
from pipeline.bundle.bundle import ENSEMBLE, Bundled, bundle
from pipeline.bundle.predictor import Bundle, load_bundle
from pipeline.bundle.run import Clock, Run, Watch, main
from pipeline.bundle.terminal import members_text
from pipeline.errors.exceptions import DataError
from pipeline.params.loading import load_params
from tests.conftest import Project

TASK, PAIR = "intent", "bert+electra+cnn"
MEMBERS = {"tfidf", "bert", "electra", PAIR}
AT_HOME = ("pydantic", "dvc", "typer", "ruamel", "accelerate", "opencc", "datasketch", "lightgbm", "jieba", "gensim")


@pytest.fixture(scope="module")
def written(finished: Project, tmp_path_factory) -> tuple[Bundled, Path]:
    """The ensemble's bundle and its folder; not to be changed."""
    folder = tmp_path_factory.mktemp("written") / "bundle"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(finished.folder)
        return bundle(load_params(), model=ENSEMBLE, task=TASK, folder=folder, check_rows=0), folder


@pytest.fixture
def folder(written: tuple[Bundled, Path]) -> Path:
    return written[1]


@pytest.fixture
def test_file(finished: Project) -> Path:
    return finished.folder / "data/tiny/test.csv"


def alone(code: str, **options) -> subprocess.CompletedProcess[str]:
    """Run code in a Python that knows no path but its libraries', without what stays at home or, where allowed, a network."""
    blocked = f"import sys; sys.modules.update(dict.fromkeys({AT_HOME}))\n"
    command = [sys.executable, "-I", "-c", blocked + code]
    cut = ["unshare", "-rn"] if shutil.which("unshare") else []
    if subprocess.run([*cut, "true"], capture_output=True).returncode:
        cut = []
    return subprocess.run([*cut, *command], capture_output=True, text=True, **options)


def test_alone_elsewhere_read_only_and_without_a_network_it_writes_the_submission_of_the_project(
    finished: Project, folder: Path, test_file: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    for path in [copy, *copy.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = sorted(copy.rglob("*"))
    (tmp_path / "elsewhere").mkdir()
    arguments = ["predict.py", "--input", str(test_file), "--output", "found.csv", "--device", "cpu"]
    done = alone(
        f"import runpy; sys.argv = {arguments}; runpy.run_path({str(copy / 'predict.py')!r}, run_name='__main__')\n"
        "import pipeline; print(pipeline.__path__[0])",
        cwd=tmp_path / "elsewhere",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(copy / "assets/pipeline")
    assert (tmp_path / "elsewhere/found.csv").read_bytes() == finished.submission()
    assert sorted(copy.rglob("*")) == before and list((tmp_path / "elsewhere").iterdir()) == [
        Path(tmp_path / "elsewhere/found.csv")
    ]


def test_it_predicts_what_the_project_predicted_and_has_each_tensor_once(
    finished: Project, written: tuple[Bundled, Path], monkeypatch
) -> None:
    monkeypatch.chdir(finished.folder)
    bundled, folder = written
    loaded, rows = load_bundle(folder), read_table().select(TASK, "test")
    stored = read_predictions(predictions_path("stack", ENSEMBLE, TASK), manifest=None)
    known = probabilities_of(stored, "test", rows["row_id"].tolist(), kind=loaded.kind)
    np.testing.assert_allclose(loaded.predict_probabilities(rows["text"].tolist()), known, atol=1e-6)
    assert set(loaded.members) == MEMBERS and loaded.members[0] == "tfidf"
    weights = sum(path.stat().st_size for path in Path("out").glob("finetune/*/models/*/model.safetensors"))
    heads = sum(path.stat().st_size for path in Path("out").glob("stitch/*/models/*/model.safetensors"))
    assert sum(path.stat().st_size for path in (folder / "assets/weights").iterdir()) < 1.05 * (weights + heads)
    tried = replace(bundled, seconds=dict.fromkeys(MEMBERS, 0.25), n_rows=16, difference=2e-8)
    text = members_text(tried)
    assert all(name in text for name in MEMBERS) and "250.0" in text and "predicted as in out/ to within 2e-08" in text


@pytest.mark.parametrize("case", ["no rows", "one row", "other rows"])
def test_hidden_tests_of_any_size_and_order_get_a_valid_file(
    folder: Path, test_file: Path, tmp_path, case: str
) -> None:
    rows = pd.read_csv(test_file, dtype=str, keep_default_na=False)
    texts = rows["synthetic_text"].tolist()
    odd = ["", "long " * 3000, "今天" * 2000, "\u0000\ufeff", *texts[::-1], *texts]
    chosen = {"no rows": [], "one row": texts[:1], "other rows": odd}[case]
    ids = [f"hidden-{number}" for number in range(len(chosen))][::-1]
    pd.DataFrame({"id": ids, "synthetic_text": chosen}).to_csv(tmp_path / "test.csv", index=False)
    main(folder, ["--input", str(tmp_path / "test.csv"), "--output", str(tmp_path / "out.csv"), "--device", "cpu"])
    found = pd.read_csv(tmp_path / "out.csv", dtype=str)
    assert list(found) == ["id", "label"] and found["id"].tolist() == ids
    if case == "other rows":
        assert found["label"][4 : 4 + len(texts)].tolist() == found["label"][4 + len(texts) :].tolist()[::-1]


class Time:
    """A clock that goes on only when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def started(folder: Path, monkeypatch):
    """Return what starts a run whose passes take the seconds, or raise the errors, given by member; and what it published."""
    time = Time()
    monkeypatch.setattr(run.time, "monotonic", time)

    def start(takes: dict, *, budget: float = float("inf")) -> tuple[Run, list]:
        loaded, published = load_bundle(folder), []

        def fold_values(self, fold, names, rows, **options) -> dict[str, np.ndarray]:
            for name in names:
                if isinstance(takes.get(name), Exception):
                    raise takes[name]
                time.now += takes.get(name, 0.0)
            if code := options["watch"](np.ones(len(rows), int)).stop_requested_after(len(rows)):
                raise run.InterruptedRun("", code)
            return {name: np.eye(4)[[len(name) % 4] * len(rows)] for name in names}

        def stop_requested_after(self, n_rows: int) -> int | None:
            self.progress(step=n_rows)
            return self.stop_requested()

        monkeypatch.setattr(Watch, "stop_requested_after", stop_requested_after, raising=False)
        monkeypatch.setattr(Bundle, "fold_values", fold_values)
        rows = pd.DataFrame({"row_id": ["a", "b"], "text": ["fine", "weather"], "text_pair": [None, None]})
        begun = Run(loaded, rows, published.append, Clock(budget))
        begun.go()
        return begun, published

    return start


def test_without_time_the_file_is_what_is_predicted_on_average(started, folder: Path) -> None:
    done, published = started({}, budget=0.0)
    assert not done.n_folds and len(published) == 1
    np.testing.assert_allclose(published[0], np.tile(load_bundle(folder).description["average"], (2, 1)))


def test_with_time_every_model_has_a_say_after_one_fold_and_a_file_follows_each(started) -> None:
    done, published = started({})
    assert done.n_folds == {"tfidf": 1, "bert": 2, "electra": 2, PAIR: 2}
    assert len(published) == 1 + 1 + 2, "none, baselines, and each fold of the models that share encoders"


def test_what_takes_too_long_is_left_out_and_the_rest_is_there(started) -> None:
    done, _ = started({PAIR: 500.0}, budget=1000.0)
    assert done.n_folds == {"tfidf": 1, "bert": 1, "electra": 1, PAIR: 1}, (
        "a second fold would take as long as the first"
    )
    done, _ = started({"electra": 500.0}, budget=400.0)
    assert set(done.n_folds) == {"tfidf"}, "a pass that is over time is lost"


@pytest.mark.parametrize(
    "error", [RuntimeError("CUDA error"), MemoryError(), OSError("gone"), DataError("no"), KeyError("x")]
)
def test_an_error_of_one_model_costs_that_model_alone(started, error: Exception) -> None:
    done, _ = started({"electra": error})
    assert set(done.n_folds) == MEMBERS - {"electra"} and done.n_folds["bert"] == 2
    expected = np.mean([np.eye(4)[len(name) % 4] for name in ("bert", PAIR)], axis=0)
    values = {name: done.sums[name] / done.n_folds[name] for name in ("bert", PAIR)}
    np.testing.assert_allclose(done.bundle.combined(values, 2)[0], expected)


def test_a_pass_that_will_not_be_ready_is_ended_before_its_time_is_wasted(monkeypatch) -> None:
    time = Time()
    monkeypatch.setattr(run.time, "monotonic", time)
    watch = Watch(Clock(100.0), np.array([1, 1, 4, 4]))
    watch.progress(step=1)
    assert watch.share == 0.4 and watch.stop_requested() is None, "too early to tell"
    time.now = 30.0
    assert watch.stop_requested() is None, "45 more seconds of 70"
    time.now = 50.0
    assert watch.stop_requested() == 1, "75 more seconds of 50"


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (None, {}, "--input: no such file: .* Name the test file"),
        ("id,text\n1,a\n", {}, "has no column 'synthetic_text'"),
        ("id,synthetic_text\n1,a\n1,b\n", {}, "each id must stand once, got several times: 1 \\('1'\\)"),
        ("id,synthetic_text\n1,a\n", {"--sample": "id,label\n2,x\n"}, "must have the ids of the test file"),
        ("", {}, "must hold at least one row"),
    ],
)
def test_a_test_file_of_another_form_is_refused_and_the_earlier_file_stays(
    folder: Path, tmp_path: Path, caplog, content: str | None, options: dict, message: str
) -> None:
    arguments = ["--input", str(tmp_path / "test.csv"), "--output", str(tmp_path / "out.csv"), "--budget-minutes", "0"]
    for name, text in {"--input": content, **options}.items():
        if text is not None:
            path = tmp_path / ("test.csv" if name == "--input" else "sample.csv")
            path.write_text(text, encoding="utf-8")
            arguments += [name, str(path)]
    (tmp_path / "out.csv").write_text("before")
    with pytest.raises(SystemExit) as ended:
        main(folder, arguments)
    assert ended.value.code == 3 and re.search(message, caplog.text)
    assert (tmp_path / "out.csv").read_text() == "before"


def test_weights_that_do_not_match_the_manifest_are_refused(folder: Path, test_file: Path, tmp_path, caplog) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    weights = copy / "assets/weights/000.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    with pytest.raises(SystemExit) as ended:
        main(copy, ["--input", str(test_file)])
    assert ended.value.code == 3 and "does not match its manifest" in caplog.text


def test_a_sample_of_the_hidden_test_gives_the_order(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "test.csv").write_text("id,synthetic_text\n1,a\n2,b\n", encoding="utf-8")
    (tmp_path / "sample.csv").write_text("id,label\n2,?\n1,?\n", encoding="utf-8")
    files = ["--input", str(tmp_path / "test.csv"), "--sample", str(tmp_path / "sample.csv")]
    main(folder, [*files, "--output", str(tmp_path / "out.csv"), "--budget-minutes", "0"])
    assert pd.read_csv(tmp_path / "out.csv")["id"].tolist() == [2, 1]


def test_members_left_out_are_stacked_anew_with_the_score_that_remains(
    finished: Project, tmp_path, monkeypatch
) -> None:
    monkeypatch.chdir(finished.folder)
    bundled = bundle(
        load_params(), model=ENSEMBLE, task=TASK, folder=tmp_path / "bundle", without=[PAIR, "electra"], check_rows=0
    )
    assert bundled.members == ["tfidf", "bert"] and set(bundled.stacked.costs) == {"tfidf", "bert"}
    assert f"{bundled.stacked.scores['bundle']:.4f} without the others" in members_text(bundled)
    loaded = load_bundle(tmp_path / "bundle")
    assert [stack["members"] for stack in loaded.description["stacks"]] == [["bert", "tfidf"], ["tfidf"]]
    assert len(list((tmp_path / "bundle/assets/encoders").iterdir())) == 2
