"""Similarities keep their contract and equal numbers worked by hand, linear programs, gensim and transformers."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from scipy.spatial.distance import cdist

from pipeline import components
from pipeline.augment import word_transport
from pipeline.contracts import Corpus
from pipeline.errors.exceptions import ParamsError
from pipeline.models.encoders import from_config
from pipeline.text.vector_files import read_vectors
from tests.small import TEXTS

NAMES = components.available("similarities")
TRANSPORT = ("word_movers", "word_rotator")
WORDS = ["the", "cat", "dog", "owl", "runs", "sleeps", "near", "<user>", "天气", "很好", "今", "天", "公", "园"]
Similarity = Callable[[Sequence[str], Sequence[str]], np.ndarray]
# In a plane: fire and rain across, ice against fire, warm between fire and rain, hot long along fire, twin as fire.
PLANE = "fire 1 0\nrain 0 1\nice -1 0\nwarm 0.6 0.6\nhot 3 0\ntwin 1 0\nnothing 0 0\n火 1 0\n雨 0 1\n"
HALF = 0.5**0.5
PAIRS = [
    ("the cat runs", "the dog sleeps"),
    ("the cat runs", "The CAT runs near the owl"),
    ("今天天气很好", "今天我们去公园 the owl"),
    ("@bob the cat 天气", "cat cat cat"),
    ("", "the cat"),
    ("😀", "👍🏽"),
    ("", " \n"),
    ("the cat " * 300, "天气很好" * 200),
]


mixed = st.text(st.sampled_from("今天天气很好公园 cat dog ’@#_-.,!?1２ \t\n　😀👍🏽é\u0301\u200d")) | st.text()


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a file of random vectors."""
    generator = np.random.default_rng(1)
    lines = [f"{word} {' '.join(f'{x:.4f}' for x in generator.normal(size=6))}\n" for word in WORDS]
    file = tmp_path_factory.mktemp("vectors") / "vectors.txt"
    file.write_text("".join(lines), encoding="utf-8")
    return str(file)


@pytest.fixture
def plane(tmp_path: Path) -> str:
    (tmp_path / "plane.txt").write_text(PLANE, encoding="utf-8")
    return str(tmp_path / "plane.txt")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the folder of a tiny encoder."""
    size = {"vocab_size": 200, "hidden_size": 16, "n_layers": 1, "n_heads": 2}
    parts = from_config.build(texts=TEXTS, max_length=32, seed=0, architecture="bert", **size)
    folder = tmp_path_factory.mktemp("package") / "tiny_sentences"
    parts.model.save_pretrained(folder)
    parts.tokenizer.save_pretrained(folder)
    (folder / "__init__.py").touch()
    return str(folder)


@pytest.fixture
def similarity(request: pytest.FixtureRequest, path: str, model: str) -> Similarity:
    """Return the component named by the test's parameter, built with what it needs."""
    given: dict[str, Any] = {"path": path, "model": model, "max_length": 32}
    options = components.options("similarities", request.param)
    return made(request.param, **{name: value for name, value in given.items() if name in options})


every = pytest.mark.parametrize("similarity", NAMES, indirect=True)


def made(name: str, texts: Sequence[str] = ("the cat fire",), **options: Any) -> Similarity:
    built: Similarity = components.build("similarities", name, options, corpus=Corpus(texts), device="cpu")
    return built


def one(similarity: Similarity, text: str, other: str) -> float:
    return float(similarity([text], [other])[0])


@every
def test_similarities_are_in_the_unit_interval_and_symmetric(similarity: Similarity) -> None:
    texts, others = zip(*PAIRS, strict=True)
    found = similarity(texts, others)
    assert found.shape == (len(PAIRS),) and found.dtype == np.float64
    assert ((found >= 0) & (found <= 1)).all() and found[0] < 1
    np.testing.assert_allclose(similarity(others, texts), found, atol=1e-5)
    assert similarity([], []).shape == (0,)


@every
def test_a_text_is_as_like_itself_as_can_be(similarity: Similarity) -> None:
    texts = [text for pair in PAIRS for text in pair]
    assert similarity(texts, list(texts)).tolist() == [1.0] * len(texts)


@every
def test_a_pair_is_as_like_alone_as_among_others(similarity: Similarity) -> None:
    together = similarity(*zip(*PAIRS, strict=True))
    np.testing.assert_allclose([one(similarity, *pair) for pair in PAIRS], together, atol=1e-5)


@every
def test_pairs_of_unlike_number_are_refused(similarity: Similarity) -> None:
    with pytest.raises(ValueError):
        similarity(["the cat", "the dog"], ["the cat"])


@pytest.mark.parametrize(
    ("text", "other", "expected"),
    [
        ("fire", "rain", 0),
        ("fire", "warm", HALF),
        ("fire", "hot", 1),
        ("fire", "ice", 0),  # the cosine is -1, the distance 2
        ("fire rain", "fire", 1 / 2),
        ("hot rain", "fire", 3 / 4),  # hot has three quarters of the mass
        ("fire fire rain", "fire", 2 / 3),
    ],
)
def test_the_rotator_turns_as_worked_by_hand(plane: str, text: str, other: str, expected: float) -> None:
    assert one(made("word_rotator", path=plane), text, other) == pytest.approx(expected)


def test_shared_words_move_where_that_is_cheaper_to_turn(tmp_path: Path) -> None:
    (tmp_path / "v.txt").write_text(f"east 1 0\nmiddle {HALF} {HALF}\nnorth 0 1\n", encoding="utf-8")
    found = one(made("word_rotator", ["east"], path=str(tmp_path / "v.txt")), "east middle", "middle north")
    assert found == pytest.approx(HALF)  # and 1/2 if the middle stayed


@pytest.mark.parametrize(
    ("text", "other", "distance"),
    [
        ("fire", "rain", 2**0.5),
        ("fire", "ice", 2),
        ("hot rain", "fire rain", 1),
        ("fire rain", "fire", 2**0.5 / 2),
        ("fire nothing", "fire", 1 / 2),
        ("fire", "twin", 0),
    ],
)
def test_the_movers_distance_is_as_worked_by_hand(plane: str, text: str, other: str, distance: float) -> None:
    assert one(made("word_movers", path=plane), text, other) == pytest.approx(1 / (1 + distance))


def random_texts(n: int, seed: int) -> list[list[str]]:
    """Return texts of words that `cut_spans` leaves whole."""
    generator = np.random.default_rng(seed)
    return [list(generator.choice(WORDS[:7], generator.integers(1, 12))) for _ in range(n)]


def program(first: list[str], second: list[str], path: str, metric: Any, *, by_length: bool) -> float:
    """Return the cost of transport by linear programming, word for word: equal words are not put together."""
    vectors = read_vectors(Path(path), wanted=(), n_more=99)
    points = [np.stack([vectors[word] for word in words]).astype(np.float64) for words in (first, second)]
    weights = [np.linalg.norm(p, axis=1) if by_length else np.ones(len(p)) for p in points]
    n, m = map(len, points)
    rows = np.kron(np.eye(n), np.ones(m)), np.kron(np.ones(n), np.eye(m))
    sums = np.concatenate([w / w.sum() for w in weights])
    return float(linprog(cdist(*points, metric).ravel(), A_eq=np.concatenate(rows), b_eq=sums).fun)


@pytest.mark.parametrize(("name", "metric"), [("word_movers", "euclidean"), ("word_rotator", "cosine")])
def test_transport_costs_what_linear_programming_says(name: str, metric: str, path: str) -> None:
    left, right = random_texts(25, seed=2), random_texts(25, seed=3)
    rotates = name == "word_rotator"
    distances = np.array([program(*p, path, metric, by_length=rotates) for p in zip(left, right, strict=True)])
    expected = np.maximum(0, 1 - distances) if rotates else 1 / (1 + distances)
    found = made(name, path=path)([" ".join(words) for words in left], [" ".join(words) for words in right])
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert found.std() > 0.05


@pytest.mark.parametrize("unit_length", [True, False])
def test_the_movers_distance_is_gensims(unit_length: bool, path: str) -> None:
    from gensim.models import KeyedVectors

    keyed, vectors = KeyedVectors(6), read_vectors(Path(path), wanted=(), n_more=99)
    keyed.add_vectors(list(vectors), list(vectors.values()))
    left, right = random_texts(25, seed=4), random_texts(25, seed=5)
    expected = [1 / (1 + keyed.wmdistance(*pair, norm=unit_length)) for pair in zip(left, right, strict=True)]
    similarity = made("word_movers", path=path, unit_length=unit_length)
    found = similarity([" ".join(words) for words in left], [" ".join(words) for words in right])
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("name", TRANSPORT)
@pytest.mark.parametrize(
    ("text", "other", "expected"),
    [
        ("fire", "#Fire zebra!", 1),  # other forms of a word are found, unknown words left out
        ("fire rain", "rain  fire", 1),
        ("fire", "火", 1),
        ("火雨 fire", "雨火 fire", 1),  # unknown words at the mean of their characters
        ("火箭", "火", 1),  # of those that are known
        ("zebra", "fire", 0),
        ("zebra", "lion", 0),
        ("zebra", " ＺＥＢＲＡ", 1),
        ("", " ", 1),
        ("", "fire", 0),
        ("今天", "昨天", 0),
    ],
)
def test_words_without_a_vector(name: str, plane: str, text: str, other: str, expected: float) -> None:
    assert one(made(name, path=plane), text, other) == pytest.approx(expected)


def test_a_word_of_length_zero_has_no_mass_to_turn(plane: str) -> None:
    rotator = made("word_rotator", path=plane)
    assert rotator(["fire nothing", "nothing", "nothing"], ["fire", "nothing", "fire"]).tolist() == [1, 1, 0]


@pytest.mark.parametrize("name", TRANSPORT)
def test_an_unknown_chinese_word_stands_between_its_characters(name: str, plane: str) -> None:
    expected = {"word_movers": 1 / (1 + HALF), "word_rotator": HALF}
    assert one(made(name, path=plane), "火雨", "fire") == pytest.approx(expected[name])


@pytest.mark.parametrize("name", TRANSPORT)
def test_words_of_variants_are_known_as_far_as_the_file_is_read(name: str, plane: str) -> None:
    assert one(made(name, ["rain"], path=plane, n_words=1), "rain", "rain fire") < 1
    assert one(made(name, ["rain"], path=plane, n_words=1), "rain", "rain hot") == 1
    assert one(made(name, ["rain"], path=plane, n_words=0), "rain", "rain fire") == 1


@pytest.mark.parametrize("name", TRANSPORT)
@given(pairs=st.lists(st.tuples(mixed, mixed), min_size=1, max_size=5))
@settings(max_examples=25, deadline=None)
def test_no_text_is_too_strange(name: str, path: str, pairs: list[tuple[str, str]]) -> None:
    similarity = made(name, path=path)
    texts, others = zip(*pairs, strict=True)
    found = similarity(texts, others)
    assert ((found >= 0) & (found <= 1)).all()
    assert similarity(others, texts).tolist() == found.tolist()


@pytest.mark.parametrize("name", TRANSPORT)
def test_of_a_long_text_the_first_words_are_read(name: str, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word_transport, "MAX_WORDS", 2)
    similarity = made(name, path=path)
    assert one(similarity, "the cat dog cat owl", "cat the cat") == 1
    assert one(similarity, "the cat dog", "the dog cat") < 1


@pytest.mark.parametrize("name", TRANSPORT)
@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (None, {}, "path: no such file: .*none.txt. Put the vectors there"),
        ("the 1 2\ncat 1\n", {}, "none.txt:2: must hold a word and 2 numbers, got 1"),
        ("zebra 1 2\n", {}, "none.txt must know words of the texts, got none of 3. Take vectors of their language."),
    ],
)
def test_unusable_vectors_are_refused(
    name: str, content: str | None, options: Any, message: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "none.txt").write_text(content, encoding="utf-8")
    with pytest.raises(ParamsError, match=message):
        made(name, **{"path": str(tmp_path / "none.txt"), **options})


@pytest.mark.parametrize(
    ("text", "other", "expected"),
    [
        ("kitten", "sitting", 4 / 7),
        ("今天天气好", "今天天气很好", 5 / 6),
        ("Fire", "fire", 3 / 4),
        ("", "", 1),
        ("", "a", 0),
    ],
)
def test_the_share_of_characters_that_stay_is_as_worked_by_hand(text: str, other: str, expected: float) -> None:
    assert one(made("edit"), text, other) == pytest.approx(expected)


def test_the_cosine_is_that_of_the_mean_over_all_tokens(model: str) -> None:
    from transformers import AutoModel, AutoTokenizer

    tokenizer, encoder = AutoTokenizer.from_pretrained(model), AutoModel.from_pretrained(model).eval()

    def vector(text: str) -> torch.Tensor:
        with torch.inference_mode():
            inputs = tokenizer(text, return_tensors="pt", truncation=True, max_length=32)
            return encoder(**inputs).last_hidden_state[0].mean(dim=0)

    expected = [max(0.0, torch.cosine_similarity(vector(a), vector(b), dim=0).item()) for a, b in PAIRS]
    found = made("sentence_cosine", model=model, max_length=32)(*zip(*PAIRS, strict=True))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_negative_cosine_counts_as_unlike(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.augment.similarities import sentence_cosine

    monkeypatch.setattr(sentence_cosine, "_vectors", lambda *_: np.array([[1.0, 0.0], [-0.6, 0.8], [0.6, 0.8]]))
    found = made("sentence_cosine", model=model, max_length=32)(["a", "a"], ["b", "c"])
    assert found.tolist() == pytest.approx([0.0, 0.6])


def test_each_different_text_is_encoded_once(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.augment.similarities import sentence_cosine

    vectors, seen = sentence_cosine._vectors, list[str]()

    def counted(encoder: Any, tokenizer: Any, texts: Sequence[str], max_length: int) -> np.ndarray:
        seen.extend(texts)
        return vectors(encoder, tokenizer, texts, max_length)

    monkeypatch.setattr(sentence_cosine, "_vectors", counted)
    made("sentence_cosine", model=model, max_length=32)(["a", "a", "b"], ["b", "c", "b"])
    assert sorted(seen) == ["a", "b", "c"]


def test_an_encoder_may_come_in_an_installed_package(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(model).parent))
    packaged = made("sentence_cosine", package="tiny_sentences", max_length=32)
    own = made("sentence_cosine", model=model, max_length=32)
    assert packaged(*zip(*PAIRS, strict=True)).tolist() == own(*zip(*PAIRS, strict=True)).tolist()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "models/none"}, "models/none"),
        ({"package": "no_such_package"}, "the package 'no_such_package' is not installed"),
    ],
)
def test_an_unusable_encoder_is_refused(options: Any, message: str) -> None:
    with pytest.raises(ParamsError, match=message):
        made("sentence_cosine", **options)


def test_more_tokens_than_the_encoder_has_positions_are_refused(model: str) -> None:
    with pytest.raises(ParamsError, match="max_length: must be at most [0-9]+.*got 9999"):
        made("sentence_cosine", model=model, max_length=9999)
