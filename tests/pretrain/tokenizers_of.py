"""Small tokenizers of each way to cut texts: WordPiece, BPE over bytes, Unigram, BPE over words."""

import functools
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast

from pipeline.params.fields import Component
from pipeline.pretrain.language_model import start_of
from pipeline.pretrain.pretext import Start
from tests.small import TEXTS, encoder

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
SAID = [
    "The unbelievable category of cats, don't they purr? 12,5 €",
    "昨天天气很好，我们去公园散步，图书馆关门了",
    "在北京的 Starbucks 喝 coffee 啦 naïve café",
    "🙂 emoji　全角 हिन्दी में पाठ",
]
CORPUS = [*TEXTS, *SAID * 3]


@functools.cache
def tokenizer_of(kind: str) -> PreTrainedTokenizerFast:
    """Return a tokenizer of about 300 tokens that cuts many words into pieces."""
    common: dict[str, Any] = {"vocab_size": 300, "special_tokens": SPECIAL, "show_progress": False}
    if kind == "wordpiece":
        tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.BertNormalizer()
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.train_from_iterator(CORPUS, trainers.WordPieceTrainer(**common))
    elif kind == "bytes":
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
        tokenizer.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        tokenizer.train_from_iterator(CORPUS, trainers.BpeTrainer(initial_alphabet=alphabet, **common))
    else:
        tokenizer = Tokenizer(models.Unigram())
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        tokenizer.train_from_iterator(CORPUS, trainers.UnigramTrainer(unk_token="[UNK]", **common))
    ids = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    templates = {"single": "[CLS] $A [SEP]", "pair": "[CLS] $A [SEP] $B:1 [SEP]:1"}
    tokenizer.post_processor = processors.TemplateProcessing(**templates, special_tokens=ids)
    names = {f"{token.strip('[]').lower()}_token": token for token in SPECIAL}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


def write_masked_model(folder: Path, kind: str = "wordpiece") -> Path:
    """Write a small masked language model of random weights with a tokenizer, and return its folder."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=300, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=48,
    )  # fmt: skip
    BertForMaskedLM(config).save_pretrained(folder)
    tokenizer_of(kind).save_pretrained(folder)
    return folder


def small_start(name: str = "from_config", **source: Any) -> Start:
    """Return the start of a small model, of one layer where it is built from its configuration."""
    built = encoder(**source).source if name == "from_config" else Component(kind="encoders", name=name, options=source)
    return start_of(built, texts=TEXTS, max_length=32, seed=0)
