"""What every augmenter keeps: new texts that depend on the text and its seed alone, and spare reserved terms."""

import pytest

from pipeline import components
from pipeline.contracts import Corpus
from pipeline.errors.exceptions import ParamsError

TEXTS = [
    "Forest fire near La Ronge, don't panic! Everybody should leave the town now. The roads are open.",
    "今天天气很好，我们去公园散步吧！昨天下雨了，大家都在家里休息。明天还要上班。",
    "我们 go to New York 玩，see you @bob http://t.co/x",
    "",
    " \n",
    "😀👍🏽",
    "!!!",
    "x",
    "the of and a",
    "的了是在",
    "very long " * 400,
]


@pytest.mark.parametrize("name", components.available("augmenters"))
def test_an_augmenter_gives_new_texts_that_depend_on_text_and_seed_alone(name: str) -> None:
    corpus = Corpus(TEXTS * 2, [number % 2 for number in range(len(TEXTS) * 2)])
    try:
        augmenter = components.build("augmenters", name, corpus=corpus, device="cpu")
    except ParamsError as error:  # how it does with one is tested in tests/augment/augmenters
        pytest.skip(f"needs a file or a model: {error}")
    none = frozenset[str]()

    def variants(texts: list[str], n: int, reserved: frozenset[str] = none) -> list[list[str]]:
        seeds = [TEXTS.index(text) + 7 for text in texts]
        return augmenter.augment(texts, n_variants=n, seeds=seeds, reserved=[reserved] * len(texts))

    found = variants(TEXTS, 3)
    assert len(found) == len(TEXTS)
    for text, own in zip(TEXTS, found, strict=True):
        assert len(own) <= 3 and len(set(own)) == len(own) and text not in own
        assert all(one.strip() for one in own)
    assert found[3] == found[4] == [], "nothing is made of nothing"
    assert variants(TEXTS[::-1], 3) == found[::-1]
    assert [variants([text], 1)[0] for text in TEXTS] == [own[:1] for own in found]
    terms = frozenset({"la ronge", "公园", "New York"})
    if components.constant("augmenters", name, "SPARES"):
        for text, own in zip(TEXTS, variants(TEXTS, 3, terms), strict=True):
            for term in ("La Ronge", "公园", "New York"):
                assert all(one.count(term) >= text.count(term) for one in own)
