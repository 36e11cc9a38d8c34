"""An encoder built from configuration, with a tokenizer trained on the task's own texts: no download, no prior knowledge.

Source: the families of the transformers library, their tokenizers by the tokenizers library.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pipeline.contracts import EncoderParts
from pipeline.errors.exceptions import ParamsError
from pipeline.model_sources import check_length
from pipeline.models.encoders.pretrained import restore as restore
from pipeline.params.problems import Problem
from pipeline.ranges import Name, PositiveInt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WIDTH_AND_HEADS = {
    "hidden_size": "hidden_size",
    "num_attention_heads": "n_heads",
}  # as configurations and options have it
LANGUAGE_MODELS = True  # see `pretrained`
LONGEST_RUN = 1000  # characters: training takes the square of the longest word's, and nobody writes longer ones
# GPT-2's pattern, but that letters keep their marks and joiners: Hindi, Thai or vowelled Arabic would be cut at each of them.
IN_WORDS = r"\p{L}\p{M}\x{200c}\x{200d}"
BYTE_WORDS = rf"'s|'t|'re|'ve|'m|'ll|'d| ?[{IN_WORDS}]+| ?\p{{N}}+| ?[^\s\p{{N}}{IN_WORDS}]+|\s+(?!\S)|\s+"


def build(
    *,
    texts: Sequence[str],
    max_length: int,
    seed: int,
    architecture: Name = "bert",
    tokenizer: Literal["bpe", "byte_bpe"] = "bpe",
    vocab_size: PositiveInt = 8000,
    hidden_size: PositiveInt = 128,
    n_layers: PositiveInt = 2,
    n_heads: PositiveInt = 4,
    config: dict | None = None,
) -> EncoderParts:
    """Build a model with random weights, a function of the seed, and train its tokenizer on the texts.

    Args:
        texts: the training texts of the fold.
        max_length: tokens per text that the positions must hold.
        seed: of the initial weights.
        architecture: a model type of transformers, such as bert, electra, deberta-v2 or roformer.
        tokenizer: bpe over lower-cased words, accents and vowel signs kept, Chinese split by character; byte_bpe over bytes,
            which knows no unknown token. (The library's WordPiece and Unigram trainers give another vocabulary in every
            process: a killed run could not be resumed.)
        vocab_size: at most so many tokens.
        hidden_size: width of the states.
        n_layers: number of layers.
        n_heads: attention heads, a divisor of `hidden_size`.
        config: further keys of the family's configuration class; null leaves out one of the above, as xlnet and funnel need
            (`max_position_embeddings: null`).

    Raises:
        ParamsError: if the family refuses the configuration.
    """
    import torch
    from transformers import AutoConfig, AutoModel

    trained = _train_tokenizer(texts, tokenizer, vocab_size)
    settings = {
        "vocab_size": len(trained),
        "hidden_size": hidden_size,
        "num_hidden_layers": n_layers,
        "num_attention_heads": n_heads,
        "intermediate_size": 4 * hidden_size,
        "max_position_embeddings": max_length + 8,  # roberta's positions start after the padding id
        "pad_token_id": trained.pad_token_id,
        "bos_token_id": trained.cls_token_id,
        "eos_token_id": trained.sep_token_id,
        **(config or {}),
    }
    torch.manual_seed(seed)
    try:
        family = AutoConfig.for_model(
            architecture, **{key: value for key, value in settings.items() if value is not None}
        )
        model = AutoModel.from_config(family, dtype=torch.float32)
    except (ValueError, TypeError, KeyError, AttributeError, NotImplementedError) as error:
        raise ParamsError(
            f"source: cannot build {architecture!r} from its configuration: {error}. Correct the options."
        ) from error
    return EncoderParts(model, trained)


def check(*, options: dict[str, Any], max_length: int) -> Iterator[Problem]:
    """Yield why the configuration does not hold texts of this length, or its heads do not share its width evenly."""
    config = {"model_type": options["architecture"], **(options["config"] or {})}
    width, n_heads = (config.get(key, options[name]) for key, name in WIDTH_AND_HEADS.items())
    if (
        isinstance(width, int)
        and isinstance(n_heads, int)
        and "head_dim" not in config
        and (n_heads < 1 or width % n_heads)
    ):
        text = f"must divide the width of the states ({width}), got {n_heads}. Change n_heads or hidden_size."
        yield Problem(("source", "n_heads"), text)
    try:
        check_length(max_length, config=config, origin="source.config")
    except ParamsError as error:
        yield Problem(("max_length",), str(error).partition(": ")[2], error.code)


def n_parameters(*, options: dict[str, Any], max_length: int) -> int:
    """Return the parameters of a BERT of these settings; most families differ little from it.

    >>> bert = {"vocab_size": 30522, "hidden_size": 768, "n_layers": 12, "config": {"max_position_embeddings": 512}}
    >>> n_parameters(options=bert, max_length=128)  # the library counts 109 million
    108888576
    """
    config = {**options, "num_hidden_layers": options["n_layers"], **(options["config"] or {})}
    vocab_size, width, n_layers = (config[key] for key in ("vocab_size", "hidden_size", "num_hidden_layers"))
    inner_width = config.get("intermediate_size", 4 * width)
    n_positions = config.get("max_position_embeddings") or max_length
    return int((vocab_size + n_positions) * width + n_layers * (4 * width**2 + 2 * width * inner_width + 13 * width))


def state_shape(*, options: dict[str, Any]) -> tuple[int | None, int]:
    """Return the number of layers, None where the configuration calls it otherwise, and the width of the states."""
    depth = (options["config"] or {}).get("num_hidden_layers", options["n_layers"])
    return depth if isinstance(depth, int) else None, int(options["hidden_size"])


def _train_tokenizer(texts: Sequence[str], kind: str, vocab_size: int) -> "PreTrainedTokenizerFast":
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    common: dict[str, Any] = {"vocab_size": vocab_size, "special_tokens": SPECIAL, "show_progress": False}
    if kind == "bpe":
        tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))
        # What are accents in Latin are vowels in Hindi and Thai.
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=False)
        words: list[Any] = [pre_tokenizers.BertPreTokenizer()]
        trainer = trainers.BpeTrainer(min_frequency=2, **common)
    else:
        tokenizer = Tokenizer(models.BPE())
        tokenizer.normalizer = normalizers.Sequence([normalizers.Strip(right=False), normalizers.Prepend(" ")])
        words = [pre_tokenizers.Split(Regex(BYTE_WORDS), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(min_frequency=2, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), **common)
    pieces = pre_tokenizers.Split(Regex(rf"[\s\S]{{1,{LONGEST_RUN}}}"), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([words[0], pieces, *words[1:]])
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(words)
    ids = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    templates = {"single": "[CLS] $A [SEP]", "pair": "[CLS] $A [SEP] $B:1 [SEP]:1"}
    tokenizer.post_processor = processors.TemplateProcessing(**templates, special_tokens=ids)
    names = {f"{token.strip('[]').lower()}_token": token for token in SPECIAL}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)
