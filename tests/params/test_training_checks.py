"""What is wrong with models of several tasks is said before anything trains, with the key and a remedy."""

import pytest

from pipeline.params.tasks import Task
from pipeline.params.training_checks import check_sharing
from tests.small import encoder


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
