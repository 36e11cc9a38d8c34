"""Words from a masked language model: what may change, what may not, and that grouping changes nothing."""

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from scipy import stats

from pipeline.augment.augmenters import contextual
from pipeline.augment.augmenters.contextual import written
from pipeline.augment.generation.mask_filling import Blank, Masked, MaskFiller, gumbel, whole_words
from pipeline.augment.rewriting.spans import cut_spans
from pipeline.contracts import Augmenter
from pipeline.errors.exceptions import ParamsError
from pipeline.text.words import HAN

ENGLISH = [
    "The big fire burns near the river and people run to safety",
    "Don't panic, it's only a small drill in Los Angeles today",
    "Storm warning: heavy rain floods roads tonight 2020",
    "My cat sleeps while the owl watches the quiet forest",
]
CHINESE = ["今天天气很好，我们去公园玩", "昨天下雨了，大家都在家里休息", "老师说明天考试，同学们非常紧张"]
TEXTS = [
    *ENGLISH,
    *CHINESE,
    "我们去New York玩，今天很开心",
    "@Bob  see http://t.co/aB1 #fire NOW!!! 😀",
    "Heavy \t rain\n\nfloods   roads ",
]
EMPTY = ["", "  \n", "😀🔥", "?!... ——。", "@Bob http://t.co/x"]
FAMILIES: dict[str, tuple[Any, Any]] = {
    "bert": (transformers.BertConfig, transformers.BertTokenizer),
    "distilbert": (transformers.DistilBertConfig, transformers.DistilBertTokenizer),
    "electra": (transformers.ElectraConfig, transformers.ElectraTokenizer),
    "roberta": (transformers.RobertaConfig, transformers.RobertaTokenizer),
    "xlm-roberta": (transformers.XLMRobertaConfig, transformers.XLMRobertaTokenizer),
}
Folder = Callable[[str], Path]
NONE: frozenset[str] = frozenset()


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """Return a function that makes a small model of a family once and returns its folder."""
    made: dict[str, Path] = {}

    def make(family: str) -> Path:
        if family not in made:
            made[family] = tmp_path_factory.mktemp("models") / family
            save(family, made[family])
        return made[family]

    return make


def save(family: str, path: Path) -> None:
    config, tokenizer = FAMILIES[family]
    trained = tokenizer().train_new_from_iterator([*ENGLISH, *CHINESE] * 20, vocab_size=600)
    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    if family == "distilbert":
        small = {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64}
    torch.manual_seed(0)
    settings = config(
        vocab_size=len(trained),
        max_position_embeddings=66,
        pad_token_id=trained.pad_token_id,
        initializer_range=0.5,
        **small,
    )
    transformers.AutoModelForMaskedLM.from_config(settings).save_pretrained(path)
    trained.save_pretrained(path)


def build(path: Path, **options: Any) -> Augmenter:
    return contextual.build(device="cpu", model=str(path), **options)


def variants(
    augmenter: Augmenter, texts: list[str], n_variants: int = 2, terms: frozenset[str] = NONE
) -> list[list[str]]:
    """Return variants under seeds that belong to the texts, wherever they stand."""
    seeds = [len(text) for text in texts]
    return augmenter.augment(texts, n_variants=n_variants, seeds=seeds, reserved=[terms] * len(texts))


@pytest.mark.parametrize("action", ["substitute", "insert"])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_text_with_words_gets_other_texts_of_the_vocabularys_words(
    folder: Folder, family: str, action: str
) -> None:
    augmenter = build(folder(family), action=action, word_ratio=0.3)
    for text, made in zip(TEXTS, variants(augmenter, TEXTS), strict=True):
        assert len(set(made)) == 2 and text not in made
        for variant in made:
            assert not any(sign in variant for sign in ("##", "Ġ", "▁", "[UNK]", "[MASK]", "<mask>", "<unk>", "\ufffd"))
            assert ("http" in variant) == ("http" in text) and ("@Bob" in variant) == ("@Bob" in text)


@pytest.mark.parametrize("family", FAMILIES)
def test_one_word_is_changed_and_all_else_keeps_every_character(folder: Folder, family: str) -> None:
    augmenter = build(folder(family), word_ratio=0.01)
    for text, made in zip(TEXTS, variants(augmenter, TEXTS, 3), strict=True):
        assert made
        for variant in made:
            assert any(
                variant.startswith(text[:start])
                and variant.endswith(text[end:])
                and len(variant) > len(text) - end + start
                for start, end in cut_spans(text)
            ), (text, variant)


@pytest.mark.parametrize("action", ["substitute", "insert"])
@pytest.mark.parametrize("family", ["bert", "xlm-roberta"])
def test_chinese_gets_chinese_without_blanks(folder: Folder, family: str, action: str) -> None:
    for made in variants(build(folder(family), word_ratio=1.0, action=action), CHINESE):
        assert made and all(re.fullmatch(f"[{HAN}，]+", variant) for variant in made)


@pytest.mark.parametrize("action", ["substitute", "insert"])
@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_reserved_terms_are_never_touched(folder: Folder, family: str, action: str) -> None:
    terms = frozenset({"los angeles", "fire", "天气", "New York", "老师"})
    augmenter = build(folder(family), action=action, word_ratio=1.0)
    for text, made in zip(TEXTS, variants(augmenter, TEXTS, 3, terms), strict=True):
        for term in ("Los Angeles", "fire", "天气", "New York", "老师"):
            assert term not in text or all(term in variant for variant in made)


def test_a_text_of_reserved_words_has_no_variant(folder: Folder) -> None:
    assert variants(build(folder("bert")), ["Heavy rain"], 2, frozenset({"heavy", "rain"})) == [[]]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("text", EMPTY)
def test_a_text_without_words_has_no_variant(folder: Folder, family: str, text: str) -> None:
    assert variants(build(folder(family)), [text, ENGLISH[0]])[0] == []


@pytest.mark.parametrize(
    "text", ["half a \ud83d character of fire", "rain [MASK] rain <mask> [UNK]", "x" * 3000, "天 " * 500]
)
@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_odd_texts_do_no_harm(folder: Folder, family: str, text: str) -> None:
    for variant in variants(build(folder(family)), [text])[0]:
        assert variant != text and ("\ud83d" in variant) == ("\ud83d" in text)


def test_a_text_longer_than_the_models_positions_changes_at_its_end_too(folder: Folder) -> None:
    text = " ".join(ENGLISH * 10)
    made = variants(build(folder("bert"), word_ratio=1.0), [text], 1)[0][0]
    pairs = list(zip(text.split(), made.split(), strict=True))
    assert len(pairs) == len(text.split()) and all(old != new for old, new in pairs[-10:] if old.isalpha())


@pytest.mark.parametrize("family", FAMILIES)
def test_neither_order_nor_grouping_nor_batches_change_a_variant(folder: Folder, family: str) -> None:
    together = variants(build(folder(family)), TEXTS, 3)
    small_batches = variants(build(folder(family), tokens_per_batch=40), TEXTS[::-1], 3)[::-1]
    one_by_one = [variants(build(folder(family)), [text], 3)[0] for text in TEXTS[:4]]
    assert together == small_batches and together[:4] == one_by_one


def test_the_first_variants_are_the_same_however_many_are_asked_for(folder: Folder) -> None:
    augmenter = build(folder("bert"))
    few, many = variants(augmenter, TEXTS, 1), variants(augmenter, TEXTS, 5)
    assert [made[:1] for made in many] == few and all(len(set(made)) == len(made) > 1 for made in many)


def test_another_seed_gives_another_variant(folder: Folder) -> None:
    augmenter = build(folder("bert"), word_ratio=0.5)
    asked = {"n_variants": 1, "reserved": [NONE]}
    assert augmenter.augment([ENGLISH[0]], seeds=[1], **asked) != augmenter.augment([ENGLISH[0]], seeds=[2], **asked)


@pytest.fixture
def decided(folder: Folder, tmp_path: Path) -> Path:
    """Return the folder of a BERT that writes `owl` for any word, and `river` where that is forbidden."""
    model = transformers.AutoModelForMaskedLM.from_pretrained(folder("bert"))
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder("bert"))
    ids = tokenizer.convert_tokens_to_ids(["owl", "river", "[UNK]", "[SEP]", "##s", "!"])
    with torch.no_grad():
        model.cls.predictions.bias[ids] += torch.tensor([500.0, 400.0, 900.0, 900.0, 900.0, 900.0])
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    return tmp_path


def test_the_most_likely_whole_word_is_written_in_the_case_of_the_old_one(decided: Path) -> None:
    augmenter = build(decided, top_k=2, word_ratio=1.0)
    assert variants(augmenter, ["(Fire) in  NOW owl, #unbelievable;  @Bob"]) == [["(Owl) owl  OWL river, #owl;  @Bob"]]


def test_words_are_inserted_before_words(decided: Path) -> None:
    augmenter = build(decided, action="insert", word_ratio=1.0)
    assert variants(augmenter, ["(Fire) in  #unbelievable owl"]) == [["(owl Fire) owl in  owl #unbelievable river owl"]]


def test_contextual_is_an_nlpaug_augmenter(decided: Path) -> None:
    augmenter: Any = build(decided, word_ratio=1.0)
    assert augmenter.augmenter.augment("big fire") == ["owl owl"]
    assert augmenter.augmenter.augment(["big fire", "?"]) == ["owl owl", "?"]


def test_a_higher_temperature_draws_more_words(folder: Folder) -> None:
    drawn = []
    for temperature in (1e-4, 100.0):
        augmenter = build(folder("bert"), word_ratio=1.0, temperature=temperature)
        made = [
            augmenter.augment([ENGLISH[0]], n_variants=1, seeds=[seed], reserved=[NONE])[0][0] for seed in range(12)
        ]
        drawn.append(len(set(made)))
    assert drawn[0] == 1 and drawn[1] == 12


def test_gumbel_noise_has_its_distribution_and_depends_on_key_and_word_only() -> None:
    keys = np.arange(200, dtype=np.uint64)[:, None]
    noise = gumbel(keys, np.arange(200)[None, :])
    assert stats.kstest(noise.ravel(), stats.gumbel_r.cdf).pvalue > 0.01
    assert abs(np.corrcoef(noise[:, 0], noise[:, 1])[0, 1]) < 0.25
    assert gumbel(keys[7:8], np.array([[9]])) == noise[7, 9]


@pytest.mark.parametrize(
    "family, mark, known",
    [("bert", "", {"owl", "天"}), ("roberta", "Ġ", {"burns", "2020", "天气"}), ("xlm-roberta", "▁", {"to", "天"})],
)
def test_whole_words_leave_out_pieces_signs_and_special_tokens(
    folder: Folder, family: str, mark: str, known: set[str]
) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder(family))
    words = whole_words(tokenizer)
    assert known <= {*words.values()}
    for token_id, word in words.items():
        assert word.isalnum() and token_id not in tokenizer.all_special_ids
        assert not word.isascii() or tokenizer.convert_ids_to_tokens(token_id) == mark + word


def test_pieces_of_chinese_words_are_no_words() -> None:
    vocabulary = {"[UNK]": 0, "天": 1, "##天": 2, "##s": 3, "cat": 4, "!": 5, "a-b": 6, "7": 7}
    tokenizer = SimpleNamespace(get_vocab=lambda: vocabulary, all_special_ids=[0], added_tokens_decoder={})
    assert whole_words(tokenizer) == {1: "天", 4: "cat", 7: "7"}


@pytest.mark.parametrize("family", FAMILIES)
def test_blanks_get_the_words_that_transformers_finds_most_likely(folder: Folder, family: str) -> None:
    filler: MaskFiller = build(folder(family), top_k=1, max_length=64).augmenter.filler  # type: ignore[attr-defined]
    model: Any = transformers.AutoModelForMaskedLM.from_pretrained(folder(family)).eval()
    whole = filler.tokenizer(ENGLISH)["input_ids"]
    rows, expected = [], []
    for ids in whole:
        for position in (1, 5):
            masked = [*ids[:position], filler.mask_id, *ids[position + 1 :]]
            rows.append(Masked(masked[1:-1], [position - 1], [Blank("letters", NONE, 7)]))
            logits = model(input_ids=torch.tensor([masked])).logits[0, position].detach()
            likely = max(filler.vocabulary["letters"].tolist(), key=logits.tolist().__getitem__)
            expected.append([filler.words[likely]])
    assert filler.fill(rows) == expected


def test_each_word_is_one_mask_and_each_chinese_character_too(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    augmenter: Any = build(folder("bert"), word_ratio=1.0)
    seen: list[Masked] = []
    fill = augmenter.augmenter.filler.fill
    monkeypatch.setattr(augmenter.augmenter.filler, "fill", lambda rows: seen.extend(rows) or fill(rows))
    variants(augmenter, ["(Fire) in  #unbelievable 今天天气，@Bob rain"], 1)
    expected = augmenter.augmenter.filler.tokenizer(
        f"([MASK]) [MASK]  #[MASK] {'[MASK]' * 4}，@Bob [MASK]", add_special_tokens=False
    )["input_ids"]
    assert seen[0].input_ids == expected
    assert seen[0].positions == [i for i, token in enumerate(expected) if token == augmenter.augmenter.filler.mask_id]


def test_written_keeps_what_no_edit_names() -> None:
    edits = [contextual.Edit(2, 3, "letters", NONE), contextual.Edit(4, 6, "han", NONE, 2)]
    assert written("A b 天气 c", edits, ["x", "好", "的"], inserts=False) == "A x 好的 c"


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"model": ""}, "model: must name a model, got ''"),
    ({"model": "models/none"}, "model: no such folder: models/none"),
]


@pytest.mark.parametrize("options, message", WRONG)
def test_wrong_options_are_refused_before_a_model_loads(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ParamsError, match=message):
        contextual.build(device="cpu", **{"model": "nowhere", **options})


def test_a_checkpoint_without_the_head_is_refused(folder: Folder, tmp_path: Path) -> None:
    transformers.AutoModel.from_pretrained(folder("bert")).save_pretrained(tmp_path)
    transformers.AutoTokenizer.from_pretrained(folder("bert")).save_pretrained(tmp_path)
    with pytest.raises(ParamsError, match="must be a masked language model with its head"):
        build(tmp_path)
