"""Augmenters over sentences: which may go, move or be replaced, and which may not."""

from collections import Counter
from typing import Any

import pytest

from pipeline import components
from pipeline.augment.augmenters.same_class_sentence import fit
from pipeline.augment.augmenters.sentence_shuffle import movable, reorder
from pipeline.augment.rewriting.sentence_rewriting import free_pieces
from pipeline.contracts import Augmenter, Corpus
from pipeline.errors.exceptions import ParamsError
from pipeline.text.sentences import split_sentences

GOOD = [
    "The flood came fast. We ran up the hill. Everyone is safe now.",
    "The flood came over the road. Trucks were stuck there. Help is on its way!",
    "A flood, they say, came fast to the town",
    "洪水来得很快。大家都跑上山了！现在都安全了。",
    "昨天洪水来得太快，我们跑上山，大家都安全",
    "We ran up and 洪水来了。Everyone ran. 快跑吧！",
]
BAD = [
    "The flood of mail came fast. My inbox is on fire. I hate this day.",
    "今天洪水般的邮件来得很快。我跑上山了！现在都烦死了。",
    "The best day. We ran up the street for fun. Everyone is drunk now.",
]
CORPUS = Corpus([*GOOD, *BAD], [0] * len(GOOD) + [1] * len(BAD))
EMPTY = ["", " \n ", "😀😀", "!!! ... 。", "？！\n。"]
NAMES: list[tuple[str, dict[str, Any]]] = [
    ("sentence_drop", {}),
    ("sentence_shuffle", {"mode": "neighbours"}),
    ("sentence_shuffle", {"mode": "all"}),
    ("same_class_sentence", {}),
]
NONE: frozenset[str] = frozenset()
every = pytest.mark.parametrize("name, options", NAMES)


def build(name: str, corpus: Corpus = CORPUS, **options: Any) -> Augmenter:
    built: Augmenter = components.build("augmenters", name, options, corpus=corpus, device="cpu")
    return built


def variants(
    augmenter: Augmenter, texts: list[str], n_variants: int = 3, terms: frozenset[str] = NONE
) -> list[list[str]]:
    """Return variants under seeds that belong to the texts, wherever they stand."""
    seeds = [len(text) for text in texts]
    return augmenter.augment(texts, n_variants=n_variants, seeds=seeds, reserved=[terms] * len(texts))


@every
def test_texts_of_several_sentences_get_other_texts(name: str, options: dict[str, Any]) -> None:
    texts = [text for text in GOOD if len(split_sentences(text)) > 1]
    for text, made in zip(texts, variants(build(name, **options), texts), strict=True):
        assert made and text not in made and len(set(made)) == len(made)


@every
def test_neither_order_nor_grouping_changes_a_variant(name: str, options: dict[str, Any]) -> None:
    texts = list(CORPUS.texts)
    together = variants(build(name, **options), texts)
    assert variants(build(name, **options), texts[::-1])[::-1] == together
    assert [variants(build(name, **options), [text])[0] for text in texts] == together


@every
def test_the_first_variants_are_the_same_however_many_are_asked_for(name: str, options: dict[str, Any]) -> None:
    augmenter = build(name, **options)
    few, many = variants(augmenter, GOOD, 1), variants(augmenter, GOOD, 4)
    assert [made[:1] for made in many] == few and max(map(len, many)) > 1


@every
@pytest.mark.parametrize("text", EMPTY)
def test_a_text_without_words_has_no_variant(name: str, options: dict[str, Any], text: str) -> None:
    corpus = Corpus([text, *CORPUS.texts], [0, *(CORPUS.labels or [])])
    if name == "sentence_shuffle":
        assert all(sorted(made) == sorted(text.strip()) for made in variants(build(name, corpus, **options), [text])[0])
    else:
        assert variants(build(name, corpus, **options), [text]) == [[]]


@every
def test_reserved_terms_are_never_lost(name: str, options: dict[str, Any]) -> None:
    terms = frozenset({"hill", "洪水", "everyone", "fast. we"})
    for text, made in zip(GOOD, variants(build(name, **options), GOOD, 6, terms), strict=True):
        for term in terms:
            assert all(variant.lower().count(term) >= text.lower().count(term) for variant in made)


@every
def test_odd_texts_do_no_harm(name: str, options: dict[str, Any]) -> None:
    texts = ["half \ud83d a. character. ", "x" * 20_000, "a. " * 500, "好。" * 500]
    corpus = Corpus([*texts, *GOOD], [0] * (len(texts) + len(GOOD)))
    for text, made in zip(texts, variants(build(name, corpus, **options), texts, 1), strict=True):
        assert text not in made


# Dropping


@pytest.mark.parametrize("ratio, n_left", [(0.1, 3), (0.5, 2), (1.0, 1)])
def test_so_many_sentences_are_dropped_and_one_is_left(ratio: float, n_left: int) -> None:
    text = "One is here. Two is here. Three! 四。"
    sentences = [sentence.strip() for sentence in split_sentences(text)]
    for variant in variants(build("sentence_drop", sentence_ratio=ratio), [text], 4)[0]:
        left = [sentence.strip() for sentence in split_sentences(variant)]
        assert len(left) == n_left and [one for one in sentences if one in left] == left


@pytest.mark.parametrize("text", ["Just one.", "只有一句", "😀! One word.", "..."])
def test_the_only_sentence_with_words_is_never_dropped(text: str) -> None:
    made = variants(build("sentence_drop", sentence_ratio=1.0), [text])[0]
    assert all(any(map(str.isalnum, variant)) for variant in made)


def test_a_term_that_runs_over_two_sentences_keeps_both() -> None:
    text = "See Mr! Robot. It is good. 真的。"
    made = variants(build("sentence_drop", sentence_ratio=1.0), [text], 4, frozenset({"mr! robot"}))[0]
    assert made == ["See Mr! Robot."]


# Shuffling


@pytest.mark.parametrize("mode", ["neighbours", "all"])
def test_shuffled_sentences_are_the_same_sentences(mode: str) -> None:
    for text, made in zip(GOOD, variants(build("sentence_shuffle", mode=mode), GOOD), strict=True):
        whole = Counter(sentence.strip() for sentence in split_sentences(text))
        assert all(Counter(one.strip() for one in split_sentences(variant)) == whole for variant in made)


def test_neighbours_of_two_are_swapped() -> None:
    assert variants(build("sentence_shuffle"), ["It rains.\nStay in!", "下雨了。别出门！", "One only."]) == [
        ["Stay in!\nIt rains."],
        ["别出门！下雨了。"],
        [],
    ]


@pytest.mark.parametrize(
    "sentences, order, expected",
    [
        (["A. ", "B.\n", "c"], [1, 0, 2], "B. A.\nc"),
        (["你好。", "Hi. ", "Bye."], [1, 0, 2], "Hi. 你好。 Bye."),
        (["你好。", "Hi. ", "Bye."], [2, 1, 0], "Bye. Hi. 你好。"),
    ],
)
def test_blanks_stay_where_they_were(sentences: list[str], order: list[int], expected: str) -> None:
    assert reorder(sentences, order) == expected


def test_sentences_through_which_a_term_runs_move_as_one() -> None:
    assert movable("A! b cat. D! e", frozenset({"a! b", "d! e"})) == ["A! b cat. ", "D! e"]


# Replacing


@pytest.mark.parametrize("text", GOOD)
def test_one_piece_comes_from_another_row_of_the_same_class(text: str) -> None:
    marked = Corpus(
        [*GOOD, *(one.replace(".", " BAD.").replace("。", " BAD。").replace("！", " BAD！") for one in BAD)],
        CORPUS.labels,
    )
    for variant in variants(build("same_class_sentence", marked), [text], 5)[0]:
        assert "BAD" not in variant and variant not in GOOD


def test_the_nearest_sentence_is_taken() -> None:
    texts = [
        "The red cat sleeps. Nothing more.",
        "The red cat eats. Bla one.",
        "The cat? Bla two.",
        "A dog. Bla three.",
    ]
    made = variants(build("same_class_sentence", Corpus(texts, [0] * 4), top_k=1), texts[:1], 4)[0]
    assert made == ["The red cat eats. Nothing more."]


def test_texts_without_a_class_of_their_own_have_no_variant() -> None:
    corpus = Corpus([*GOOD, GOOD[0]], [*[0] * len(GOOD), 1])
    made = variants(build("same_class_sentence", corpus), [GOOD[0], "Not in it. The flood came fast.", GOOD[1]])
    assert made[:2] == [[], []] and made[2]


def test_a_text_of_one_clause_is_not_replaced_as_a_whole() -> None:
    corpus = Corpus(["The flood came fast", "The flood came very fast", "洪水来了"], [0, 0, 0])
    assert variants(build("same_class_sentence", corpus), list(corpus.texts)) == [[], [], []]


def test_a_corpus_of_links_and_signs_is_no_harm() -> None:
    corpus = Corpus(["http://t.co/a. @b!", "!!", ""], [0, 1, 1])
    assert variants(build("same_class_sentence", corpus), list(corpus.texts)) == [[], [], []]


@pytest.mark.parametrize(
    "donor, replaced, expected",
    [
        ("Go home", "Stay in! ", "Go home! "),
        ("“走吧。”", "好。\n", "“走吧。”\n"),
        ("来了。", "走了，", "来了，"),
        ("a, ", "b", "a,"),
    ],
)
def test_what_is_put_in_fits_its_place(donor: str, replaced: str, expected: str) -> None:
    assert fit(donor, replaced) == expected


def test_free_pieces_hold_words_and_no_term() -> None:
    assert free_pieces(["One. ", "!! ", "New ", "York. ", "好。"], frozenset({"new york"})) == [0, 4]


def test_texts_without_labels_are_refused() -> None:
    with pytest.raises(ParamsError, match="same_class_sentence: needs labels"):
        build("same_class_sentence", Corpus(GOOD))
