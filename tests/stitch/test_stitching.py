"""Stitching over folds: exact, leak-proof, resumable, and nothing computed twice."""

import json
import logging
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import ByT5Tokenizer

from pipeline.artifacts.files import read_json
from pipeline.artifacts.histories import UnitRecord, model_digest, place_of, read_history
from pipeline.artifacts.paths import predictions_path
from pipeline.artifacts.predictions import Predictions, read_predictions, write_predictions
from pipeline.artifacts.table import Folds
from pipeline.base_models.finetuning import finetune
from pipeline.data.class_targets import ClassTargets
from pipeline.data.fold_jobs import fold_jobs
from pipeline.errors.exceptions import DataError, DivergedError, MachineError, ParamsError
from pipeline.experiments.ablate_stitch import ablate_stitch
from pipeline.models.classifier import load_classifier
from pipeline.params.root import Params
from pipeline.recipes.stage_recipes import encoder_recipe, stage_recipe
from pipeline.stitch import stitching
from pipeline.stitch.fold_encoders import fold_base, head_rows
from pipeline.stitch.fold_training import load_stitched, train_stitched
from pipeline.stitch.model import Stitch
from pipeline.stitch.pairs import Judge
from pipeline.stitch.states import Base, Cached, LayerStates, extract
from pipeline.stitch.stitching import stitch
from pipeline.training.epoch_choice import EpochScorer
from pipeline.units.execution import run_units
from pipeline.units.stage import Stage, recorded_runs
from pipeline.units.unit import Unit
from tests.small import make_metric, table_and_folds

ENCODERS = {
    "bert": {"architecture": "bert", "tokenizer": "bpe"},
    "electra": {"architecture": "electra", "tokenizer": "byte_bpe"},
    "roformer": {"architecture": "roformer", "tokenizer": "bpe", "hidden_size": 8},
}
TRAINING = {"epochs": 2, "batch_size": 8, "learning_rate": 5e-3, "head_learning_rate": 5e-3}
MODEL = "bert+electra+cnn"
FINETUNED = Path("out/finetune")
FINE_TUNED, STITCHED = {"n_copies", "n_truncated"}, {"encoders", "features"}


def make_params(training: dict | None = None, device: str = "cpu", **stitched) -> Params:
    small = {"name": "from_config", "vocab_size": 200, "hidden_size": 16, "n_layers": 2, "n_heads": 2}
    training = {**TRAINING, **(training or {})}
    encoders = {
        name: {"source": {**small, **changed}, "max_length": 20, **training} for name, changed in ENCODERS.items()
    }
    pair = {"base": "finetuned", "pairs": [["bert", "electra"]], "heads": {"cnn": {"name": "text_cnn", "n_filters": 4}}}
    task = {"kind": "binary", "metric": "accuracy", "train": "data/small/train.csv", "test": "data/small/test.csv"}
    values = {
        "competition": "small", "seed": 3, "tasks": {"weather": task}, "folds": {"near_duplicate_similarity": None},
        "augment": {}, "training": training, "encoders": encoders, "baselines": {}, "stack": {}, "submit": {},
        "stitch": {**pair, **training, **stitched},
        "run": {"device": device, "n_workers": 1},
    }  # fmt: skip
    return Params.model_validate(values)


TABLE, FOLDS = table_and_folds(n_train=40, n_test=6)
HOLDOUT = FOLDS.rows.assign(fold=FOLDS.rows["fold"].where(FOLDS.rows.index < 36, -1))
FOLDS = replace(FOLDS, rows=HOLDOUT)


def run_finetune(params: Params) -> None:
    for name, settings in params.encoders.items():
        finetune(
            name, TABLE, FOLDS, settings=settings, recipe=encoder_recipe(params, name),
            metrics={task: section.metric for task, section in params.tasks.items()}, seed=params.seed, run=params.run,
            folder=Path("out/finetune") / name,
        )  # fmt: skip


def run_stitch(params: Params, folds: Folds = FOLDS) -> None:
    stitch(params, TABLE, folds, recipe=stage_recipe(params, "stitch"), folder=Path("out/stitch"))


def predictions(model: str = MODEL, folds: Folds = FOLDS) -> Predictions:
    return read_predictions(predictions_path("stitch", model, "weather"), manifest=folds.digest)


def computed() -> dict[str, int]:
    """Return how many units each step of the last runs computed."""
    runs = [run for run in recorded_runs() if run.stage.kind.startswith("stitch-")]
    return {run.stage.name.removeprefix("stitch-"): run.computed for run in runs}


def job(fold: int = 0):
    return next(fold_job for fold_job in fold_jobs(TABLE, FOLDS, seed=3) if fold_job.fold == fold)


def base_of(encoder: str, params: Params, fold: int = 0) -> Base:
    return fold_base(
        FINETUNED / encoder, job(fold), read_history(FINETUNED / encoder),
        encoder_settings=params.encoders[encoder], settings=params.stitch,
        code="c",
    )  # fmt: skip


@pytest.fixture(scope="module")
def stitched(tmp_path_factory) -> Path:
    """A folder in which three encoders were fine-tuned and one pair stitched; not to be changed."""
    folder = tmp_path_factory.mktemp("stitched")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run_finetune(make_params())
        run_stitch(make_params())
    return folder


@pytest.fixture(autouse=True)
def _in_a_copy(stitched, tmp_path, monkeypatch) -> None:
    shutil.copytree(stitched, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")


def test_every_row_is_predicted_once_per_fold_that_may_and_nothing_is_left_of_the_states() -> None:
    counts = predictions().rows["split"].value_counts().to_dict()
    assert counts == {"oof": 36, "test": 12, "holdout": 8}
    steps = [json.loads(path.read_text())["step"] for path in Path(".stitchfold/units").glob("*/unit.json")]
    assert "stitch" in steps and "states" not in steps


@pytest.mark.parametrize(("folder", "more"), [("finetune/bert", FINE_TUNED), (f"stitch/{MODEL}", STITCHED)])
def test_every_model_leaves_one_form_of_record_of_its_folds(folder: str, more: set[str]) -> None:
    units = read_history(Path("out") / folder)
    assert [place_of(unit) for unit in units] == [("weather", 0, 0), ("weather", 0, 1)]
    for unit in units:
        assert set(unit) - {"peak_memory"} == UnitRecord.__required_keys__ | more
        assert unit["model"] == model_digest(Path("out") / folder / "models" / f"weather-r0-f{unit['fold']}")
        assert unit["tokens_per_second"] == pytest.approx(unit["n_tokens"] / unit["seconds"])


def test_it_learns_what_can_be_learnt() -> None:
    run_stitch(make_params({"epochs": 40}))
    labels = TABLE.select("weather", "train").set_index("row_id")["label"].astype(int)
    rows = predictions().rows
    decided = predictions().logits[(rows["split"] == "oof").to_numpy()].argmax(axis=1)
    assert (decided == labels.loc[rows.loc[rows["split"] == "oof", "row_id"]].to_numpy()).mean() > 0.8


def test_states_recomputed_in_every_epoch_give_the_same_as_cached_ones() -> None:
    shutil.rmtree(".stitchfold/units")
    cached = predictions().logits
    run_stitch(make_params(features="online"))
    online = predictions().logits
    assert json.loads(Path(f"out/stitch/{MODEL}/history.json").read_text())["units"][0]["features"] == "online"
    np.testing.assert_allclose(online, cached, atol=5e-3)
    assert not np.array_equal(online, cached), "half precision was not at work: this test compares nothing"


def test_a_new_pair_and_a_new_head_train_only_themselves() -> None:
    run_stitch(make_params(pairs="all"))
    assert computed()["heads-weather-r0-f0"] == 2
    heads = {"cnn": {"name": "text_cnn", "n_filters": 4}, "attention": "attention"}
    run_stitch(make_params(heads=heads))
    assert computed()["heads-weather-r0-f0"] == 1
    assert computed()["heads-weather-r0-f1"] == 1


def test_a_new_pair_beside_a_finished_one_needs_the_states_of_its_own_encoders_only() -> None:
    run_stitch(make_params(pairs=[["bert", "electra"], ["bert", "roformer"]], tokenizer="bert"))
    assert computed()["states-weather-r0-f0"] == 4, "of two encoders, of the heads' and the scored rows"
    assert computed()["heads-weather-r0-f0"] == 1


def test_a_second_run_computes_nothing_not_even_states() -> None:
    shutil.rmtree(".stitchfold/last_run")
    run_stitch(make_params())
    assert computed()["states-weather-r0-f0"] == computed()["heads-weather-r0-f0"] == 0
    assert set(computed().values()) == {0}


def test_two_encoders_that_came_out_the_same_share_their_states() -> None:
    shutil.rmtree("out/finetune/roformer")
    shutil.copytree("out/finetune/bert", "out/finetune/roformer")
    for path in Path("out/finetune/roformer").glob("*.parquet*"):
        path.unlink()
    of_bert = read_predictions(FINETUNED / "bert/weather.parquet", manifest=FOLDS.digest)
    write_predictions(replace(of_bert, model="roformer"), FINETUNED / "roformer/weather.parquet")
    run_stitch(make_params(pairs=[["bert", "roformer"]]))
    assert computed()["states-weather-r0-f0"] == 2, "of the heads' and the scored rows, once each"


def test_L4_another_folds_encoder_is_refused() -> None:
    """Heads stand over the encoders of their own fold; another fold's is refused."""
    models = Path("out/finetune/bert/models")
    shutil.rmtree(models / "weather-r0-f0")
    shutil.copytree(models / "weather-r0-f1", models / "weather-r0-f0")
    with pytest.raises(DataError, match=r"weather-r0-f0: must be the model that never saw fold 0 .* dvc repro"):
        run_stitch(make_params(features="online"))


def test_L4_an_encoder_trained_over_other_folds_is_refused() -> None:
    """An encoder that was trained over another fold manifest is not stitched."""
    other = replace(FOLDS, rows=FOLDS.rows.assign(fold=FOLDS.rows["fold"].map({0: 1, 1: 0, -1: -1})))
    with pytest.raises(DataError, match="must be the model that never saw fold 0"):
        run_stitch(make_params(), other)


def test_another_manifest_is_refused() -> None:
    with pytest.raises(DataError, match="manifest"):
        run_stitch(make_params(), replace(FOLDS, digest="e" * 64))


@pytest.mark.parametrize(("name", "message"), [("", "the fold's model is missing"), ("model.safetensors", "damaged")])
def test_a_missing_or_damaged_fold_model_is_named(name: str, message: str) -> None:
    path = Path("out/finetune/bert/models/weather-r0-f1") / name
    shutil.rmtree(path) if path.is_dir() else path.write_bytes(b"x")
    with pytest.raises(MachineError, match=rf"weather-r0-f1: .*{message}.* Run stitchfold doctor --fix"):
        run_stitch(make_params())


def test_a_stitched_model_is_not_put_on_other_encoders() -> None:
    params = make_params()
    encoders = json.loads(Path(f"out/stitch/{MODEL}/history.json").read_text())["units"][0]["encoders"]
    folder = Path(f"out/stitch/{MODEL}/models/weather-r0-f0")
    load_stitched(folder, [], [base_of(name, params) for name in encoders], tuned=False)
    with pytest.raises(DataError, match="was trained over the encoders"):
        load_stitched(folder, [], [base_of(name, params, fold=1) for name in encoders], tuned=False)


def trained(params: Params, tmp_path: Path, **changed) -> Path:
    """Train one head over online states in this process and return its folder."""
    arguments = {
        "bases": [base_of("bert", params), base_of("electra", params)], "features": None, "rows": job().fitted,
        "n_outputs": 2, "settings": params.stitch, "head": params.stitch.heads["cnn"],
        "scorer": EpochScorer(ClassTargets(), make_metric("accuracy", 2)), "seed": 5, **changed,
    }  # fmt: skip
    unit = Unit(
        "one", {"step": "stitch", "test": str(tmp_path), **{name: str(value) for name, value in changed.items()}}
    )
    run_units([(unit, train_stitched, arguments)], run=params.run, stage=Stage("one"))
    return unit.result


def test_frozen_weights_are_bit_identical_after_training(tmp_path, monkeypatch) -> None:
    loaded = []
    load = Base.load
    monkeypatch.setattr(Base, "load", lambda base: loaded.append(load(base)) or loaded[-1])
    trained(make_params(), tmp_path)
    assert len(loaded) == 2
    for (model, _), name in zip(loaded, ("bert", "electra"), strict=True):
        before = load_classifier(Path("out/finetune") / name / "models/weather-r0-f0")[0].backbone.state_dict()
        after = model.backbone.state_dict()
        assert all(torch.equal(after[key], before[key]) for key in before)


def test_unfreezing_changes_the_top_layer_and_no_other(tmp_path) -> None:
    params = make_params(unfreeze=1, features="online")
    weights = load_file(trained(params, tmp_path) / "model.safetensors")
    before = load_classifier(Path("out/finetune/bert/models/weather-r0-f0"))[0].backbone.state_dict()
    changed = {key for key, tensor in before.items() if not torch.equal(weights[f"tuned.0.backbone.{key}"], tensor)}
    assert changed and all("layer.1." in key or "pooler" in key for key in changed)
    run_stitch(params)
    assert np.isfinite(predictions().logits).all()


@pytest.mark.parametrize("features", ["cache", "online"])
def test_killed_in_the_middle_and_resumed_gives_the_same_bytes(tmp_path, features: str, monkeypatch) -> None:
    shutil.rmtree(".stitchfold/units")
    shutil.rmtree("out/stitch")
    params = make_params({"checkpoint_seconds": 0.001}, features=features)
    run_stitch(params)
    path = predictions_path("stitch", MODEL, "weather")
    undisturbed = path.read_bytes()
    shutil.rmtree(".stitchfold/units")
    steps = iter(range(100))

    def killed(point: str) -> None:
        if point == "step" and next(steps) == 7:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.training.loop.failpoint", killed)
        with pytest.raises(KeyboardInterrupt):
            run_stitch(params)
    assert list(Path(".stitchfold/units").glob("*/checkpoints/step-*")), "killed before anything was kept"
    run_stitch(params)
    assert path.read_bytes() == undisturbed


def test_a_cache_cut_short_is_noticed_and_made_again() -> None:
    params = make_params()
    rows = job().fitted[["text", "text_pair"]]
    unit = Unit("states", {"step": "states"})
    work = [(unit, extract, {"base": base_of("bert", params), "rows": rows})]
    run_units(work, run=params.run, stage=Stage("states"))
    whole = (unit.result / "states.npy").read_bytes()
    (unit.result / "states.npy").write_bytes(whole[:-100])
    with pytest.raises(MachineError, match="cached states cannot be read: .* Run dvc repro"):
        Cached(unit.result)
    run_units(work, run=params.run, stage=Stage("states"))
    assert (unit.result / "states.npy").read_bytes() == whole


def test_the_cache_holds_two_bytes_for_each_value_of_real_tokens() -> None:
    unit = Unit("states", {"step": "states"})
    rows = job().fitted[["text", "text_pair"]]
    run_units(
        [(unit, extract, {"base": base_of("bert", make_params()), "rows": rows})],
        run=make_params().run,
        stage=Stage("s"),
    )
    cached = Cached(unit.result)
    n_values = cached.encoded.lengths.sum() * 16
    assert (unit.result / "states.npy").stat().st_size <= 2 * n_values + 128
    classifier, tokenizer = base_of("bert", make_params()).load()
    encoded = base_of("bert", make_params()).encode(tokenizer, rows)
    states = cached.batch(np.array([3, 0]))["states"][1, : encoded.lengths[0]].float()
    torch.testing.assert_close(states, classifier(encoded.batch(np.array([0])))[0], atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_I19_states_that_are_not_finite_are_named_and_not_kept(value: float, monkeypatch) -> None:
    """Hidden states that are not finite end the unit and are not kept."""
    monkeypatch.setattr(LayerStates, "forward", lambda self, hidden, mask: torch.full_like(hidden[-1], value))
    unit, params = Unit("states", {"step": "states"}), make_params()
    arguments = {"base": base_of("bert", params), "rows": job().fitted[["text", "text_pair"]]}
    with pytest.raises(DivergedError, match="states of bert: must be finite, got NaN or infinity"):
        run_units([(unit, extract, arguments)], run=params.run, stage=Stage("states"))
    assert not unit.result.exists()


def test_a_tokenizer_without_offsets_is_named_or_aligned_by_words() -> None:
    base, rows, tokenizer = base_of("bert", make_params()), job().fitted, ByT5Tokenizer()
    with pytest.raises(
        ParamsError, match=r"encoders.bert: its tokenizer ByT5Tokenizer .* Set stitch.without_offsets: words"
    ):
        base.encode(tokenizer, rows)
    encoded = replace(base, without_offsets="words").encode(tokenizer, rows)
    assert encoded.spans is not None and encoded.spans.shape == (len(encoded.input_ids), 2)


def test_a_disk_too_small_switches_to_online_and_says_so(monkeypatch, caplog) -> None:
    shutil.rmtree(".stitchfold/units")
    free = shutil.disk_usage(".")._replace(free=1000)
    monkeypatch.setattr(stitching.shutil, "disk_usage", lambda path: free)
    with caplog.at_level(logging.WARNING):
        run_stitch(make_params())
    assert "would take 0.0 GB and 0.0 GB of disk are free; computing them online" in caplog.text
    assert json.loads(Path(f"out/stitch/{MODEL}/history.json").read_text())["units"][0]["features"] == "online"


def test_held_out_heads_learn_from_rows_that_the_encoders_never_saw() -> None:
    params = make_params(
        {"epoch_selection": "inner", "inner_ratio": 0.25}, head_rows="held_out", epoch_selection="last"
    )
    run_finetune(params)
    fold_job = job()
    spared = head_rows(fold_job, params.stitch, params.encoders["bert"])
    seen = read_history(FINETUNED / "bert")[0]["n_rows"]
    assert len(spared) + seen == len(fold_job.fitted) and len(spared) > 3
    run_stitch(params)
    history = json.loads(Path(f"out/stitch/{MODEL}/history.json").read_text())["units"]
    assert history[0]["n_rows"] == len(spared)


@pytest.mark.parametrize(
    "settings",
    [
        {"base": "pretrained"},
        {"head_rows": "noised"},
        {"fusion": "gated_sum", "layer_norm": False, "layers": 1},
        {"fusion": {"name": "cross_attention", "hidden_size": 8, "n_heads": 2}, "alignment": "max"},
        {"pairs": [["roformer", "bert", "electra"]], "projection": 6, "layers": "last_four", "alignment": "first"},
        {"heads": {"linear": "linear"}, "pooling": "attention"},
        {"pairs": {"best": 2}},
        {"tokenizer": "electra", "epoch_selection": "inner"},
    ],
    ids=str,
)
def test_every_way_to_stitch_gives_finite_predictions(settings: dict) -> None:
    params = make_params({"epochs": 1}, **settings)
    run_finetune(make_params())
    run_stitch(params)
    for model in params.stitch.models(list(params.encoders)):
        assert len(predictions(model).logits) == 36 + 12 + 8


def test_the_same_seed_gives_the_same_stitch_and_another_another() -> None:
    spec = {
        "sizes": [3, 5], "layer_norm": True, "projection": None, "noise": 0.0, "dropout": 0.0, "alignment": "mean",
        "fusion": ["concatenation", {}], "head": ["linear", {}], "pooling": ["mean", {}], "n_outputs": 2,
    }  # fmt: skip
    weights = [Stitch(spec, seed=seed).state_dict()["readout.head.1.weight"] for seed in (1, 1, 2)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


def judge(fold: int, *, spoil: bool = False) -> Judge:
    of_encoders = {}
    for name in ENCODERS:
        path = predictions_path("finetune", name, "weather")
        of_encoder = read_predictions(path, manifest=FOLDS.digest)
        logits = of_encoder.logits.copy()
        if spoil:
            logits[(of_encoder.rows["fold"] == fold).to_numpy()] *= -100 if name == "bert" else 100
        of_encoders[name] = replace(of_encoder, logits=logits)
    metric = make_params().tasks["weather"].metric.build(n_outputs=2, decide=ClassTargets().decide)
    return Judge(of_encoders, job(fold), table=TABLE, folds=FOLDS, metric=metric)


@pytest.mark.parametrize("fold", [0, 1])
def test_nothing_on_the_scored_fold_chooses_its_frame_or_its_pairs(fold: int) -> None:
    judging, spoilt = judge(fold), judge(fold, spoil=True)
    assert len(judging.targets) == 18
    assert judging.best_pairs(list(ENCODERS), 3) == spoilt.best_pairs(list(ENCODERS), 3)
    assert judging.frame_first(list(ENCODERS), "best") == spoilt.frame_first(list(ENCODERS), "best")


def test_the_frame_is_the_better_encoder_and_pairs_are_chosen_for_how_they_blend() -> None:
    judging = judge(0)
    right = np.eye(2)[judging.targets]
    half = np.arange(len(right)) % 2 == 0
    judging.probabilities = {
        "a": np.where(half[:, None], right, 0.4 * right + 0.3),  # sure of one half, right in all
        "b": np.where(half[:, None], 0.4 * right + 0.3, right),
        "c": 1 - right,
    }
    assert judging.frame_first(["c", "b"], "best") == ["b", "c"]
    assert judging.frame_first(["c", "b"], "c") == ["c", "b"]
    assert judging.best_pairs(["c", "a", "b"], 3)[0] == ["a", "b"]


def test_an_unknown_variant_is_named() -> None:
    with pytest.raises(ParamsError, match="variants: got 'noisy'.*Did you mean 'noised'"):
        ablate_stitch(make_params(), TABLE, FOLDS, variants=["noisy"])


def test_what_heads_learn_from_is_compared_on_the_same_rows() -> None:
    params = make_params({"epochs": 1})
    run_finetune(params)
    path = ablate_stitch(params, TABLE, FOLDS, variants=["noised", "held_out"])["weather"]
    compared = {row["variant"]: row for row in read_json(path)["rows"]}
    assert list(compared) == [
        "encoders alone", "train", "train, with the encoders", "noised", "noised, with the encoders",
        "held_out", "held_out, with the encoders",
    ]  # fmt: skip
    assert (compared["train"]["difference"], compared["train"]["difference_low"]) == (0, 0)
    run_stitch(params)
    rows = predictions().rows
    labels = TABLE.select("weather", "train").set_index("row_id")["label"].astype(int)
    oof = (rows["split"] == "oof").to_numpy()
    right = predictions().logits[oof].argmax(axis=1) == labels.loc[rows.loc[oof, "row_id"]].to_numpy()
    assert compared["train"]["score"] == pytest.approx(right.mean())
    assert not Path("out/ablate/held_out").exists()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device, and there is none")
def test_on_a_gpu_cached_and_online_states_give_nearly_the_same() -> None:
    run_finetune(make_params(device="cuda"))
    run_stitch(make_params(device="cuda"))
    cached = predictions().logits
    shutil.rmtree(".stitchfold/units")
    run_stitch(make_params(device="cuda", features="online"))
    np.testing.assert_allclose(predictions().logits, cached, atol=0.1)
