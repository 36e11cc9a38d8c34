"""What is wrong with adapters and with models of several tasks is said before anything trains, with the key and a remedy."""

from pathlib import Path

import pytest

from pipeline.params.encoders import Encoder
from pipeline.params.stitch import Stitch
from pipeline.params.stitch_checks import check_stitch
from pipeline.params.tasks import Task
from pipeline.params.training_checks import check_adapter, check_sharing, check_training
from pipeline.recipes.stage_recipes import settings_of
from tests.small import adapted, encoder


def task(metric: str = "accuracy") -> Task:
    return Task.model_validate({"kind": "multiclass", "metric": metric, "train": "a.csv", "test": "b.csv"})


TWO = {"weather": task(), "animal": task("f1_macro")}


@pytest.mark.parametrize(
    ("settings", "where", "text"),
    [
        ({"task_weighting": "famo"}, "task_weighting", "is for one model of several tasks. Set sharing"),
        ({"sharing": "hard", "task_weighting": "pcgrad"}, "task_weighting", "Set task_batches: {mixed: true}"),
        (
            {"sharing": "soft", "task_weighting": "mgda", "task_batches": {"mixed": True}},
            "task_weighting",
            "reads gradients at an encoder that tasks share; soft has one of each",
        ),
        (
            {"sharing": "hard", "task_weighting": {"name": "fixed", "weights": {"wether": 2.0}}},
            "task_weighting",
            "Did you mean 'weather'",
        ),
        (
            {"sharing": "hard", "task_weighting": "gradnorm", "task_batches": {"mixed": True}, "adversarial": "fgm"},
            "adversarial",
            "gradnorm reads each task's gradient, to which fgm adds",
        ),
        ({"sharing": "hard", "adversarial": "smart"}, "adversarial", "smart compares what a model of one task gives"),
        (
            {"sharing": "hard", "task_batches": {"mixed": True}, "adversarial": "freelb"},
            "adversarial",
            "freelb begins at noise over the tokens of one task. Set task_batches: {mixed: false}",
        ),
        ({"further": {}}, "further", "is for one model of several tasks. Set sharing"),
        ({"average_first": {"epochs": 1}}, "average_first", "is for one model of several tasks. Set sharing"),
        (
            {"sharing": "hard", "average_first": {}},
            "average_first",
            "no average brings together. Take source pretrained",
        ),
        (
            {"sharing": "hard", "adversarial": "fgm", "adversarial_start_epoch": 1, "further": {"epochs": 1}},
            "further",
            "adversarial_start_epoch: must be below epochs, 1, got 1. Lower it.",
        ),
        ({"sharing": "hard", "objective": "uda"}, "objective", "uda is for models of one task"),
        ({"of_task": {"wether": {"layer": 1}}}, "of_task.wether", "Did you mean 'weather'"),
        (
            {"of_task": {"weather": {"layer": 9}}},
            "of_task.weather.layer",
            "must be at most 1, the layers of the encoder",
        ),
        ({"layer": 2}, "layer", "must be at most 1, the layers of the encoder, got 2"),
        (
            {"of_task": {"weather": {"head": "text_cnn", "pooling": "max"}}},
            "of_task.weather",
            "head text_cnn reads token states and takes no pooling",
        ),
    ],
)
def test_a_contradiction_names_its_key_and_a_way_out(settings: dict, where: str, text: str) -> None:
    problems = {".".join(map(str, location)): said for location, said, *_ in check_sharing(encoder(settings), TWO)}
    assert list(problems) == [where] and text in problems[where]


def test_sharing_needs_several_tasks_and_good_settings_pass() -> None:
    [(location, text, *_)] = check_sharing(encoder({"sharing": "hard"}), {"weather": task()})
    assert location == ("sharing",) and "is for several tasks, got one" in text
    good = {"sharing": "hard", "task_weighting": "gradnorm", "task_batches": {"mixed": True}, "layer": 1}
    assert not list(check_sharing(encoder({**good, "of_task": {"animal": {"head": "text_cnn"}}}), TWO))
    assert not list(check_sharing(encoder({"sharing": "soft", "adversarial": "freelb", "further": {"epochs": 1}}), TWO))


BASE = Path("models/base")
NOT_BOTH = "contradicts adapter lora"


@pytest.mark.parametrize(
    ("encoder", "where", "text"),
    [
        (adapted(BASE, frozen_layers=1), "frozen_layers", f"{NOT_BOTH}: all layers are frozen already"),
        (adapted(BASE, mixout=0.5), "mixout", f"{NOT_BOTH}: the weights stay the pre-trained ones"),
        (adapted(BASE, reinit_layers=1), "reinit_layers", f"{NOT_BOTH}: layers that begin anew would never learn"),
        (adapted(BASE, sharing="hard", average_first={}), "average_first", f"{NOT_BOTH}: the mean of adapters is not"),
        (adapted(BASE, pretrain={}), "pretrain", f"{NOT_BOTH}: it would change the weights that are to stay"),
        (adapted(BASE, intermediate={"tasks": ["nli"]}), "intermediate", f"{NOT_BOTH}: what learns first would be frozen"),
        (adapted(BASE, adapter=None, weights="nf4"), "source", "weights that learn need weights: fp32. Set it, or an"),
        (encoder({"adapter": "lora"}), "adapter", "got source from_config, which begins at random weights. Take source pret"),
        (adapted(BASE, adversarial="fgm"), "adversarial", "fgm moves the weights of the token embeddings, but adapter freez"),
    ],
)  # fmt: skip
def test_P5_an_adapter_leaves_its_encoder_as_it_is(encoder: Encoder, where: str, text: str) -> None:
    """What would change weights that an adapter freezes, or freeze weights that nothing learns for, is refused."""
    [problem] = [*check_adapter(encoder), *check_training(encoder, {})]
    assert problem.location == (where,) and text in problem.text


def test_P5_layers_under_an_adapter_do_not_thaw_in_a_stitched_model() -> None:
    """Stitching with `unfreeze` refuses an adapted encoder."""
    stitch = Stitch.model_validate(
        {"unfreeze": 1, "features": "online", "base": "finetuned", "heads": {"cnn": "text_cnn"}}
    )
    encoders = {"bert": encoder(), "qwen": adapted(BASE)}
    said = [problem.text for problem in check_stitch(stitch, encoders) if problem.location == ("unfreeze",)]
    assert said == ["layers of qwen stay as they are under its adapter. Set it to 0, or leave it out of pairs."]


def test_an_encoder_without_an_adapter_keeps_its_key() -> None:
    assert "adapter" not in settings_of(encoder()) and settings_of(adapted(BASE))["adapter"]["name"] == "lora"
