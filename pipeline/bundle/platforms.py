"""What surrounds a bundle where competitions run code: a Kaggle notebook with its metadata, a zip with a main.py, wheels."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

from pipeline.artifacts.files import write_atomically
from pipeline.bundle.predictor import ASSETS, DESCRIPTION
from pipeline.errors.exceptions import MachineError, ParamsError, disk_error

DATASET, KERNEL, NOTEBOOK = "dataset", "kernel", "predict.ipynb"
USER = "INSERT_USERNAME_HERE"  # as Kaggle's own command writes it
WHEELS = "wheels"
WITHOUT_WHEEL = "torch"  # every image has its own, which fits its GPU
PLATFORMS = ("manylinux2014_x86_64", "manylinux_2_17_x86_64", "manylinux_2_27_x86_64", "manylinux_2_28_x86_64")
TEXT = """\
# {model} of {competition}
Predicts the test file with the models of the data set `{slug}`, without a network. A first submission is there at once."""
CODE = """\
import subprocess
import sys
from pathlib import Path

BUDGET_MINUTES = 500  # a notebook may take 540
INPUTS = Path("/kaggle/input")
bundle = next(INPUTS.rglob("{assets}/{description}")).parents[1]
found = {{path.name: path for path in sorted(INPUTS.rglob("*")) if bundle not in path.parents}}
if (bundle / "{wheels}").is_dir():
    pip = [sys.executable, "-m", "pip", "install", "--no-index", "--find-links", str(bundle / "{wheels}")]
    subprocess.run([*pip, *(path.name.split("-")[0] for path in (bundle / "{wheels}").glob("*.whl"))], check=True)
command = [sys.executable, str(bundle / "predict.py"), "--input", str(found["{test}"])]
if "{sample}" in found:
    command += ["--sample", str(found["{sample}"])]
subprocess.run([*command, "--output", "{output}", "--budget-minutes", str(BUDGET_MINUTES)], check=True)"""


def write_kaggle(folder: Path, description: dict[str, Any], *, on_gpu: bool) -> None:
    """Write beside the bundle in `dataset` its metadata, and in `kernel` a notebook that runs it, with its own."""
    slug = "-".join([description["competition"], "bundle"]).replace("_", "-")
    title = f"{description['competition']} {description['model']}"
    sample = description["submission"]["sample"] or {}
    options = description["submission"]["format"][1]
    values = {
        "assets": ASSETS, "description": DESCRIPTION, "wheels": WHEELS, "test": description["reading"]["file"],
        "sample": sample.get("file", ""), "output": options.get("file_name", "submission.csv"),
    }  # fmt: skip
    about = TEXT.format(model=description["model"], competition=description["competition"], slug=slug)
    cells = [_cell("markdown", about), _cell("code", CODE.format(**values))]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    metadata = {
        "id": f"{USER}/{slug}-predict", "title": title, "code_file": NOTEBOOK, "language": "python",
        "kernel_type": "notebook", "is_private": True, "enable_internet": False, "enable_gpu": on_gpu,
        "enable_tpu": False, "machine_shape": "NvidiaTeslaT4" if on_gpu else "", "kernel_sources": [],
        "dataset_sources": [f"{USER}/{slug}"], "model_sources": [],
        "competition_sources": [description["competition"].replace("_", "-")],
    }  # fmt: skip
    dataset = {"id": f"{USER}/{slug}", "title": title, "licenses": [{"name": "other"}]}
    files = {f"{DATASET}/dataset-metadata.json": dataset, f"{KERNEL}/kernel-metadata.json": metadata}
    for name, content in (files | {f"{KERNEL}/{NOTEBOOK}": notebook}).items():
        write_atomically(folder / name, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())


def _cell(kind: str, text: str) -> dict[str, Any]:
    cell: dict[str, Any] = {"cell_type": kind, "id": kind, "metadata": {}, "source": text.splitlines(keepends=True)}
    return cell | ({"execution_count": None, "outputs": []} if kind == "code" else {})


def write_zip(folder: Path) -> Path:
    """Write a bundle's files, its command at the root, as a zip beside it, which appears whole or not at all."""
    path = folder.with_name(f"{folder.name}.zip")
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:  # weights hardly shrink
            for file in sorted(part for part in folder.rglob("*") if part.is_file()):
                archive.write(file, file.relative_to(folder).as_posix())
        os.replace(temporary, path)
    except OSError as error:
        raise disk_error(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)
    return path


def gather_wheels(folder: Path, python: str) -> list[str]:
    """Download what a bundle needs, but torch, as wheels for a Python such as `cp312` on Linux; return their names.

    Raises:
        ParamsError: if there is no such Python.
        MachineError: if they cannot be had.
    """
    if not (python[:2] == "cp" and python[2:].isdigit()):
        raise ParamsError(f"--wheels: must be a Python such as cp312, got {python!r}. Correct it.")
    lines = (folder / "requirements.txt").read_text(encoding="utf-8").splitlines()
    wanted = [line for line in lines if line.partition("==")[0] != WITHOUT_WHEEL]
    command = [sys.executable, "-m", "pip", "download", "--only-binary=:all:", "--implementation", "cp"]
    command += ["--python-version", f"{python[2]}.{python[3:]}", "--abi", python, "--dest", str(folder / WHEELS)]
    done = subprocess.run(
        [*command, *(part for name in PLATFORMS for part in ("--platform", name)), *wanted],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise MachineError(
            f"--wheels: pip cannot get them: {done.stderr.strip()[-500:]}. The bundle itself is whole. Try again online."
        )
    return sorted(path.name for path in (folder / WHEELS).glob("*.whl"))
