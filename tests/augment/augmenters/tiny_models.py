"""Tiny generative models built from configuration, taught a dozen sentences, and saved as the real ones are."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import sentencepiece
import torch

SENTENCES = [
    "Forest fire near the town.",
    "The town was flooded last night.",
    "We love this summer so much!",
    "Two people were hurt in the crash.",
    "森林着火了。",
    "今天天气很好！",
    "昨天晚上发生了地震。",
    "我们去公园玩吧。",
]
N_STEPS = 100


def make_translator(folder: Path, source: str | None, target: str | None, *, most_tokens: int = 64) -> Path:
    """Save a Marian model that was taught to say the sentences again, and a tokenizer that states two languages."""
    from transformers import MarianConfig, MarianMTModel

    folder.mkdir(parents=True)
    pieces = _train_pieces(folder)
    vocabulary = {piece: number for number, piece in enumerate([*pieces, ">>zh<<", "<pad>"])}
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    stated = {"tokenizer_class": "MarianTokenizer", "model_max_length": most_tokens}
    stated |= {"source_lang": source, "target_lang": target} if source else {}
    (folder / "tokenizer_config.json").write_text(json.dumps(stated), encoding="utf-8")
    torch.manual_seed(0)
    pad, end = vocabulary["<pad>"], vocabulary["</s>"]
    config = MarianConfig(
        vocab_size=len(vocabulary), d_model=32, encoder_layers=1, decoder_layers=1, encoder_ffn_dim=64,
        decoder_ffn_dim=64, encoder_attention_heads=2, decoder_attention_heads=2, max_position_embeddings=256,
        pad_token_id=pad, eos_token_id=end, decoder_start_token_id=pad, forced_eos_token_id=None, init_std=0.1, dropout=0.0,
    )  # fmt: skip
    model = MarianMTModel(config)
    model.generation_config.bad_words_ids = [[pad]]
    encoder = sentencepiece.SentencePieceProcessor(model_file=str(folder / "source.spm"))
    rows = [[*(vocabulary[piece] for piece in encoder.encode(text, out_type=str)), end] for text in SENTENCES]
    _teach(model, rows, pad, input_ids=_padded(rows, pad), attention_mask=(_padded(rows, -1) >= 0).long())
    model.save_pretrained(folder)
    return folder


def make_writer(folder: Path) -> Path:
    """Save a GPT-2 that was taught two sentences after one another, and its byte-level tokenizer."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    bytes_tokenizer = ByteLevelBPETokenizer()
    bytes_tokenizer.train_from_iterator(SENTENCES * 5, vocab_size=400, special_tokens=["<end>"], show_progress=False)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bytes_tokenizer._tokenizer, eos_token="<end>")
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(tokenizer), n_embd=32, n_layer=1, n_head=2, n_positions=128, bos_token_id=0, eos_token_id=0,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
    )  # fmt: skip
    model = GPT2LMHeadModel(config)
    pairs = [f"{first} {second}" for first, second in zip(SENTENCES, SENTENCES[1:] + SENTENCES[:1], strict=True)]
    rows = [[*tokenizer(pair)["input_ids"], 0] for pair in pairs]
    _teach(model, rows, -100, input_ids=_padded(rows, 0), attention_mask=(_padded(rows, -1) >= 0).long())
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _train_pieces(folder: Path) -> list[str]:
    prefix = folder / "source"
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES * 10), model_prefix=str(prefix), vocab_size=140, hard_vocab_limit=False,
        character_coverage=1.0, minloglevel=2,
    )  # fmt: skip
    learned = prefix.with_suffix(".model").rename(folder / "source.spm")
    (folder / "target.spm").write_bytes(learned.read_bytes())
    found = sentencepiece.SentencePieceProcessor(model_file=str(learned))
    return [found.id_to_piece(number) for number in range(len(found))]


def _padded(rows: Sequence[Sequence[int]], pad: int) -> torch.Tensor:
    width = max(map(len, rows))
    return torch.tensor([[*row, *[pad] * (width - len(row))] for row in rows])


def _teach(model: Any, rows: Sequence[Sequence[int]], pad: int, **inputs: torch.Tensor) -> None:
    labels = _padded(rows, -100)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(N_STEPS):
        loss = model(**inputs, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.eval()
