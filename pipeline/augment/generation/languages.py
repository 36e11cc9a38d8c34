"""Which languages translators go between: whether two of them lead there and back, and how one is told its target."""

import json
import re
from pathlib import Path
from typing import Any

from pipeline.errors.exceptions import ParamsError

# Names that one family of checkpoints uses for what another writes in two letters.
TWO_LETTERS = dict(
    re.findall(
        r"(\w+)=(\w+)",
        "eng=en zho=zh chi=zh cmn=zh deu=de ger=de fra=fr fre=fr spa=es rus=ru jpn=ja kor=ko ita=it por=pt nld=nl swe=sv"
        " dan=da nor=no fin=fi pol=pl ces=cs slk=sk ukr=uk bul=bg hun=hu ron=ro ell=el tur=tr ara=ar heb=he hin=hi vie=vi",
    )
)


def languages(origin: str, revision: str | None) -> tuple[str | None, str | None]:
    """Return the source and target language that a checkpoint states, None where it states none.

    Raises:
        ParamsError: if its configuration is no JSON, or cannot be had.
    """
    stated: dict[str, Any] = {}
    for name in ("config.json", "tokenizer_config.json"):
        path = _file(origin, revision, name)
        try:
            stated |= json.loads(path.read_text(encoding="utf-8")) if path is not None else {}
        except ValueError as error:
            raise ParamsError(f"{path}: must be JSON, got {error}. Get the model again.") from error
    return stated.get("source_lang"), stated.get("target_lang")


def check_there_and_back(
    forward: str, there: tuple[str | None, str | None], back: str, again: tuple[str | None, str | None]
) -> None:
    """Refuse two translators of which the second does not lead back to where the first began.

    Raises:
        ParamsError: naming both and their languages.
    """
    if any(_differ(a, b) for a, b in zip(there, reversed(again), strict=True)):
        routes = [" -> ".join(name or "?" for name in route) for route in (there, again)]
        raise ParamsError(
            f"back: must translate back what `forward` translated, got {forward} ({routes[0]}) and {back} ({routes[1]}). "
            "Name the checkpoint of the opposite direction."
        )


def steer(tokenizer: Any, *, source: str, target: str) -> tuple[str, int | None]:
    """Tell a model of many languages where to translate: return what stands before each text, and the forced first token.

    Source and target are codes as the checkpoint writes them; empty, or a model of one direction: nothing to tell.

    Raises:
        ParamsError: if the model has codes, and not this one.
    """
    vocabulary = tokenizer.get_vocab()
    markers = [token for token in vocabulary if token.startswith(">>") and token.endswith("<<")]
    if hasattr(tokenizer, "src_lang"):
        for code in (source, target):
            if not code or not {code, f"__{code}__"} & vocabulary.keys():
                raise _unknown(code, "language and pivot_language: a model of many languages needs both")
        tokenizer.src_lang = source
        return "", int(vocabulary[target if target in vocabulary else f"__{target}__"])
    if not target or not markers:
        return "", None
    if f">>{target}<<" not in vocabulary:
        codes = sorted(marker[2:-2] for marker in markers)
        raise _unknown(target, f"language or pivot_language: must be one of {codes}")
    return f">>{target}<< ", None


def _unknown(code: str, must: str) -> ParamsError:
    return ParamsError(f"{must}, got {code!r}. Write the code as the model's card does, such as eng_Latn or cmn_Hans.")


def _differ(first: str | None, second: str | None) -> bool:
    """Return whether two languages are stated and differ.

    >>> _differ("zho", "zh"), _differ("cmn_Hans", "zh"), _differ("de", "fr"), _differ("de", None)
    (False, False, True, False)
    """
    return bool(first and second) and _plain(str(first)) != _plain(str(second))


def _plain(language: str) -> str:
    short = language.lower().replace("-", "_").partition("_")[0]
    return TWO_LETTERS.get(short, short)


def _file(origin: str, revision: str | None, name: str) -> Path | None:
    """Return where a checkpoint's file lies, got from the hub if need be, or None if it has none."""
    if revision is None:
        path = Path(origin) / name
        return path if path.is_file() else None
    from transformers.utils import cached_file

    try:
        path_there = cached_file(origin, name, revision=revision, _raise_exceptions_for_missing_entries=False)
    except OSError as error:
        raise ParamsError(f"model: cannot get {name} of {origin}@{revision}: {error}") from error
    return None if path_there is None else Path(path_there)
