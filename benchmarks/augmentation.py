"""Augmentation against nlpaug: speed of characters, words, contextual replacement and back-translation; memory; bytes; leaks.

Ours is timed as the stage works: shards of 1,000 texts over two worker processes, built and run, nothing written. nlpaug is
timed in its fastest way, one call for all texts in one thread, and with its own threads (`num_thread=2`). Both change about a
tenth of the words. With models, nlpaug gets as many threads of torch as there are workers. The masked language model is built
from configuration with random weights; the translators say each token again, by weights set by hand, so that translations are
as long as real ones. Read the CPU's seconds too where neighbours disturb the wall's.
Run from the repository's root: python benchmarks/augmentation.py [part ...], parts: words models memory bytes leaks chinese.
Texts: data/disaster_tweets and data/smp2020_ewect, lexicons in models/lexicons/ (ppdb_xl.txt, cilin.txt, homophones_zh.txt,
lookalikes_zh.txt, misspellings_en.txt) and models/vectors/glove_twitter_25d.txt. Writes benchmarks/results/augmentation.json.
"""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from difflib import SequenceMatcher
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
import psutil
from joblib import Parallel, delayed
from recording import RESULTS, ROOT, record

from pipeline import components
from pipeline.artifacts.copies import read_copies
from pipeline.artifacts.table import TABLE_COLUMNS, Folds, Table, read_folds, read_table, write_folds, write_table
from pipeline.augment.augmenting import augment
from pipeline.augment.rewriting.spans import cut_spans
from pipeline.contracts import Corpus
from pipeline.params.root import Params
from pipeline.recipes.stage_recipes import stage_recipe
from pipeline.text.words import IS_HAN

PARTS = ("words", "models", "memory", "bytes", "leaks", "chinese")
N_WORKERS, SHARD, N_ROWS, N_MODEL_ROWS = 2, 1000, 10_000, 1000
LEXICONS, VECTORS = Path("models/lexicons"), Path("models/vectors/glove_twitter_25d.txt")
TARGETS = {
    "median_times_nlpaug_one_thread_at_least": 1.5,
    "median_times_nlpaug_own_threads_at_least": 8,
    "contextual_times_nlpaug_at_least": 10,
    "back_translation_times_nlpaug_at_least": 3,
    "memory_100k_over_10k_at_most": 1.2,
    "bytes_identical": True,
    "leaks_caught_percent": 100,
    "chinese_valid_percent_at_least": 99,
}
TRANSLATORS = {
    "small": {"width": 128, "n_layers": 2, "n_heads": 4, "vocab_size": 4000},
    "of opus-mt's size": {"width": 512, "n_layers": 6, "n_heads": 8, "vocab_size": 58101},
}
LATIN = re.compile(r"[A-Za-z]+")
SPEC = tuple[str, dict[str, Any], Callable[[], Any]]


def texts_of(competition: str, n_rows: int, column: str = "text") -> list[str]:
    """Return the first texts of a competition's training file, repeated if there are fewer."""
    texts = pd.read_csv(f"data/{competition}/train.csv", dtype=str, keep_default_na=False)[column].tolist()
    return (texts * (n_rows // len(texts) + 1))[:n_rows]


def specs() -> list[SPEC]:
    """Return what nlpaug has too: our augmenter's name and options, and nlpaug's augmenter."""
    import nlpaug.augmenter.char as nac
    import nlpaug.augmenter.word as naw

    characters = {"aug_word_p": 0.1, "aug_char_p": 0.1}
    return [
        ("keyboard", {}, lambda: nac.KeyboardAug(**characters)),
        ("ocr", {}, lambda: nac.OcrAug(**characters, aug_char_min=1)),
        *(
            ("random_characters", {"action": action}, lambda action=action: nac.RandomCharAug(action, **characters))
            for action in ("insert", "substitute", "swap", "delete")
        ),
        ("misspellings", {}, lambda: naw.SpellingAug(aug_p=0.1)),
        *(
            ("random_words", {"action": action}, lambda action=action: naw.RandomWordAug(action, aug_p=0.1))
            for action in ("swap", "delete")
        ),
        ("word_split", {}, lambda: naw.SplitAug(aug_p=0.1)),
        ("tfidf", {"word_ratio": 0.1}, _tfidf_peer),
        ("word_vectors", {"path": str(VECTORS)}, _vectors_peer),
    ]  # fmt: skip


def _tfidf_peer() -> Any:
    import nlpaug.augmenter.word as naw
    import nlpaug.model.word_stats as nmw

    model = nmw.TfIdf()
    model.train([text.split() for text in texts_of("disaster_tweets", N_ROWS)])
    folder = tempfile.mkdtemp()
    model.save(folder)
    return naw.TfIdfAug(model_path=folder, aug_p=0.1)


def _vectors_peer() -> Any:
    import nlpaug.augmenter.word as naw

    return naw.WordEmbsAug(model_type="glove", model_path=str(VECTORS), action="substitute", aug_p=0.1, top_k=10)


def shard_variants(name: str, options: dict[str, Any], texts: list[str], corpus: list[str]) -> int:
    """Build an augmenter and return how many variants it made of a shard; a worker keeps what it built."""
    key = f"{name}{options}"
    if key not in _built:
        _built[key] = components.build("augmenters", name, options, corpus=Corpus(corpus), device="cpu")
    none = [frozenset[str]()] * len(texts)
    found = _built[key].augment(texts, n_variants=1, seeds=range(len(texts)), reserved=none)
    return sum(map(len, found))


_built: dict[str, Any] = {}


def words() -> dict[str, Any]:
    """Return rows per second of the character and word augmenters, and the medians of how many times faster they are."""
    texts = texts_of("disaster_tweets", N_ROWS)
    shards = [texts[start : start + SHARD] for start in range(0, len(texts), SHARD)]
    corpus = texts[:2000]
    found = {}
    for name, options, peer_of in specs():
        with Parallel(n_jobs=N_WORKERS, backend="loky") as parallel:
            warm = [delayed(shard_variants)(name, options, shards[0][:50], corpus) for _ in range(4 * N_WORKERS)]
            parallel(warm)  # imports and building are once per worker
            started = time.perf_counter()
            made = sum(parallel(delayed(shard_variants)(name, options, shard, corpus) for shard in shards))
            ours = N_ROWS / (time.perf_counter() - started)
        peer = peer_of()
        one_thread = _rate(lambda peer=peer: peer.augment(texts[:5000]), 5000)
        own_threads = _rate(lambda peer=peer: peer.augment(texts[:1000], num_thread=2), 1000)
        found[f"{name} {options.get('action', '')}".strip()] = {
            "rows_per_second": round(ours), "nlpaug_one_thread": round(one_thread), "nlpaug_two_threads": round(own_threads),
            "times_one_thread": round(ours / one_thread, 2), "times_two_threads": round(ours / own_threads, 2),
            "copies_per_row": round(made / N_ROWS, 2),
        }  # fmt: skip
        print(name, found[f"{name} {options.get('action', '')}".strip()], flush=True)
    medians = {way: median(one[f"times_{way}"] for one in found.values()) for way in ("one_thread", "two_threads")}
    return {"augmenters": found, "median_times": medians}


def _rate(work: Callable[[], Any], n_rows: int) -> float:
    started = time.perf_counter()
    work()
    return n_rows / (time.perf_counter() - started)


def models() -> dict[str, Any]:
    """Return rows per second of contextual replacement and back-translation against nlpaug with the same folders."""
    import nlpaug.augmenter.word as naw
    import torch

    torch.set_num_threads(N_WORKERS)
    texts = texts_of("disaster_tweets", N_MODEL_ROWS)
    found = {}
    with _in_a_folder():
        mlm = _masked_language_model(texts)
        peer = naw.ContextualWordEmbsAug(
            model_path=str(mlm), model_type="bert", use_custom_api=False, aug_p=0.15, device="cpu", top_k=20
        )
        found["contextual"] = _compared("contextual", {"model": str(mlm)}, texts, peer, n_peer=200)
        for size, n_peer in (("small", N_MODEL_ROWS), ("of opus-mt's size", 200)):
            forward, back = _translators(texts, **TRANSLATORS[size])
            options = {
                "forward": str(forward),
                "back": str(back),
                "cached": False,
                "sampling": False,
                "n_candidates": 1,
            }
            peer = naw.BackTranslationAug(from_model_name=str(forward), to_model_name=str(back), device="cpu")
            found[f"back-translation, {size}"] = _compared("back_translation", options, texts, peer, n_peer=n_peer)
    return found


def _compared(name: str, options: dict[str, Any], texts: list[str], peer: Any, *, n_peer: int) -> dict[str, float]:
    """Return rows per second of ours, in shards of two folds over the workers, and of nlpaug in one call and one by one."""
    shards = [texts[fold::N_WORKERS] for fold in range(N_WORKERS)]
    with Parallel(n_jobs=N_WORKERS, backend="loky") as parallel:
        parallel(
            delayed(shard_variants)(name, options, texts[:4], texts) for _ in range(4 * N_WORKERS)
        )  # loads the weights
        ours = _rate(
            lambda: parallel(delayed(shard_variants)(name, options, shard, texts) for shard in shards), len(texts)
        )
    peer.augment(texts[:4])
    together = _rate(lambda: peer.augment(texts[:n_peer]), n_peer)
    one_by_one = _rate(lambda: [peer.augment(text) for text in texts[:50]], 50)
    rates = {"rows_per_second": ours, "nlpaug": together, "nlpaug_one_by_one": one_by_one}
    found = {key: round(rate, 2) for key, rate in rates.items()} | {"times": round(ours / max(together, one_by_one), 2)}
    print(name, found, flush=True)
    return found


def _masked_language_model(texts: list[str]) -> Path:
    import transformers

    folder = Path("models/mlm")
    tokenizer = transformers.BertTokenizer().train_new_from_iterator(texts, vocab_size=8000)
    sizes = {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 512}
    config = transformers.BertConfig(vocab_size=len(tokenizer), initializer_range=0.1, **sizes)
    transformers.AutoModelForMaskedLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _translators(texts: list[str], *, width: int, n_layers: int, n_heads: int, vocab_size: int) -> tuple[Path, Path]:
    """Write two translators that say each token again, with a vocabulary filled up to `vocab_size`."""
    import sentencepiece
    from transformers import MarianConfig

    forward, back = (Path("models") / f"{name}-{width}" for name in ("en-de", "de-en"))
    forward.mkdir(parents=True)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts), model_prefix=str(forward / "source"), vocab_size=4000, hard_vocab_limit=False,
        minloglevel=2,
    )  # fmt: skip
    (forward / "source.model").rename(forward / "source.spm")
    shutil.copy(forward / "source.spm", forward / "target.spm")
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(forward / "source.spm"))
    vocabulary = {pieces.id_to_piece(i): i for i in range(len(pieces))}
    pad = vocabulary["<pad>"] = len(vocabulary)
    (forward / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    config = MarianConfig(
        vocab_size=max(vocab_size, pad + 1), d_model=width, max_position_embeddings=512,
        encoder_layers=n_layers, decoder_layers=n_layers, encoder_ffn_dim=4 * width, decoder_ffn_dim=4 * width,
        encoder_attention_heads=n_heads, decoder_attention_heads=n_heads,
        pad_token_id=pad, eos_token_id=2, decoder_start_token_id=pad,
    )  # fmt: skip
    model = _echo(config)
    model.generation_config.bad_words_ids = [[pad]]
    model.save_pretrained(forward)
    shutil.copytree(forward, back)
    for folder, (source, target) in ((forward, ("en", "de")), (back, ("de", "en"))):
        values = {"tokenizer_class": "MarianTokenizer", "model_max_length": 512}
        values |= {"source_lang": source, "target_lang": target}
        (folder / "tokenizer_config.json").write_text(json.dumps(values), encoding="utf-8")
    return forward, back


def _echo(config: Any) -> Any:
    """Return a Marian model that says each token again: the last cross-attention looks at the place where the decoder is.

    All layers are computed, and but for that one add nothing. Places are told apart by the fast sines and cosines of the
    positions (D values: sines, then cosines); tokens stand where sines are so slow that they are near 0.
    """
    import torch
    from transformers import MarianMTModel

    torch.manual_seed(0)
    model = MarianMTModel(config)
    n_sines, n_of_head = config.d_model // 2, config.d_model // config.decoder_attention_heads
    fast = [*range(n_of_head // 2), *range(n_sines, n_sines + n_of_head // 2)]
    slow = torch.arange(n_sines - config.d_model // 8, n_sines)
    encoder, decoder = model.model.encoder.layers, model.model.decoder.layers
    silent = [part for layer in (*encoder, *decoder) for part in (layer.self_attn.out_proj, layer.fc2)]
    look = decoder[-1].encoder_attn
    with torch.no_grad():
        for part in [*silent, *(layer.encoder_attn.out_proj for layer in decoder)]:
            part.weight.zero_()
            part.bias.zero_()
        places = torch.zeros(n_of_head, config.d_model)
        places[range(n_of_head), fast] = 1.0
        places[:, -1] = -1.0  # the slowest cosine is 1 everywhere: it takes out what normalisation subtracted
        for part in (look.q_proj, look.k_proj):
            part.weight.copy_(12 * places.repeat(config.decoder_attention_heads, 1))
            part.bias.fill_(12 * 1.8)
        look.v_proj.weight.zero_()
        look.v_proj.weight[slow, slow] = 1.0
        look.out_proj.weight[slow, slow] = 100.0
        tokens = torch.nn.functional.normalize(torch.randn(config.vocab_size, len(slow)), dim=1)
        model.model.shared.weight.zero_()
        model.model.shared.weight[:, slow] = 4 * tokens
    return model


def memory() -> dict[str, Any]:
    """Return the peak memory, MiB, of the stage over 10,000 and 100,000 documents: its process and its largest worker."""
    found = {}
    for n_rows in (10_000, 100_000):
        with _in_a_folder():
            table, folds = _documents(n_rows)
            write_table(table)
            write_folds(folds.rows)
            run = subprocess.run([sys.executable, __file__, "stage"], capture_output=True, text=True, check=True)
        found[n_rows] = json.loads(run.stdout.splitlines()[-1])
    ratio = {name: found[100_000][name] / found[10_000][name] for name in found[10_000]}
    return {"documents": found, "ratio": {name: round(one, 3) for name, one in ratio.items()}}


def stage() -> None:
    """Run the stage over the working folder's table and folds and print its peak memory, MiB."""
    peaks = {"process": 0, "largest_worker": 0}
    done = threading.Event()

    def watch() -> None:
        own = psutil.Process()
        while not done.wait(0.1):
            with contextlib.suppress(psutil.Error):
                workers = [child.memory_info().rss for child in own.children(recursive=True)]
                peaks["largest_worker"] = max(peaks["largest_worker"], *workers, 0)
            peaks["process"] = max(peaks["process"], own.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    steps = [{"augmenter": "keyboard"}, {"augmenter": "tfidf"}]
    run_stage(steps, read_table(), read_folds(), n_workers=N_WORKERS)
    done.set()
    watcher.join()
    print(json.dumps({name: peak // 2**20 for name, peak in peaks.items()}))


def _documents(n_rows: int, n_splits: int = 5) -> tuple[Table, Folds]:
    generator = np.random.default_rng(0)
    vocabulary = np.array([f"word{number}" for number in range(5000)])
    texts = [" ".join(vocabulary[generator.integers(5000, size=20)]) for _ in range(n_rows)]
    return _table(texts, generator.integers(2, size=n_rows).astype(str).tolist(), np.arange(n_rows) % n_splits)


def _table(texts: Sequence[str], labels: Sequence[str], folds: Sequence[int]) -> tuple[Table, Folds]:
    ids = [f"r{number}" for number in range(len(texts))]
    rows = pd.DataFrame({"row_id": ids, "text": texts, "text_pair": None, "label": labels, "group": None})
    rows = rows.assign(task="task", split="train")[TABLE_COLUMNS]
    plan = pd.DataFrame({"row_id": ids, "task": "task", "repeat": 0, "fold": folds, "cluster": range(len(texts))})
    return Table(rows, {"task": sorted(set(labels))}, {"task": ("multiclass", {})}), Folds(plan, "f" * 64)


def run_stage(steps: list[dict[str, Any]], table: Table, folds: Folds, *, n_workers: int = 1) -> None:
    """Run the stage in the working folder."""
    n_splits = int(folds.rows["fold"].max()) + 1
    task = {"kind": "multiclass", "metric": "accuracy", "train": "train.csv", "test": "test.csv"}
    params = Params.model_validate(
        {
            "competition": "c", "seed": 1, "tasks": {"task": task},
            "folds": {"n_splits": max(2, n_splits), "near_duplicate_similarity": 0.85}, "augment": {"steps": steps},
            "training": {}, "encoders": {"none": {"source": "from_config"}}, "stitch": {"pairs": []}, "baselines": {},
            "stack": {}, "submit": {},
            "run": {"device": "cpu", "n_workers": n_workers, "backend": "loky" if n_workers > 1 else "sequential"},
        }
    )  # fmt: skip
    augment(params, table, folds, recipe=stage_recipe(params, "augment"))


def same_bytes() -> dict[str, bool]:
    """Return whether four workers, and a run of which half the units were lost, give the bytes of one worker."""
    steps = [{"augmenter": "keyboard"}, {"augmenter": "tfidf"}, {"sequential": ["random_words", "ocr"]}]
    table, folds = _documents(20_000)
    found = {}
    with _in_a_folder():
        run_stage(steps, table, folds)
        before = _outputs()
        for position, unit in enumerate(sorted(Path(".stitchfold/units").iterdir())):
            if position % 2:
                shutil.rmtree(unit)
        run_stage(steps, table, folds)
        found["half of the units lost, made again"] = _outputs() == before
    with _in_a_folder():
        run_stage(steps, table, folds, n_workers=4)
        found["four workers"] = _outputs() == before
    return found


def _outputs() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(Path("out/augment").glob("*")) if path.is_file()}


def leaks(n_planted: int = 200) -> dict[str, float]:
    """Return the percentage of planted leaks that are kept out of the training for the fold of the row they are like."""
    tweets = list(dict.fromkeys(texts_of("disaster_tweets", 7000)))[:n_planted]
    chinese = list(dict.fromkeys(texts_of("smp2020_ewect", 7000)))[:n_planted]
    to_full = {"name": "width", "direction": "full", "word_ratio": 1.0, "max_words": 1000}
    traditional = {"name": "script", "direction": "to_traditional"}
    from opencc import OpenCC

    planted = {
        "casing": (tweets, [text.swapcase() for text in tweets], to_full),
        "width": (tweets, [text.translate({c: c + 0xFEE0 for c in range(0x21, 0x7F)}) for text in tweets], to_full),
        "near": (tweets, [f"{text} !" for text in tweets], to_full),
        "translated twin": (chinese, [OpenCC("s2t").convert(text) for text in chinese], traditional),
    }
    return {name: _caught(*case) for name, case in planted.items()}


def _caught(texts: list[str], twins: list[str], augmenter: dict[str, Any]) -> float:
    """Return the percentage of copies of texts of fold 0, each with a twin in fold 1, that fold 1's training goes without."""
    table, folds = _table([*texts, *twins], ["0", "1"] * len(texts), [0] * len(texts) + [1] * len(texts))
    with _in_a_folder():
        run_stage([{"augmenter": augmenter}], table, folds)
        made = json.loads(Path("out/augment/augment.json").read_text(encoding="utf-8"))["steps"][0]["n_made"]
        through = read_copies(manifest=folds.digest).of_fold("task", 0, 1)
        through = through[through["fold"] == 0]
    twin_of = dict(zip((f"r{number}" for number in range(len(texts))), twins, strict=False))
    leaked = sum(_like(text, twin_of[row_id]) for row_id, text in zip(through["row_id"], through["text"], strict=True))
    return round(100 * (1 - leaked / max(1, made)), 2)


def _like(copy: str, twin: str) -> bool:
    import pyarrow as pa

    from pipeline.text.near_duplicates import near_pairs

    return bool(near_pairs(pa.array([copy]), pa.array([twin]), similarity=0.85).size)


def chinese() -> dict[str, Any]:
    """Return the percentage of valid copies of 1,000 Chinese rows (see `is_valid`), by augmenter; print a bad one of each."""
    texts = texts_of("smp2020_ewect", 1000)
    augmenters: dict[str, dict[str, Any]] = {
        "homophones": {"lexicon": str(LEXICONS / "homophones_zh.txt")},
        "look_alikes": {"lexicon": str(LEXICONS / "lookalikes_zh.txt")},
        "random_characters": {}, "script": {}, "width": {}, "synonyms": {"lexicon": str(LEXICONS / "cilin.txt")}, "tfidf": {},
        "random_words": {}, "sentence_shuffle": {}, "sentence_drop": {},
    }  # fmt: skip
    words_of_corpus = {word for text in texts for word in LATIN.findall(text)}
    written = set((LEXICONS / "cilin.txt").read_text(encoding="utf-8").split())
    found: dict[str, Any] = {}
    for name, options in augmenters.items():
        augmenter = components.build("augmenters", name, options, corpus=Corpus(texts), device="cpu")
        variants = augmenter.augment(texts, n_variants=1, seeds=range(1000), reserved=[frozenset()] * 1000)
        pairs = [(text, own[0]) for text, own in zip(texts, variants, strict=True) if own]
        word_level = name in ("synonyms", "tfidf", "random_words")
        more = {"words_of_corpus": words_of_corpus, "written": written, "word_level": word_level}
        valid = [is_valid(*pair, **more) for pair in pairs]
        found[name] = {"copies": len(pairs), "valid_percent": round(100 * float(np.mean(valid)), 2)}
        print(name, found[name], next((pair for pair, good in zip(pairs, valid, strict=True) if not good), None))
    return {"augmenters": found, "least_percent": min(one["valid_percent"] for one in found.values())}


def is_valid(text: str, copy: str, *, words_of_corpus: set[str], written: set[str], word_level: bool) -> bool:
    """Return whether a copy of a Chinese text is sound.

    It has no broken character; no blank where two characters stood together; no more words in Latin letters than the text
    but such as the corpus has; and, where whole words are changed, no word that stood and stands there but is cut
    otherwise by jieba beside a new neighbour.
    """
    if "\ufffd" in copy or any("\ud800" <= character <= "\udfff" for character in copy):
        return False
    places = (match.start() for match in re.finditer(r"(?<=\S)\s(?=\S)", copy))
    if any(f"{copy[at - 1]}{copy[at + 1]}" in text and IS_HAN.match(copy[at - 1]) for at in places):
        return False
    if sum(word not in words_of_corpus for word in LATIN.findall(copy)) > len(LATIN.findall(text)):
        return False
    return not (word_level and _broken(text, copy, written))


def _broken(text: str, copy: str, written: set[str]) -> list[str]:
    """Return the words of a text, of two characters or more, that stand unchanged in a copy but are cut otherwise there."""
    places = np.full(len(text) + 1, -1)
    for a, b, size in SequenceMatcher(None, text, copy, autojunk=False).get_matching_blocks():
        places[a : a + size] = np.arange(b, b + size)
    edges = {edge for span in cut_spans(copy) for edge in span}
    found = []
    for start, end in cut_spans(text):
        kept = places[start:end]
        if end - start > 1 and (kept >= 0).all() and (np.diff(kept) == 1).all():
            inside = range(int(kept[0]) + 1, int(kept[-1]) + 1)
            whole = {int(kept[0]), int(kept[-1]) + 1} <= edges and edges.isdisjoint(inside)
            # It may be part of a longer word of the lexicon that took its place.
            around = [copy[a:b] for a, b in cut_spans(copy) if a <= kept[0] and b > kept[-1]]
            found += [] if whole or any(word in written for word in around) else [text[start:end]]
    return found


@contextlib.contextmanager
def _in_a_folder() -> Iterator[None]:
    """Work in a temporary folder in which data/ and models/ are those of the repository."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "data").symlink_to(before / "data")
        (Path(folder) / "models").mkdir()
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(before)


def main() -> None:
    """Run the parts named, or all, and write the result beside what was measured before."""
    if sys.argv[1:] == ["stage"]:
        stage()
        return
    os.chdir(ROOT)
    parts = {
        "words": words,
        "models": models,
        "memory": memory,
        "bytes": same_bytes,
        "leaks": leaks,
        "chinese": chinese,
    }
    before = RESULTS / "augmentation.json"
    figures = json.loads(before.read_text(encoding="utf-8"))["figures"] if before.exists() else {}
    for name in sys.argv[1:] or PARTS:
        figures[name] = parts[name]()
    record("augmentation", figures=figures, targets=TARGETS, libraries=("nlpaug", "torch", "transformers", "jieba"))


if __name__ == "__main__":
    main()
