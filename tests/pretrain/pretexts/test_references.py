"""Pretexts against what is known of them: numbers worked by hand, the losses of transformers, who may read whom."""

from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

from pipeline import components
from pipeline.errors.exceptions import InterruptedRun, ParamsError
from pipeline.params.encoders import Pretraining
from pipeline.pretrain.language_model import start_of
from pipeline.pretrain.masks import NO_UNIT
from pipeline.pretrain.pretext import Masking, Pretext, Start
from pipeline.pretrain.pretexts import infilling, replaced_tokens, unified_lm
from pipeline.pretrain.pretexts.infilling import draw_spans, infilled, renumbered, shuffled
from pipeline.reproducibility import fixed_numerics
from pipeline.training.loop import train
from pipeline.training.parameter_groups import parameter_groups
from pipeline.units.checkpoints import Checkpoints
from tests.pretrain.pretexts.test_pretexts import SOURCES
from tests.small import TEXTS as CLAUSES
from tests.small import encoder
from tests.training.regression import StopAt

LENGTH = 24
TEXTS = [f"{first}. {second}." for first, second in zip(CLAUSES[:40], CLAUSES[40:80], strict=True)] + ["cat", "公园"]
# Those of families of transformers; another source has tests of its own.
ALL = [name for name in components.available("pretexts") if "name" not in SOURCES.get(name, {})]
SPANS = Masking(survival=(1.0, 0.5, 0.25))


@cache
def start(family: str) -> Start:
    """Return a model of one layer, always with the same weights, and a tokenizer of the texts."""
    config = {"bart": {"d_model": 16, "decoder_layers": 1, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}}.get(
        family, {}
    )
    return start_of(encoder(architecture=family, config=config).source, texts=TEXTS, max_length=LENGTH, seed=1)


def pretext(name: str, *, family: str | None = None, masking: Masking = SPANS, **options: Any) -> Pretext:
    begin = start(family or SOURCES.get(name, {}).get("architecture", "bert"))
    offered = {"start": begin, "masking": masking, "mask_ratio": 0.2, "max_length": LENGTH, "seed": 3}
    built: Pretext = components.build("pretexts", name, options, **offered)
    return built


def losses_of(learnt: Pretext, objective: Any, rows: list[int]) -> dict[str, tuple[float, float]]:
    """Return the sums of the losses of rows in one batch, and over how many items they go."""
    batch = objective.batch(np.array(rows), 0)
    weights = objective.weights(batch)
    with torch.no_grad():
        sums = objective.loss_sums(learnt.model.eval(), batch, 0.0)
    return {name: (float(total), weights[name]) for name, total in sums.items()}


@pytest.mark.parametrize("name", ALL)
def test_every_loss_of_a_pretext_falls(name: str) -> None:
    learnt = pretext(name)
    objective = learnt.objective(TEXTS, seed=5, epoch_of=lambda step: 0)
    batch = objective.batch(np.arange(16), 0)
    optimizer = torch.optim.Adam(learnt.model.parameters(), lr=0.01)
    weights, losses = objective.weights(batch), []
    for _ in range(25):
        torch.manual_seed(0)
        sums = objective.loss_sums(learnt.model, batch, 0.0)
        means = {of: sums[of] / weights[of] for of in sums}
        optimizer.zero_grad()
        torch.stack(list(means.values())).sum().backward()
        optimizer.step()
        losses.append({of: mean.item() for of, mean in means.items()})
    assert all(losses[-1][of] < losses[0][of] for of in losses[0]), losses


@pytest.mark.parametrize("name", ALL)
def test_F2_a_pretext_that_is_stopped_and_resumed_ends_in_the_same_bits(name: str, tmp_path: Path) -> None:
    """Asked to stop amid an epoch, a pre-training writes a checkpoint; resumed, its bits are those of one left alone."""
    settings = Pretraining.model_validate({"epochs": 2, "batch_size": 16, "held_out_ratio": 0.0}).training

    def trained(**given: Any) -> dict[str, torch.Tensor]:
        learnt = pretext(name)
        objective = learnt.objective(TEXTS, seed=5, epoch_of=lambda step: step // 3)
        groups = parameter_groups(learnt.model, torch.nn.Module(), settings)
        with fixed_numerics(1, on_gpu=False):
            train(learnt.model, objective, groups, settings=settings, seed=9, device="cpu", **given)
        return learnt.model.state_dict()

    undisturbed = trained()
    with pytest.raises(InterruptedRun):
        trained(checkpoints=Checkpoints(tmp_path), monitor=StopAt(4))
    resumed = trained(checkpoints=Checkpoints(tmp_path))
    assert all(torch.equal(tensor, undisturbed[key]) for key, tensor in resumed.items())


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: pretext("causal_lm", family="bert"), r"must be a decoder, .* got .* 'bert'.* Take a decoder"),
        (lambda: pretext("causal_lm", family="bart"), r"must be a decoder, .* got .* 'bart'.* Take a decoder"),
        (lambda: pretext("permutation_lm", family="gpt2"), r"in any order .*got model_type 'gpt2'\. Take a source of the"),
        (lambda: pretext("unified_lm", family="xlnet"), r"has no class|must have a class|which token reads which"),
        (lambda: pretext("unified_lm", family="deberta-v2"), r"which token reads which .* got model_type 'deberta-v2'"),
        (lambda: pretext("infilling", family="bert"), r"must have a class for it \(AutoModelForSeq2SeqLM\)"),
        (lambda: pretext("replaced_tokens", family="bart"), r"an encoder by itself .*'bart' has a decoder too"),
        (lambda: pretext("span_boundary", masking=Masking()), r"masking: must mask spans of several units .* one by one"),
    ],
)  # fmt: skip
def test_a_family_or_masking_that_a_pretext_cannot_be_learnt_with_is_refused(
    build: Callable[[], Any], said: str
) -> None:
    with pytest.raises(ParamsError, match=said):
        build()


def rows_of(name: str, texts: list[str] = TEXTS, **options: Any) -> tuple[Any, Any]:
    """Return a pretext, its dropout off, and the rows of texts."""
    learnt = pretext(name, **options)
    learnt.model.eval()
    return learnt, learnt.objective(texts, seed=5, epoch_of=lambda step: step)


def test_a_causal_model_and_an_encoder_decoder_have_the_losses_of_transformers() -> None:
    for name, labels in (("causal_lm", "input_ids"), ("infilling", "labels")):
        learnt, rows = rows_of(name)
        batch = rows.batch(np.array([3]), 0)
        inputs = {of: batch[of] for of in ("input_ids", "attention_mask")}
        with torch.no_grad():
            expected = learnt.kept(**inputs, labels=batch[labels]).loss.item()
        total, n_items = losses_of(learnt, rows, [3])["loss"]
        assert total / n_items == pytest.approx(expected, rel=1e-5)


def test_a_causal_row_predicts_each_token_but_the_first_and_a_text_of_one_token_nothing() -> None:
    learnt, rows = rows_of("causal_lm")
    begin = start("gpt2")
    lone = begin.tokenizer("cat", add_special_tokens=False)["input_ids"]
    batch = rows.batch(np.array([0, 1]), 0)
    assert len(batch["places"]) == int(batch["attention_mask"].sum()) - 2
    read = batch["input_ids"].flatten()
    assert torch.equal(read[batch["places"] + 1], batch["labels_at_places"])
    empty = {name: tensor[:1, : len(lone)] for name, tensor in batch.items() if tensor.ndim == 2}
    empty |= {"places": torch.zeros(0, dtype=torch.int64), "labels_at_places": torch.zeros(0, dtype=torch.int64)}
    loss = rows.loss_sums(learnt.model, empty, 0.0)["loss"] / rows.weights(empty)["loss"]
    assert loss.item() == 0.0


def test_unified_reading_of_all_by_all_is_masked_language_modelling_of_the_pair() -> None:
    learnt, rows = rows_of("unified_lm", attention="bidirectional")
    batch = rows.batch(np.arange(6), 0)
    with torch.no_grad():
        logits = learnt.model.language(batch)
        mask = (batch["input_ids"] != start("bert").tokenizer.pad_token_id).long()
        plain = learnt.model.language({**batch, "attention_mask": mask})
    torch.testing.assert_close(logits, plain)


@pytest.mark.parametrize("way", unified_lm.WAYS)
def test_a_token_is_changed_by_those_alone_that_it_may_read(way: str) -> None:
    learnt, rows = rows_of("unified_lm", attention=way)
    batch = rows.batch(np.array([0, 40]), 0)
    model, types = learnt.kept.base_model, batch["token_type_ids"][0]
    n_first = int((types == 0).sum())
    assert 2 < n_first < len(types), "two segments"

    def states(ids: torch.Tensor) -> torch.Tensor:
        inputs = {of: batch[of] for of in ("attention_mask", "token_type_ids")}
        with torch.no_grad():
            return model(input_ids=ids, **inputs).last_hidden_state[0]

    before = states(batch["input_ids"])
    reads = {
        "bidirectional": lambda i, j: True,
        "left_to_right": lambda i, j: j <= i,
        "right_to_left": lambda i, j: j >= i,
        # Source reads source, target reads source and the target before it.
        "seq2seq": lambda i, j: j < n_first or (i >= n_first and j <= i),
    }[way]
    for j in (1, n_first - 2, n_first, len(types) - 2):
        changed = batch["input_ids"].clone()
        changed[0, j] = (changed[0, j] + 7) % 100 + 5
        differ = (states(changed) - before).abs().amax(dim=1) > 1e-6
        assert differ.tolist() == [reads(i, j) for i in range(len(types))], (way, j)


def test_mixed_rows_are_read_in_all_ways_about_as_often_as_in_the_paper() -> None:
    _, rows = rows_of("unified_lm", texts=[f"{text} {n}. ok now." for n in range(30) for text in TEXTS[:10]])
    read = [rows.batch(np.array([row]), 0)["attention_mask"][0, 0] == 0 for row in range(300)]
    forward = np.mean([bool(torch.equal(of, of.tril())) for of in read])
    backward = np.mean([bool(torch.equal(of, of.triu())) for of in read])
    everything = np.mean([bool(of.all()) for of in read])
    np.testing.assert_allclose([everything, forward, backward], [1 / 3, 1 / 6, 1 / 6], atol=0.08)


def test_a_token_to_predict_reads_neither_itself_nor_those_after_it_in_the_order() -> None:
    learnt, rows = rows_of("permutation_lm")
    batch = rows.batch(np.array([2]), 0)
    (hidden,), (mapping,), (labels,) = batch["perm_mask"], batch["target_mapping"], batch["labels"]
    places = mapping.argmax(dim=1)
    assert len(places) > 2 and torch.equal(batch["input_ids"][0, places], labels)
    others = [place for place in range(len(hidden)) if place not in places.tolist()]
    assert hidden[:, others].sum() == 0, "what is not predicted is read by all"
    assert torch.equal(hidden[others][:, places], torch.ones(len(others), len(places))), "and reads none of the rest"
    among = hidden[places][:, places]
    assert sorted(among.sum(dim=1).tolist()) == list(range(1, len(places) + 1)), (
        "the last of n reads n - 1, the first none"
    )
    assert torch.equal(among.diagonal(), torch.ones(len(places)))

    def logits(ids: torch.Tensor) -> torch.Tensor:
        inputs = {of: tensor for of, tensor in batch.items() if of != "labels"}
        with torch.no_grad():
            return learnt.model.model(**{**inputs, "input_ids": ids}, use_mems=False).logits[0]

    before = logits(batch["input_ids"])
    for number, place in enumerate(places.tolist()):
        changed = batch["input_ids"].clone()
        changed[0, place] = (changed[0, place] + 7) % 100 + 5
        differ = (logits(changed) - before).abs().amax(dim=1) > 1e-7
        assert differ.tolist() == (among[:, number] == 0).tolist()


def test_borders_are_not_masked_and_all_between_them_is() -> None:
    learnt, rows = rows_of("span_boundary")
    batch = rows.batch(np.arange(20), 0)
    n_tokens, places = batch["input_ids"].shape[1], set(batch["places"].tolist())
    for place, left, right, offset in zip(
        *(batch[of].tolist() for of in ("places", "left", "right", "offset")), strict=True
    ):
        assert left // n_tokens == place // n_tokens == right // n_tokens
        assert not {left, right} & places and set(range(left + 1, right)) <= places
        assert offset == place - left - 1
    assert batch["offset"].max() > 0
    # Worked by hand from eq. 1: nothing but the borders' states and the place in the span has a say.
    head, states = learnt.model.head, torch.randn(3, 16)
    h0 = torch.cat([states[0], states[2], learnt.model.positions.weight[1]])
    h1 = torch.nn.functional.gelu(head[0].weight @ h0 + head[0].bias)
    h1 = (h1 - h1.mean()) / (h1.var(unbiased=False) + 1e-5).sqrt()
    h2 = torch.nn.functional.gelu(head[3].weight @ h1 + head[3].bias)
    h2 = (h2 - h2.mean()) / (h2.var(unbiased=False) + 1e-5).sqrt()
    torch.testing.assert_close(head(h0[None])[0], h2, rtol=1e-4, atol=1e-5)


def test_segments_are_swapped_in_half_of_the_rows_and_the_label_says_in_which() -> None:
    _, rows = rows_of("sentence_order", texts=[f"{first}. zzz {first}." for first in "abcdefghij" * 4])
    swapped, tokenizer = [], start("bert").tokenizer
    for row in range(40):
        batch = rows.batch(np.array([row]), 0)
        ids = batch["input_ids"].flatten().index_copy(0, batch["places"], batch["labels_at_places"])
        first = ids[batch["token_type_ids"][0] == 0]
        long_first = len(first) - 2 > int((batch["token_type_ids"] == 1).sum()) - 1
        assert int(batch["is_swapped"]) == long_first, tokenizer.decode(ids)
        swapped.append(long_first)
    assert 8 < sum(swapped) < 32
    again = [int(rows.batch(np.array([row]), 1)["is_swapped"]) for row in range(40)]
    assert again != swapped, "another epoch, another draw"


def test_the_generator_fills_in_by_its_own_distribution() -> None:
    logits = torch.tensor([[0.0, 1.0, -2.0, 0.5]])
    draws = (torch.arange(4000, dtype=torch.float64) + 0.5) / 4000
    counts = torch.bincount(replaced_tokens.sampled(logits.expand(4000, 4), draws), minlength=4)
    np.testing.assert_allclose(counts / 4000, logits.softmax(dim=1)[0], atol=1e-3)


def test_a_token_that_the_generator_hits_counts_as_the_texts_own(monkeypatch: pytest.MonkeyPatch) -> None:
    learnt, rows = rows_of("replaced_tokens")
    batch = rows.batch(np.arange(8), 0)
    real = batch["attention_mask"] == 1
    read: list[torch.Tensor] = []
    learnt.model.encoder.register_forward_pre_hook(
        lambda module, given, named: read.append(named["input_ids"]), with_kwargs=True
    )

    def measured(filled: torch.Tensor) -> dict[str, Any]:
        monkeypatch.setattr(replaced_tokens, "sampled", lambda logits, draws: filled)
        with torch.no_grad():
            return {of: (float(total), n_items) for of, (total, n_items) in learnt.score_sums(batch).items()}

    hit, missed = measured(batch["labels_at_places"]), measured(torch.full_like(batch["labels_at_places"], 9))
    assert torch.equal(read[0][real], batch["tokens"][real]), "what the encoder reads is the text again"
    n_replaced = int((batch["labels_at_places"] != 9).sum())
    with torch.no_grad():
        states = learnt.model.encoder(input_ids=read[0], attention_mask=batch["attention_mask"]).last_hidden_state
        said = learnt.model.head(states)[real]
    assert hit["loss"] == (pytest.approx(torch.nn.functional.softplus(said).sum().item(), rel=1e-5), real.sum())
    assert hit["accuracy"][0] == int((said <= 0).sum()) and hit["f1"][0] == 0
    assert missed["f1"][1] >= n_replaced > 0 and hit["generator_loss"] == missed["generator_loss"]


def test_the_generator_is_narrow_and_its_noise_is_of_row_and_epoch() -> None:
    learnt, rows = rows_of("replaced_tokens", generator_ratio=0.5)
    assert learnt.model.generator.config.hidden_size == 8 and learnt.model.generator.config.num_attention_heads == 1
    assert learnt.model.encoder.get_input_embeddings().weight.grad is None
    batch = rows.batch(np.array([4, 5]), 0)
    rows.loss_sums(learnt.model, batch, 0.0)["generator_loss"].backward()
    assert learnt.model.encoder.get_input_embeddings().weight.grad.abs().sum() > 0, "embeddings are shared"
    alone, later = rows.batch(np.array([5]), 0), rows.batch(np.array([5]), 1)
    assert torch.equal(batch["draws"][-len(alone["draws"]) :], alone["draws"])
    assert not torch.equal(alone["draws"][:1], later["draws"][:1])


def test_spans_are_apart_and_hide_about_the_share_asked_for() -> None:
    for n_units in (0, 1, 2, 3, 50):
        for seed in range(30):
            spans = draw_spans(n_units, ratio=0.3, mean=3, most=None, generator=np.random.default_rng(seed))
            assert all(0 <= begin <= end <= n_units for begin, end in spans)
            assert all(end < begin for (_, end), (begin, _) in pairwise(spans))
            assert sum(end - begin for begin, end in spans) == (min(1, n_units) if n_units < 4 else 15)
            assert len(spans) <= max(1, round(0.3 * n_units)), "so no row grows"
    lengths = [
        end - begin
        for seed in range(300)
        for begin, end in draw_spans(400, ratio=0.3, mean=3, most=None, generator=np.random.default_rng(seed))
    ]
    assert np.mean(lengths) == pytest.approx(3, abs=0.15) and min(lengths) == 0
    assert np.var(lengths) == pytest.approx(3, abs=0.4), "Poisson"


def test_a_text_of_two_sentences_is_infilled_as_worked_by_hand() -> None:
    sentences = np.array([NO_UNIT, 0, 0, 0, 1, 1, NO_UNIT])
    ids, units = np.array([2, 10, 11, 12, 20, 21, 3]), np.array([NO_UNIT, 0, 1, 1, 2, 3, NO_UNIT])
    order = next(
        order for seed in range(20) if (order := shuffled(sentences, np.random.default_rng(seed)))[1] == 4
    )  # the second sentence first
    assert ids[order].tolist() == [2, 20, 21, 10, 11, 12, 3]
    moved = renumbered(units[order])
    assert moved.tolist() == [NO_UNIT, 0, 1, 2, 3, 3, NO_UNIT]
    shown, hidden = infilled(ids[order], moved, [(1, 3), (4, 4)], [99, 99])
    assert shown == [2, 20, 99, 11, 12, 99, 3] and hidden == [[21, 10], []]


def test_an_infilled_row_writes_the_text_and_reads_at_most_its_tokens_and_masks() -> None:
    _, rows = rows_of("infilling", masking=Masking())
    mask_id = start("bart").tokenizer.mask_token_id
    for row in range(20):
        batch = rows.batch(np.array([row]), 0)
        read, written = batch["input_ids"][0].tolist(), batch["labels"][0].tolist()
        assert written == start("bart").tokenizer(TEXTS[row], max_length=LENGTH, truncation=True)["input_ids"]
        rest = list(written)
        for token in read:
            if token != mask_id:
                rest.remove(token)
        assert mask_id in read and rest, "something is hidden"
        beside = rows.batch(np.array([row, 21, 22]), 0)["input_ids"][0]
        assert beside[: len(read)].tolist() == read, "the same alone and with others"
        assert rows.batch(np.array([row]), 1)["input_ids"][0].tolist() != read, "another epoch, other spans"


def test_where_there_are_sentinels_the_spans_are_written_and_put_back_give_the_text() -> None:
    words = [*dict.fromkeys(" ".join(TEXTS).replace(".", " .").split())]
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    fast = Tokenizer(
        models.WordLevel({token: n for n, token in enumerate(["<pad>", "</s>", "<unk>", *words])}, "<unk>")
    )
    fast.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    fast.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=fast, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")
    tokenizer.add_special_tokens({"extra_special_tokens": [f"<extra_id_{n}>" for n in range(5)]})
    sentinels: Any = tokenizer.convert_tokens_to_ids([f"<extra_id_{n}>" for n in range(5)])
    torch.manual_seed(0)
    config = T5Config(vocab_size=len(tokenizer), d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
    begin = Start(tokenizer, lambda loader: (T5ForConditionalGeneration(config), []), "t5", random=True)
    learnt = infilling.build(start=begin, masking=Masking(), mask_ratio=0.4, max_length=40, span_length=2.0)
    rows = learnt.objective(TEXTS, seed=5, epoch_of=lambda step: step)
    for row in range(20):
        batch = rows.batch(np.array([row]), 0)
        read, written = batch["input_ids"][0].tolist(), batch["labels"][0].tolist()
        numbers = [token for token in read if token in sentinels]
        assert 1 <= len(numbers) <= 4 and numbers == sentinels[: len(numbers)], "in order, one left for the end"
        ends = [written.index(sentinel) for sentinel in sentinels[: len(numbers) + 1]]
        spans = {sentinel: written[a + 1 : b] for sentinel, (a, b) in zip(numbers, pairwise(ends), strict=True)}
        assert all(spans.values()) and written[ends[-1] + 1 :] == [1]
        text = [token for shown in read for token in spans.get(shown, [shown])]
        assert text == tokenizer(TEXTS[row])["input_ids"]
    assert np.isfinite(losses_of(learnt, rows, [0, 1])["loss"][0])
