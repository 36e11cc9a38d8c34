from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline import components
from pipeline.augment.generation import generator, translation_cache
from pipeline.contracts import Augmenter, Corpus
from pipeline.errors.exceptions import ParamsError
from pipeline.text.sentences import split_sentences
from tests.augment.augmenters.tiny_models import SENTENCES, make_translator, make_writer

TEXTS = [*SENTENCES[::2], "night night night", "Fire near 公园"]
ODD = ["", "😀😀", "half \ud83d a pair", "x" * 3000, "火" * 2000, "<end> town"]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A sequence-to-sequence model that says a sentence again, and a causal one that goes on with the next."""
    root = tmp_path_factory.mktemp("models")
    return {
        "paraphrase": make_translator(root / "again", None, None),
        "sentence_insertion": make_writer(root / "next"),
    }


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    yield
    translation_cache.open_cache.cache_clear()


def augmenter(models: dict[str, Path], name: str, **options: Any) -> Augmenter:
    given = {"model": str(models[name]), "temperature": 1.3, "n_candidates": 5, **options}
    made: Augmenter = components.build("augmenters", name, given, corpus=Corpus([]), device="cpu")
    return made


def variants(
    found: Augmenter, texts: list[str], n_variants: int = 3, reserved: tuple[str, ...] = ()
) -> list[list[str]]:
    """Return variants whose seeds hang on the texts, wherever they stand."""
    seeds = [sum(map(ord, text)) for text in texts]
    return found.augment(texts, n_variants=n_variants, seeds=seeds, reserved=[frozenset(reserved)] * len(texts))


both = pytest.mark.parametrize("name", ["paraphrase", "sentence_insertion"])


@both
def test_variants_are_distinct_and_none_equals_its_text(models: dict[str, Path], name: str) -> None:
    found = variants(augmenter(models, name), TEXTS)
    assert sum(len(own) for own in found) > len(TEXTS)
    for text, own in zip(TEXTS, found, strict=True):
        assert len(own) == len(set(own)) <= 3 and text not in own and all(own)


@both
def test_what_stands_beside_a_text_changes_nothing(models: dict[str, Path], name: str) -> None:
    found = augmenter(models, name, cached=False)
    together = dict(zip(TEXTS, variants(found, TEXTS), strict=True))
    assert dict(zip(TEXTS[::-1], variants(found, [*ODD[:3], *TEXTS[::-1]])[3:], strict=True)) == together
    assert all(variants(found, [text]) == [together[text]] for text in TEXTS[::3])


@both
def test_the_first_variants_are_the_same_however_many_are_asked_for(models: dict[str, Path], name: str) -> None:
    found = augmenter(models, name, cached=False)
    assert variants(found, TEXTS[:6], 1) == [own[:1] for own in variants(found, TEXTS[:6], 4)]


@both
def test_odd_texts_crash_nothing(models: dict[str, Path], name: str) -> None:
    found = variants(augmenter(models, name), ODD)
    assert found[:2] == [[], []]


@both
def test_a_second_run_does_not_call_the_model(
    models: dict[str, Path], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = variants(augmenter(models, name), TEXTS)
    translation_cache.open_cache.cache_clear()
    monkeypatch.setattr(generator, "decode_batch", lambda *_, **__: pytest.fail("the model was called"))
    assert variants(augmenter(models, name), TEXTS) == first


@both
def test_a_model_that_is_missing_is_refused_at_build(models: dict[str, Path], name: str) -> None:
    with pytest.raises(ParamsError, match="models/none"):
        augmenter(models, name, model="models/none")


def test_a_paraphrase_that_lost_a_reserved_term_is_dropped(models: dict[str, Path]) -> None:
    found = augmenter(models, "paraphrase", sampling=False, beams=8, n_candidates=8)
    free, kept = (variants(found, [SENTENCES[0]], 8, terms)[0] for terms in ((), ("the town",)))
    assert 0 < len(kept) < len(free) and all("the town" in one for one in kept)


def test_the_prefix_stands_before_every_text(models: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[list[int]] = []
    real = generator.decode_batch

    def recording(loaded: Any, rows: list[list[int]], *arguments: Any, **options: Any) -> Any:
        read.extend(rows)
        return real(loaded, rows, *arguments, **options)

    monkeypatch.setattr(generator, "decode_batch", recording)
    found: Any = augmenter(models, "paraphrase", prefix="night fire: ")
    variants(found, TEXTS, 1)
    before = found.generator._reading[0]("night fire: ")["input_ids"][:5]
    assert len(before) == 5 and all(row[:5] == before for row in read)


def test_exactly_one_sentence_is_added_at_the_end(models: dict[str, Path]) -> None:
    found = variants(augmenter(models, "sentence_insertion"), SENTENCES)
    assert any(own and own[0].endswith(after) for own, after in zip(found, SENTENCES[1:], strict=False))
    for text, own in zip(SENTENCES, found, strict=True):
        assert all(one.startswith(text) and len(split_sentences(one)) == 2 for one in own)


@pytest.mark.parametrize("n_tokens", [1, 2])
def test_a_sentence_that_does_not_end_is_not_added(models: dict[str, Path], n_tokens: int) -> None:
    assert variants(augmenter(models, "sentence_insertion", n_tokens=n_tokens), SENTENCES[:4]) == [[]] * 4


def test_t5_and_bart_write_texts_too(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import (
        BartConfig,
        BartForConditionalGeneration,
        PreTrainedTokenizerFast,
        T5Config,
        T5ForConditionalGeneration,
    )

    words = ["<pad>", "</s>", "<unk>", *"今天气很好我们去公园玩", "fire", "near", "town"]
    core = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")
    ends = {"pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0, "vocab_size": len(words)}
    t5 = T5Config(**ends, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    bart = BartConfig(
        **ends, bos_token_id=None, forced_eos_token_id=None, d_model=16, encoder_layers=1, decoder_layers=1,
        encoder_ffn_dim=16, decoder_ffn_dim=16, encoder_attention_heads=2, decoder_attention_heads=2,
    )  # fmt: skip
    for folder, model in (("t5", T5ForConditionalGeneration(t5)), ("bart", BartForConditionalGeneration(bart))):
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        found = augmenter({"paraphrase": tmp_path / folder}, "paraphrase", n_candidates=16)
        made = variants(found, ["今天天气很好", "fire near town"], 16)
        assert any(made), folder
        chinese = [word for own in made for one in own for word in one.split()]
        assert any(len(word) > 1 and not word.isascii() for word in chinese)  # no blanks between characters
