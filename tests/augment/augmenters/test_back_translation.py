import json
import logging
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.augment.augmenters.back_translation import build
from pipeline.augment.generation import decoding, generator, languages, translation_cache
from pipeline.augment.generation.decoding import Decoding
from pipeline.augment.generation.generator import Generator, Prompt
from pipeline.augment.generation.rewriter import Rewriter
from pipeline.errors.exceptions import MachineError, ParamsError
from tests.augment.augmenters.tiny_models import SENTENCES, make_translator, make_writer

Folders = tuple[Path, Path]
TEXTS = [*SENTENCES[::2], "Fire 在公园 near the town!", "night night night"]
SETTINGS = [{"sampling": True, "temperature": 1.5, "n_candidates": 5}, {"sampling": False, "beams": 4}]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """A translator from English to Chinese and one back; both only know how to say a sentence again."""
    root = tmp_path_factory.mktemp("models")
    return make_translator(root / "en-zh", "eng", "zho"), relabelled(root / "en-zh", root / "zh-en", "zh", "en")


def relabelled(folder: Path, other: Path, source: str, target: str, **stated: Any) -> Path:
    shutil.copytree(folder, other)
    path = other / "tokenizer_config.json"
    stated = {**json.loads(path.read_text()), "source_lang": source, "target_lang": target, **stated}
    path.write_text(json.dumps(stated))
    return other


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    yield
    translation_cache.open_cache.cache_clear()


@pytest.fixture
def rows_decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows, filling ones included, each batch of the model had."""
    counted: list[int] = []
    real = generator.decode_batch

    def counting(loaded: Any, rows: list[list[int]], *arguments: Any, **options: Any) -> Any:
        counted.append(len(rows))
        return real(loaded, rows, *arguments, **options)

    monkeypatch.setattr(generator, "decode_batch", counting)
    return counted


def augmenter(folders: Folders, **options: Any) -> Rewriter:
    forward, back = map(str, folders)
    return build(device="cpu", **{"forward": forward, "back": back, **options})


def variants(found: Rewriter, texts: list[str], n_variants: int = 3, reserved: tuple[str, ...] = ()) -> list[list[str]]:
    """Return variants whose seeds hang on the texts, wherever they stand."""
    seeds = [sum(map(ord, text)) for text in texts]
    return found.augment(texts, n_variants=n_variants, seeds=seeds, reserved=[frozenset(reserved)] * len(texts))


@pytest.mark.parametrize("settings", SETTINGS)
def test_variants_are_distinct_and_none_equals_its_text(folders: Folders, settings: dict[str, Any]) -> None:
    found = variants(augmenter(folders, **settings), TEXTS)
    assert sum(len(own) for own in found) > len(TEXTS)
    for text, own in zip(TEXTS, found, strict=True):
        assert len(own) == len(set(own)) <= 3 and text not in own and all(own)


@pytest.mark.parametrize("settings", SETTINGS)
def test_what_stands_beside_a_text_changes_nothing(folders: Folders, settings: dict[str, Any]) -> None:
    found = augmenter(folders, cached=False, **settings)
    together = dict(zip(TEXTS, variants(found, TEXTS), strict=True))
    assert dict(zip(TEXTS[::-1], variants(found, TEXTS[::-1]), strict=True)) == together
    assert all(variants(found, [text]) == [together[text]] for text in TEXTS[::3])
    small = augmenter(folders, cached=False, tokens_per_batch=1, **settings)
    assert dict(zip(TEXTS, variants(small, TEXTS * 2)[len(TEXTS) :], strict=True)) == together


@pytest.mark.parametrize("settings", SETTINGS)
def test_the_first_variants_are_the_same_however_many_are_asked_for(folders: Folders, settings: dict[str, Any]) -> None:
    found = augmenter(folders, cached=False, **settings)
    most = variants(found, TEXTS[:6], 4)
    for fewer in (0, 1, 2):
        assert variants(found, TEXTS[:6], fewer) == [own[:fewer] for own in most]


def test_another_seed_gives_another_sample(folders: Folders) -> None:
    found = augmenter(folders, **SETTINGS[0])
    first, second, again = (
        found.augment(TEXTS, n_variants=2, seeds=[seed] * len(TEXTS), reserved=[frozenset()] * len(TEXTS))
        for seed in (1, 2, 1)
    )
    assert first == again != second


@pytest.mark.parametrize("text", ["", "  \n", "😀😀", "911 - 24/7 !!", "。"])
def test_a_text_without_words_has_no_variants(folders: Folders, text: str, rows_decoded: list[int]) -> None:
    assert variants(augmenter(folders), [text]) == [[]]
    assert rows_decoded == []


@pytest.mark.parametrize("text", ["half \ud83d a pair", "</s> <pad> >>zh<< fire", "x" * 3000, "\x00 fire", "火" * 2000])
def test_odd_texts_crash_nothing(folders: Folders, text: str) -> None:
    (found,) = variants(augmenter(folders), [text], 1)
    assert len(found) <= 1


def test_a_variant_that_lost_a_reserved_term_is_dropped(folders: Folders) -> None:
    found = augmenter(folders, **SETTINGS[1])
    free, kept = (variants(found, [SENTENCES[0]], 4, terms)[0] for terms in ((), ("TOWN",)))
    assert kept == [one for one in free if re.search(r"\btown\b", one)] and 0 < len(kept) < len(free)


def test_one_beam_equals_transformers_greedy_text_by_text(folders: Folders) -> None:
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    found = Generator(str(folders[0]), Decoding(sampling=False), device="cpu", tokens_per_batch=500)
    tokenizer: Any = AutoTokenizer.from_pretrained(folders[0])
    model = AutoModelForSeq2SeqLM.from_pretrained(folders[0])
    batch = [tokenizer([text], return_tensors="pt") for text in TEXTS]
    expected = [
        tokenizer.decode(model.generate(**one, max_new_tokens=30)[0], skip_special_tokens=True) for one in batch
    ]
    assert [candidates[0] for candidates in found.generate([Prompt(text) for text in TEXTS])] == expected


def test_draws_follow_the_distribution() -> None:
    import torch

    probabilities = torch.tensor([0.5, 0.0, 0.3, 0.2])
    n = 4000
    draws = decoding.OwnDraws(range(n), 2, 1, temperature=0.5, top_k=0)
    drawn = draws(torch.zeros(n, 2), probabilities.log().expand(n, 4).contiguous()).argmax(dim=1)
    sharper = probabilities**2 / (probabilities**2).sum()
    assert torch.bincount(drawn, minlength=4) / n == pytest.approx(sharper, abs=0.02)
    top = decoding.OwnDraws(range(n), 1, 1, temperature=1.0, top_k=2)
    drawn = top(torch.zeros(n, 1), probabilities.log().expand(n, 4).contiguous()).argmax(dim=1)
    assert torch.bincount(drawn, minlength=4) / n == pytest.approx(torch.tensor([0.625, 0, 0.375, 0]), abs=0.02)


def test_a_long_text_goes_through_sentence_by_sentence(folders: Folders, rows_decoded: list[int]) -> None:
    found = Generator(str(folders[0]), Decoding(sampling=False), device="cpu", tokens_per_batch=500, cached=False)
    long = SENTENCES[0] + " " + "".join(SENTENCES[4:] * 4) + SENTENCES[3]
    assert len(found._reading[0](long)["input_ids"]) > found._reading[3]
    pieces = [candidates[0] for candidates in found.generate([Prompt(text) for text in SENTENCES])]
    assert found.generate([Prompt(long)]) == [["".join(map(str, [pieces[0], *pieces[4:] * 4, pieces[3]]))]]
    assert sum(rows_decoded) < 40  # a sentence that stands in it four times is translated once


def test_a_text_that_finds_no_end_gives_nothing(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generator, "LENGTH_RATIO", 0)
    monkeypatch.setattr(generator, "LENGTH_MORE", 2)
    assert variants(augmenter(folders, **SETTINGS[0], cached=False), TEXTS) == [[]] * len(TEXTS)


def test_a_second_run_does_not_call_the_model(folders: Folders, rows_decoded: list[int]) -> None:
    first = variants(augmenter(folders), TEXTS)
    n_calls = len(rows_decoded)
    translation_cache.open_cache.cache_clear()  # as another process would start
    decoding.load_model.cache_clear()
    assert variants(augmenter(folders), TEXTS[::-1])[::-1] == first
    assert len(rows_decoded) == n_calls > 0 and decoding.load_model.cache_info().misses == 0


def test_what_another_worker_wrote_is_found(folders: Folders, rows_decoded: list[int]) -> None:
    mine = augmenter(folders)
    variants(mine, TEXTS[:1])
    translation_cache.open_cache.cache_clear()
    theirs = variants(augmenter(folders), TEXTS[1:])
    n_calls = len(rows_decoded)
    assert variants(mine, TEXTS)[1:] == theirs
    assert len(rows_decoded) == n_calls


@pytest.mark.parametrize(
    "change", [{"temperature": 0.7}, {"top_k": 3}, {"sampling": False, "beams": 4}, {"n_candidates": 2}]
)
def test_other_settings_are_other_translations(
    folders: Folders, rows_decoded: list[int], change: dict[str, Any]
) -> None:
    variants(augmenter(folders), TEXTS[:2])
    n_calls = len(rows_decoded)
    variants(augmenter(folders, **change), TEXTS[:2])
    assert len(rows_decoded) > n_calls


@pytest.mark.parametrize("damage", [b"", b'{"key": "to', None])
def test_a_damaged_file_of_the_cache_is_set_aside(
    folders: Folders, rows_decoded: list[int], caplog: pytest.LogCaptureFixture, damage: bytes | None
) -> None:
    first = variants(augmenter(folders), TEXTS)
    shard = max(Path(".stitchfold/translations").rglob("*.jsonl"), key=lambda path: path.stat().st_size)
    shard.write_bytes(shard.read_bytes().replace(b"e", b"i", 1) if damage is None else damage)
    n_calls = len(rows_decoded)
    translation_cache.open_cache.cache_clear()
    assert variants(augmenter(folders), TEXTS) == first
    assert len(rows_decoded) > n_calls
    assert shard.with_suffix(".damaged").exists() and shard.exists()  # made again, the same bytes
    assert [record.levelname for record in caplog.records] == ["WARNING"] and shard.name in caplog.text


def test_a_full_disk_costs_the_cache_only(
    folders: Folders, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    expected = variants(augmenter(folders, cached=False), TEXTS[:3])

    def full(path: Path, content: bytes) -> None:
        raise MachineError(f"{path}: No space left on device")

    monkeypatch.setattr(translation_cache, "write_atomically", full)
    caplog.set_level(logging.WARNING)
    assert variants(augmenter(folders), TEXTS[:3]) == expected
    assert caplog.text.count("No space left") == 2  # once for each model


def test_a_folder_with_other_weights_has_its_own_translations(folders: Folders, tmp_path: Path) -> None:
    before = translation_cache.model_digest(str(folders[0]), None)
    other = relabelled(folders[0], tmp_path / "other", "eng", "zho", unk_token="<unk>")
    (other / "README.md").write_text("not read")
    assert translation_cache.model_digest(str(other), None) != before  # its tokenizer_config.json was written anew
    shutil.copyfile(folders[0] / "tokenizer_config.json", other / "tokenizer_config.json")
    assert translation_cache.model_digest(str(other), None) == before
    assert translation_cache.model_digest("some/model", "0" * 40) != translation_cache.model_digest(
        "some/model", "1" * 40
    )


def test_translators_that_do_not_lead_back_are_refused_before_weights_load(
    folders: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generator, "load_model", lambda *_, **__: pytest.fail("weights were loaded"))
    german = relabelled(folders[1], tmp_path / "de-en", "de", "en")
    with pytest.raises(ParamsError, match=r"back: .*en-zh \(eng -> zho\) and .*de-en \(de -> en\)"):
        augmenter(folders, back=str(german))
    with pytest.raises(ParamsError, match=r"back: .*\(eng -> zho\) and .*\(eng -> zho\)"):
        augmenter(folders, back=str(folders[0]))


def test_translators_that_state_no_languages_are_taken(folders: Folders, tmp_path: Path) -> None:
    silent = relabelled(folders[1], tmp_path / "silent", "zh", "en", source_lang=None, target_lang=None)
    assert variants(augmenter(folders, back=str(silent)), TEXTS[:1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"forward": ""}, "must name a model"),
        ({"back": "models/none"}, "models/none"),
        ({"sampling": False}, "n_candidates: .* `beams`, 1, got 4"),
    ],
)
def test_wrong_options_are_refused_at_build(folders: Folders, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ParamsError, match=message):
        augmenter(folders, **options)


def test_broken_weights_are_refused(folders: Folders, tmp_path: Path) -> None:
    broken = relabelled(folders[0], tmp_path / "broken", "en", "zh")
    (broken / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(ParamsError, match=r"cannot load .*broken"):
        variants(augmenter(folders, forward=str(broken)), TEXTS)
    (broken / "tokenizer_config.json").write_text("{")
    with pytest.raises(ParamsError, match=r"tokenizer_config.json: must be JSON"):
        augmenter(folders, forward=str(broken))


def test_weights_that_are_missing_are_not_made_up(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = make_writer(tmp_path / "writer")
    weights = load_file(folder / "model.safetensors")
    del weights["transformer.h.0.mlp.c_fc.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    found = Generator(str(folder), Decoding(sampling=True, n_tokens=5), device="cpu", tokens_per_batch=500, causal=True)
    with pytest.raises(ParamsError, match=r"must hold all weights of a GPT2LMHeadModel, .*mlp.c_fc.weight"):
        found.generate([Prompt(TEXTS[0])])


def test_a_marian_model_of_many_targets_is_told_the_pivot(folders: Folders) -> None:
    found = augmenter(folders, language="en", pivot_language="zh")
    with pytest.raises(ParamsError, match=r"must be one of \['zh'\], got 'en'"):
        variants(found, TEXTS[:1])  # the way back knows only zh
    route = ("en", "zh")
    there = Generator(str(folders[0]), Decoding(sampling=False), device="cpu", tokens_per_batch=500, route=route)
    there.generate([Prompt(TEXTS[0])])
    assert there._encode([TEXTS[0]])[0][0] == there._reading[0].get_vocab()[">>zh<<"]


class Many:
    """What matters of the tokenizers of M2M100 and NLLB."""

    src_lang = "eng_Latn"

    def get_vocab(self) -> dict[str, int]:
        return {"eng_Latn": 7, "zho_Hans": 8, "__en__": 9, "__zh__": 10}


@pytest.mark.parametrize(("codes", "forced"), [(("zho_Hans", "eng_Latn"), 7), (("en", "zh"), 10)])
def test_models_of_many_languages_are_told_both(codes: tuple[str, str], forced: int) -> None:
    tokenizer = Many()
    assert languages.steer(tokenizer, source=codes[0], target=codes[1]) == ("", forced)
    assert tokenizer.src_lang == codes[0]
    with pytest.raises(ParamsError, match=r"needs both, got ''"):
        languages.steer(tokenizer, source=codes[0], target="")
    with pytest.raises(ParamsError, match=r"got 'klingon'"):
        languages.steer(tokenizer, source=codes[0], target="klingon")


@pytest.mark.parametrize("kind", ["OutOfMemoryError", "cuBLAS"])
def test_a_batch_too_large_for_memory_is_halved(kind: str, folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    ran_out = {
        "OutOfMemoryError": torch.OutOfMemoryError("too much"),
        "cuBLAS": RuntimeError("CUBLAS_STATUS_ALLOC_FAILED"),
    }
    found = Generator(str(folders[0]), Decoding(sampling=False), device="cpu", tokens_per_batch=32 * 32, cached=False)
    texts = [f"{text} {number}" for number in range(5) for text in SENTENCES]
    expected = found.generate([Prompt(text) for text in texts])
    real, sizes = generator.decode_batch, []

    def small(loaded: Any, rows: list[list[int]], *arguments: Any, **options: Any) -> Any:
        sizes.append(len(rows))
        if len(rows) > limit:
            raise ran_out[kind]
        return real(loaded, rows, *arguments, **options)

    limit = 8
    monkeypatch.setattr(generator, "decode_batch", small)
    assert found.generate([Prompt(text) for text in texts]) == expected
    assert max(sizes) > limit
    limit = 4
    with pytest.raises(MachineError, match="8 texts at once.*Free memory"):
        found.generate([Prompt(text) for text in texts])
