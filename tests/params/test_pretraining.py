"""What is wrong with a section `pretrain` is said before anything trains."""

import os
from typing import Any

import pytest

from pipeline.params.entries import check_files
from pipeline.params.training_checks import check_pretraining, check_sharing
from tests.params.test_training_checks import TWO
from tests.small import encoder


@pytest.mark.parametrize(
    ("source", "pretrain", "where", "text"),
    [
        ({"config": {"max_position_embeddings": 32}}, {"max_length": 64}, "pretrain.max_length", "must be at most 32"),
        ({}, {"optimizer": "schedule_free"}, "pretrain.schedule", "averages in the place of a falling rate"),
    ],
)
def test_P5_a_section_that_contradicts_the_encoder_or_itself_is_refused(
    source: dict[str, Any], pretrain: dict[str, Any], where: str, text: str
) -> None:
    """Rows of a pre-training longer than the positions, or an optimizer and a schedule that do not fit, are refused."""
    [problem] = check_pretraining(encoder({"pretrain": pretrain}, **source))
    assert ".".join(map(str, problem.location)) == where and text in problem.text


def test_words_are_no_language_model() -> None:
    words = encoder({"pretrain": {}}).model_copy(
        update={"source": encoder().source.model_copy(update={"name": "word_vectors", "options": {}})}
    )
    [problem] = check_pretraining(words)
    assert problem.text == "word_vectors is no language model. Take source from_config or pretrained, or remove it."


def test_files_of_texts_lie_where_dvc_watches_and_are_there(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    os.makedirs("data/x")
    values = {"competition": "x", "encoders": {"bert": {"pretrain": {"files": ["data/y/a.txt", "data/x/b.txt"]}}}}
    first, second = check_files(values)
    assert first.location == (*second.location[:-1], 0) == ("encoders", "bert", "pretrain", "files", 0)
    assert "must lie in data/x/" in first.text and "no such file: data/x/b.txt" in second.text


def test_tasks_of_words_of_their_own_begin_alike_once_they_are_pre_trained() -> None:
    """`average_first` needs encoders that began at the same weights: what was pre-trained is the same for all tasks."""
    plain = {"sharing": "hard", "average_first": {}}
    assert any("no average brings together" in problem.text for problem in check_sharing(encoder(plain), TWO))
    assert not list(check_sharing(encoder({**plain, "pretrain": {}}), TWO))
