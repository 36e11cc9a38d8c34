"""The words of a text with their offsets, and a tokenizer over a vocabulary of words.

Source: jieba's dictionary and hidden Markov model for Chinese; blanks, punctuation and what a tweet writes for the rest.
Letters keep their marks and joiners, as in Hindi or vowelled Arabic: the library regex counts them to words as Unicode's
Technical Standard 18 asks, Python's `re` does not. Of scripts without blanks other than Chinese, such as Thai, Khmer or
Japanese, what stands between two blanks is one word, and Japanese kanji are cut as Chinese is.
"""

import json
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal

import regex

from pipeline.errors.exceptions import ParamsError

FILE = "words.json"
PAD, UNKNOWN, SEPARATOR = range(3)
SPECIAL = ["[PAD]", "[UNK]", "[SEP]"]
HAN = r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
IS_HAN = regex.compile(f"[{HAN}]")
LETTERS = r"[^\W\d_]+"
WORD = rf"(?:(?![{HAN}])[\w\p{{No}}])+"
# Links, @names and #topics whole, contractions whole, each Chinese character and each sign by itself, with marks and joiners.
SPACE = r"\s\x1c-\x1f"  # what Python takes for white space
BLANK = regex.compile(
    rf"https?://[^{SPACE}{HAN}]+|[{HAN}]|[@#]?{WORD}(?:['’]{WORD})*|(?=[\p{{S}}\p{{P}}])\X|[^{SPACE}]"
)
CHARACTER = regex.compile(rf"(?![{SPACE}])\X(?<![{SPACE}])|[^{SPACE}]")
UNSPACED = regex.compile(r"[\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Hiragana}\p{Katakana}]")
OF_WORDS = regex.compile(r"[^\W_]|\p{No}")
CACHED_TEXTS = 50_000
Kind = Literal["jieba", "blank", "character"]
Span = tuple[int, int]


def is_mainly_chinese(texts: Sequence[str]) -> bool:
    """Return whether at least half of the letters are Chinese.

    >>> is_mainly_chinese(["今天天气 ok"]), is_mainly_chinese(["the weather", "好"])
    (True, False)
    """
    n_han = sum(len(IS_HAN.findall(text)) for text in texts)
    n_letters = sum(sum(map(str.isalpha, text)) for text in texts)  # Chinese ones too
    return n_han >= max(1, n_letters - n_han)


def is_mainly_unspaced(texts: Sequence[str]) -> bool:
    """Return whether most letters are of scripts without blanks, a tenth of these at least of another one than Chinese.

    >>> is_mainly_unspaced(["ภาษาไทย ok"]), is_mainly_unspaced(["日本語を話す"]), is_mainly_unspaced(["今天", "the cat の"])
    (True, True, False)
    """
    n_others, n_han = (sum(len(script.findall(text)) for text in texts) for script in (UNSPACED, IS_HAN))
    n_letters = sum(len(OF_WORDS.findall(text)) for text in texts)
    return 10 * n_others >= max(1, n_others + n_han) and 2 * (n_others + n_han) >= n_letters


def kind_of_words(texts: Sequence[str]) -> Kind:
    """Return how texts are best cut into words: by jieba where they are Chinese, by character where no blanks are written.

    >>> [kind_of_words([text]) for text in ("今天天气", "ภาษาไทย", "the weather")]
    ['jieba', 'character', 'blank']
    """
    if is_mainly_unspaced(texts):
        return "character"
    return "jieba" if is_mainly_chinese(texts) else "blank"


def is_of_words(character: str) -> bool:
    """Return whether a character stands in words: a letter, mark, digit or joiner.

    >>> [is_of_words(character) for character in ("a", "ी", "7", "_", "!")]
    [True, True, True, False, False]
    """
    return OF_WORDS.match(character) is not None


def clusters(word: str) -> list[str]:
    """Return the characters of a word as readers see them, letters with their marks.

    >>> clusters("नमस्ते")
    ['न', 'म', 'स्ते']
    """
    found: list[str] = CHARACTER.findall(word)
    return found


def word_spans(text: str, kind: Kind) -> list[Span]:
    """Return [start, end) of each word: all that is no white space, each character in one word.

    `kind` is jieba for Chinese; blank for languages that write blanks; character, each one by itself with its marks.

    >>> text = "@Bob don't say 你好! हिन्दी"
    >>> [text[start:end] for start, end in word_spans(text, "blank")]
    ['@Bob', "don't", 'say', '你', '好', '!', 'हिन्दी']
    """
    if kind == "jieba":
        ends = _jieba_ends(text)
        return [span for span in zip((0, *ends), ends, strict=False) if not text[slice(*span)].isspace()]
    return [match.span() for match in (BLANK if kind == "blank" else CHARACTER).finditer(text)]


@lru_cache(maxsize=CACHED_TEXTS)
def _jieba_ends(text: str) -> tuple[int, ...]:
    # jieba takes each character that it does not know for a word; words of other scripts and emoji stay whole.
    others = (match for match in BLANK.finditer(text) if not match.group().isascii())
    inside = {place for match in others for place in range(match.start() + 1, match.end())}
    return tuple(end for _, _, end in _jieba().tokenize(text) if end not in inside)


def word_tags(text: str, starts: Sequence[int]) -> list[str]:
    """Return jieba's parts of speech of the words that begin at some places of a text; of others `eng`, `m`, `x`.

    >>> word_tags("他在北京 ok", [0, 1, 2, 5])
    ['r', 'p', 'ns', 'eng']
    """
    ends, tags = _tagged(text)
    return [tags[bisect_right(ends, start)] for start in starts]


@lru_cache(maxsize=CACHED_TEXTS)
def _tagged(text: str) -> tuple[list[int], list[str]]:
    pairs = list(_tagger().cut(text))
    return list(accumulate(len(pair.word) for pair in pairs)), [pair.flag for pair in pairs]


@cache
def _tagger() -> Any:
    tokenizer = _jieba()
    from jieba.posseg import POSTokenizer

    return POSTokenizer(tokenizer)


@cache
def _jieba() -> Any:
    """Return a jieba of our own, about a second to load.

    Its dictionary is read without its cache file, which any program may have left in the folder for temporary files.
    """
    try:
        import jieba
    except ImportError as error:
        raise ParamsError(
            "source.words: jieba is not installed. `pip install jieba==0.42.1`, or set words: character."
        ) from error
    tokenizer = jieba.Tokenizer()
    tokenizer.FREQ, tokenizer.total = tokenizer.gen_pfdict(tokenizer.get_dict_file())
    tokenizer.initialized = True
    return tokenizer


def word_forms(word: str) -> Iterator[str]:
    """Yield the forms under which a word is looked up, best first; `<user>` and the like are GloVe's names.

    >>> list(word_forms("#Fire")), list(word_forms("@Bob")), list(word_forms("It’s"))
    (['#Fire', '#fire', 'fire', '<hashtag>'], ['@Bob', '@bob', '<user>'], ['It’s', "it's", 'its', 'it'])
    """
    forms = [word, word.lower().replace("’", "'")]
    if word.startswith("http"):
        forms.append("<url>")
    elif word[0] == "@" and len(word) > 1:
        forms.append("<user>")
    elif word[0] == "#" and len(word) > 1:
        forms += [forms[1][1:], "<hashtag>"]
    elif word.isdecimal():
        forms.append("<number>")
    elif "'" in forms[1]:
        forms += [forms[1].replace("'", ""), forms[1].partition("'")[0]]
    yield from dict.fromkeys(forms)


def find_word(word: str, known: Mapping[str, Any]) -> str | None:
    """Return the first form of a word that is known."""
    return next((form for form in word_forms(word) if form in known), None)


class WordBatch(dict[str, Any]):
    """Lists per row: `input_ids`, `token_type_ids`, `special_tokens_mask` and `offset_mapping`."""

    def sequence_ids(self, row: int) -> list[int | None]:
        """Return for each token 0 or 1, the text it comes from, or None for the separator."""
        pairs = zip(self["special_tokens_mask"][row], self["token_type_ids"][row], strict=True)
        return [None if special else sequence for special, sequence in pairs]


class WordTokenizer:
    """Texts to ids of words; what calls it need not know that it is none of transformers' tokenizers.

    A word that is not known is read as its characters where it is Chinese and those are known, else as [UNK]. A text by
    itself gets no special token; between the texts of a pair stands [SEP]. With `tags`, of parts of speech, an id says that
    of the word in its text too: it is the word's and, for the n-th tag from 1 on, n times the size of the vocabulary.
    """

    is_fast = True
    pad_token_id = PAD
    sep_token_id = SEPARATOR

    def __init__(self, vocabulary: Sequence[str], kind: Kind, tags: Sequence[str] = ()) -> None:
        """Take the words, after the special tokens in the order of their ids."""
        self.vocabulary, self.kind, self.tags = list(vocabulary), kind, list(tags)
        self.ids = {word: position for position, word in enumerate(self.vocabulary, len(SPECIAL))}

    def __len__(self) -> int:
        return len(SPECIAL) + len(self.vocabulary)

    def __call__(self, text: str | Sequence[str], text_pair: Sequence[str] | None = None, **_: Any) -> Any:
        """Return a `WordBatch`, or of a single text its `input_ids` and the rest."""
        if isinstance(text, str):
            return {name: rows[0] for name, rows in self([text]).items()}
        names = ("input_ids", "token_type_ids", "special_tokens_mask", "offset_mapping")
        batch = WordBatch({name: [] for name in names})
        for row, first in enumerate(text):
            tokens = [(i, 0, 0, span) for i, span in self.tokens(first)]
            if text_pair is not None:
                tokens.append((SEPARATOR, 0, 1, (0, 0)))
                tokens += [(i, 1, 0, span) for i, span in self.tokens(text_pair[row])]
            for position, name in enumerate(names):
                batch[name].append([token[position] for token in tokens])
        return batch

    def tokens(self, text: str) -> Iterator[tuple[int, Span]]:
        """Yield ids with the offsets [start, end) of what they stand for."""
        if not self.tags:
            yield from self._words(text)
            return
        words, numbers = list(self._words(text)), {tag: number for number, tag in enumerate(self.tags, 1)}
        tags = word_tags(text, [start for _, (start, _) in words])
        for (word, span), tag in zip(words, tags, strict=True):
            yield word + len(self) * numbers.get(tag, 0), span

    def _words(self, text: str) -> Iterator[tuple[int, Span]]:
        for start, end in word_spans(text, self.kind):
            word = text[start:end]
            if (known := find_word(word, self.ids)) is not None:
                yield self.ids[known], (start, end)
            elif end - start > 1 and IS_HAN.search(word) and any(character in self.ids for character in word):
                for position, character in enumerate(word, start):
                    yield self.ids.get(character, UNKNOWN), (position, position + 1)
            else:
                yield UNKNOWN, (start, end)

    def save_pretrained(self, folder: Path) -> None:
        """Write the words, in order, and how texts are cut into them."""
        saved = {"words": self.kind, "vocabulary": self.vocabulary} | ({"tags": self.tags} if self.tags else {})
        content = json.dumps(saved, ensure_ascii=False)
        (Path(folder) / FILE).write_text(content, encoding="utf-8", errors="surrogatepass")

    @classmethod
    def from_pretrained(cls, folder: Path) -> "WordTokenizer":
        """Read what `save_pretrained` wrote."""
        saved = json.loads((Path(folder) / FILE).read_text(encoding="utf-8", errors="surrogatepass"))
        return cls(saved["vocabulary"], saved["words"], saved.get("tags", ()))
