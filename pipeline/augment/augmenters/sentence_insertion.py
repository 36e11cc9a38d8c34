"""One more sentence after a text, as a causal language model goes on from it.

Source: Kumar et al., Data Augmentation using Pre-trained Transformer Models, 2020, https://arxiv.org/abs/2003.02245.
nlpaug's ContextualWordEmbsForSentenceAug fails under transformers 5 (gpt2: an index error; xlnet: no such attribute): here
transformers' models run directly.
"""

from typing import Literal

from pipeline.augment.generation.decoding import Decoding
from pipeline.augment.generation.generator import Generator, check
from pipeline.augment.generation.pieces import glue, has_letters
from pipeline.augment.generation.rewriter import Rewriter
from pipeline.augment.rewriting.spans import is_word
from pipeline.ranges import Name, NotNegativeInt, PositiveFloat, PositiveInt
from pipeline.text.sentences import END, split_sentences
from pipeline.text.words import IS_HAN, is_of_words

MODELS = ("model",)


def build(
    *,
    device: str,
    model: Name = "",
    position: Literal["end"] = "end",
    n_tokens: PositiveInt = 40,
    n_candidates: PositiveInt = 4,
    temperature: PositiveFloat = 0.9,
    top_k: NotNegativeInt = 50,
    tokens_per_batch: PositiveInt = 8192,
    cached: bool = True,
) -> Rewriter:
    """Return the augmenter; the model loads with the first text. See `Decoding` for how texts are made.

    Args:
        model: a GPT-2 or other causal language model.
        position: where the sentence goes: at the end.
        n_tokens: within how many tokens the sentence must end.
        n_candidates: how many are drawn at most, and so the most variants of a text.
        cached: whether sentences are kept in `.stitchfold/translations`.

    Raises:
        ParamsError: if the model is missing.
    """
    decoding = Decoding(True, 1, n_candidates, temperature, top_k, n_tokens)
    check(decoding)
    writer = Generator(model, decoding, device=device, tokens_per_batch=tokens_per_batch, causal=True, cached=cached)
    return Rewriter(writer, prepare=lambda texts: [close(text) for text in texts], finish=with_next_sentence)


def close(text: str) -> str:
    """Return a text that a sentence can follow: a full stop is put after a word, none after a link, a name or a sign.

    >>> close("fire near town "), close("着火了"), close("see http://t.co/x"), close("Run!")
    ('fire near town.', '着火了。', 'see http://t.co/x', 'Run!')
    """
    text = text.rstrip()
    last = text.rpartition(" ")[2]
    if not last or not is_of_words(last[-1]) or not is_word(last):
        return text
    return text + ("。" if IS_HAN.match(last[-1]) else ".")


def with_next_sentence(text: str, continuation: str) -> str | None:
    """Return a text and the first sentence of its continuation, None unless that ends and says something.

    >>> with_next_sentence("Fire.", " It burns. And then"), with_next_sentence("Fire.", "It bur")
    ('Fire. It burns.', None)
    >>> with_next_sentence("Fire.", "... ... no")
    """
    first, *others = split_sentences(continuation.strip()) or [""]
    ends = bool(others) or any(match.end() == len(first) for match in END.finditer(first))
    return glue(text, first.strip()) if ends and has_letters(first) else None
