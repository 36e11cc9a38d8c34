"""The graph as DVC runs it: each kind of edit reruns exactly the stages that it must, and nothing is computed twice."""

import json
import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.conftest import ROOT, Project

AFTER_STITCH = {"stack", "submit", "report"}
AFTER_FINETUNE = {"stitch", *AFTER_STITCH}


@pytest.fixture(scope="module")
def editable(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    return finished.clone(tmp_path_factory.mktemp("edits") / "project")


def test_F3_commands_are_one_simple_command_and_no_out_switches_the_run_cache_off() -> None:
    """A shell that runs several commands would stand between dvc and the stage; without run-cache a lost lock retrains."""
    stages = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    for name, stage in stages.items():
        stage = stage.get("do", stage)
        assert re.fullmatch(r"python -m stages\.\w+( \$\{key\})?", stage["cmd"]), name
        assert all(isinstance(out, str) for out in stage["outs"]), name


def test_nothing_changed_runs_nothing(editable: Project) -> None:
    assert editable.repro() == []


def test_what_reaches_no_result_runs_only_the_recipes(editable: Project) -> None:
    """A comment, a docstring, a loss that nobody names, weights for nobody, and where work runs."""
    loop = "pipeline/training/loop.py"
    editable.edit(loop, "import logging", "# a comment\nimport logging")
    editable.edit(loop, '"""The training loop, written once', '"""The loop, written once')
    editable.edit("pipeline/training/losses/focal.py", "(1 - log", "(1.0 - log")
    editable.edit("models/README.md", "", "new weights for nobody")
    editable.edit("params.yaml", "device: cpu}", "device: cpu, n_workers: 1}")
    assert editable.repro() == ["recipes"]


def test_what_a_board_said_runs_the_report_alone_which_declares_it(editable: Project) -> None:
    scored = "date,file,model,message,estimate,public\n2026-11-27,sha256:ab,bert,first,0.5,0.4\n"
    (editable.folder / "boards" / "tiny.csv").write_text(scored, encoding="utf-8")
    assert editable.repro(STITCHFOLD_AUDIT="1") == ["report"]
    assert 'id="board"' in (editable.folder / "out" / "report" / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("n_filters: 4}", "n_filters: 5}", {"recipes", *AFTER_FINETUNE}),
        pytest.param(
            "augment: {}",
            "augment: {steps: [{augmenter: random_words, row_ratio: 0.2}]}",
            {"recipes", "augment", "finetune@bert", "finetune@electra", *AFTER_FINETUNE},
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "n_workers: 1}",
            "n_workers: 1, budget_hours: 9}",
            {"recipes", "baseline", "finetune@bert", "finetune@electra", *AFTER_FINETUNE},
            marks=pytest.mark.slow,
        ),
    ],
    ids=["head", "copies", "budget"],
)
def test_an_edit_of_params_reruns_exactly_what_it_reaches(
    editable: Project, old: str, new: str, expected: set[str]
) -> None:
    editable.edit("params.yaml", old, new)
    assert set(editable.repro()) == expected


def test_an_edit_of_the_ladder_trains_nothing(editable: Project) -> None:
    editable.edit("params.yaml", "[mean, logistic]", "[rank_mean, logistic]")
    assert set(editable.repro("stack")) == {"recipes", "stack"}  # what follows a stack that ran is the head's case


def test_one_encoders_rate_trains_that_one_and_changed_back_computes_no_unit_again(editable: Project) -> None:
    rate = "    learning_rate: 2e-3\n    max_length: 24\n    head"
    editable.edit("params.yaml", "    max_length: 24\n    head", rate)
    assert set(editable.repro("baseline", "stitch")) == {"recipes", "finetune@electra", "stitch"}
    editable.edit("params.yaml", rate, "    max_length: 24\n    head")
    editable.forget("finetune@electra")  # without DVC's memory the units are still found
    assert "finetune@electra" in editable.repro("--no-run-cache", "finetune@electra")
    record = json.loads((editable.folder / ".stitchfold/last_run/finetune-electra.json").read_text(encoding="utf-8"))
    assert (record["computed"], record["reused"]) == (0, 2)


def test_baselines_come_before_encoders_and_these_in_the_order_of_params(editable: Project) -> None:
    """What a time budget leaves out are the last ones."""
    names = [("  bert:", "  zebra:"), ("  electra:", "  ape:")]
    for old, new in names:
        editable.edit("params.yaml", old, new)
    stages = re.findall(r"Running stage '([\w@]+)'", editable.run("dvc", "repro", "--dry", "--force").stdout)
    for old, new in names:
        editable.edit("params.yaml", new, old)
    assert [stages.index(name) for name in ("baseline", "finetune@zebra", "finetune@ape", "stitch")] == list(
        range(stages.index("baseline"), stages.index("baseline") + 4)
    )


def test_a_new_encoder_trains_only_itself(editable: Project) -> None:
    source = "{name: from_config, vocab_size: 300, hidden_size: 16, n_layers: 1, n_heads: 2}"
    encoder = f"\n  third:\n    source: {source}\n    max_length: 24\n"
    editable.edit("params.yaml", "\nstitch:", f"{encoder}stitch:")
    assert set(editable.repro("finetune")) == {"recipes", "finetune@third"}


@pytest.mark.slow
def test_D23_dvc_records_nothing_of_a_stage_whose_params_were_edited_while_it_ran(
    finished: Project, tmp_path: Path
) -> None:
    """DVC takes the edit for what a stage was made from, and so takes the stage for new; a stage that fails it runs again."""
    project = finished.clone(tmp_path / "project")
    saved = (
        "Path('params.yaml').write_text(Path('params.yaml').read_text().replace('n_bootstrap: 50', 'n_bootstrap: 60'))"
    )
    project.edit(
        "stages/stack.py",
        "threadpool_limits(1):\n",
        f"threadpool_limits(1):\n        from pathlib import Path; {saved}\n",
    )
    failed = project.run("dvc", "repro", "stack")
    assert failed.returncode != 0 and "E312" in failed.stderr and "stack.n_bootstrap: 50 → 60" in failed.stderr
    assert "n_bootstrap: 60" not in (project.folder / "dvc.lock").read_text(encoding="utf-8").partition("\n  stack:")[2]
    assert "stack" in project.repro("stack")
    assert (project.folder / "out" / "inputs" / "stack.json").exists()


def test_metrics_plots_and_experiments_work(editable: Project) -> None:
    assert "estimate" in editable.run("dvc", "metrics", "show").stdout
    assert editable.run("dvc", "plots", "show", "-o", "plots").returncode == 0
    assert "finetune@bert" in editable.run("dvc", "dag").stdout


def test_each_weight_lies_on_disk_once(finished: Project) -> None:
    weights = list(Path(finished.folder).rglob("model.safetensors"))
    assert len(weights) == 2 * 6, "in the store and under out/, for two encoders and a stitched model of two folds"
    assert len({path.stat().st_ino for path in weights}) == 6
    inodes = {path.stat().st_ino for path in (finished.folder / ".dvc" / "cache").rglob("*") if path.is_file()}
    assert {path.stat().st_ino for path in weights} <= inodes
