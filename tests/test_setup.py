"""The set-up by make: which torch it tries on which machine, in which order, and what it says of it."""

import os
import shutil
import subprocess
import tomllib
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

from tests.conftest import HANG_SECONDS, ROOT

# In the place of python: `-m venv` copies it, and `-m pip install` notes its arguments and fails on what is in LACKS.
PYTHON = """\
#!/bin/sh
case "$2" in
venv) mkdir -p "$3/bin"; cp "$0" "$3/bin/python"; exit ;;
esac
echo "$*" >> "$CALLS"
for package in $LACKS; do
  case " $* " in *" $package "*) exit 1 ;; esac
done
case " $* " in *" uv "*) cp "$UV" "${0%/*}/uv" ;; esac
"""
UV = """\
#!/bin/sh
echo "uv $*" >> "$CALLS"
case " $LACKS " in *" pytorch "*) exit 2 ;; esac
"""
VERSION = next(
    line.removeprefix("torch==")
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    if line.startswith("torch==")
)
PLAIN = f"torch=={VERSION}"
PIP = "-m pip install --constraint constraints.txt"
BY_PIP_CPU = f"{PIP} --quiet {PLAIN}+cpu"
UV_BY_PIP = f"{PIP} --quiet uv"
BY_UV = "uv pip install --quiet --python .venv/bin/python --constraint constraints.txt --torch-backend="
BY_PLAIN_NAME = f"{PIP} {PLAIN}"
PROJECT = "-m pip install --quiet --constraint constraints.txt --editable .[dev]"

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


@dataclass(frozen=True)
class Machine:
    """A machine that has nothing but what make needs, and stand-ins for python, uv, uname and nvidia-smi."""

    folder: Path

    def has(self, name: str, script: str = "#!/bin/sh\n") -> None:
        path = self.folder / "bin" / name
        path.write_text(script, encoding="utf-8")
        path.chmod(0o755)

    def make(self, *arguments: str, lacks: str = "") -> tuple[list[str], str]:
        """Run `make .venv/.ready`; return the calls of pip and uv, and what was said."""
        environment = {
            "PATH": str(self.folder / "bin"),
            "CALLS": str(self.folder / "calls"),
            "UV": str(self.folder / "uv"),
            "LACKS": lacks,
        }
        command = [str(shutil.which("make")), "--no-print-directory", ".venv/.ready", *arguments]
        done = subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=HANG_SECONDS
        )
        assert (done.returncode == 0) == self.is_ready(), done.stdout + done.stderr
        return (self.folder / "calls").read_text(encoding="utf-8").splitlines(), done.stdout

    def is_ready(self) -> bool:
        return (self.folder / ".venv" / ".ready").exists()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A Linux machine on x86 without a GPU and without uv."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    (tmp_path / "bin").mkdir()
    for name in ("sh", "sed", "touch", "mkdir", "cp"):
        os.symlink(str(shutil.which(name)), tmp_path / "bin" / name)
    (tmp_path / "uv").write_text(UV, encoding="utf-8")
    (tmp_path / "uv").chmod(0o755)
    machine = Machine(tmp_path)
    machine.has("python3", PYTHON)
    machine.has("uname", "#!/bin/sh\necho Linux x86_64\n")
    return machine


def test_the_cpu_build_comes_from_pips_indexes_where_they_have_it(machine: Machine) -> None:
    calls, said = machine.make()
    assert calls == [BY_PIP_CPU, PROJECT]
    assert f"torch: trying pip install {PLAIN}+cpu: there is no GPU here" in said


def test_where_the_indexes_lack_the_cpu_build_uv_is_asked_for_it(machine: Machine) -> None:
    machine.has("uv", UV)
    calls, said = machine.make(lacks=f"{PLAIN}+cpu")
    assert calls == [BY_PIP_CPU, f"{BY_UV}cpu {PLAIN}", PROJECT]
    assert "pip's indexes do not give it. Trying uv pip install --torch-backend=cpu" in said
    assert "gigabytes" not in said


def test_pip_brings_uv_where_it_is_missing(machine: Machine) -> None:
    calls, _ = machine.make(lacks=f"{PLAIN}+cpu")
    assert calls == [BY_PIP_CPU, UV_BY_PIP, f"{BY_UV}cpu {PLAIN}", PROJECT]


@pytest.mark.parametrize("lacks", ["uv", "pytorch"], ids=["no uv to be had", "uv does not reach PyTorch's builds"])
def test_the_plain_name_comes_last_with_a_word_about_its_size(machine: Machine, lacks: str) -> None:
    calls, said = machine.make(lacks=f"{PLAIN}+cpu {lacks}")
    asked = [] if lacks == "uv" else [f"{BY_UV}cpu {PLAIN}"]
    assert calls == [BY_PIP_CPU, UV_BY_PIP, *asked, BY_PLAIN_NAME, PROJECT]
    assert f"Installing {PLAIN}, the plain name: several gigabytes with CUDA packages" in said


@pytest.mark.parametrize("lacks", ["", "pytorch"], ids=["uv reaches PyTorch's builds", "uv does not"])
def test_with_a_gpu_uv_takes_the_build_for_its_driver_and_the_cpu_build_is_not_asked_for(
    machine: Machine, lacks: str
) -> None:
    machine.has("nvidia-smi")
    calls, said = machine.make(lacks=lacks)
    assert calls == [UV_BY_PIP, f"{BY_UV}auto {PLAIN}", *([BY_PLAIN_NAME] if lacks else []), PROJECT]
    assert "it takes the build that fits the driver of this GPU" in said


@pytest.mark.parametrize("system", ["Darwin arm64", "Linux aarch64"])
def test_where_the_plain_name_brings_no_cuda_packages_it_is_taken_at_once(machine: Machine, system: str) -> None:
    machine.has("uname", f"#!/bin/sh\necho {system}\n")
    calls, said = machine.make()
    assert calls == [f"{PIP} --quiet {PLAIN}", PROJECT]
    assert f"on {system} the plain name brings no CUDA packages" in said


def test_who_names_a_torch_gets_that_one(machine: Machine) -> None:
    calls, said = machine.make("TORCH=torch==9.9")
    assert calls == [f"{PIP} --quiet torch==9.9", PROJECT]
    assert "installing torch==9.9, as make was told" in said


def test_a_machine_that_can_have_no_torch_is_not_ready(machine: Machine) -> None:
    calls, _ = machine.make(lacks=f"{PLAIN}+cpu uv {PLAIN}")
    assert calls[-1] == BY_PLAIN_NAME
    assert not machine.is_ready()


def test_each_pinned_version_runs_on_the_lowest_python_that_the_project_names() -> None:
    """Debian 12's python3 is 3.11.2; a pin that asks for a later one ends the set-up in riddles of pip's."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lowest = f"{project['requires-python'].removeprefix('>=')}.0"
    pinned = [line.partition("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line]
    asked = {}
    for name in pinned:
        with suppress(PackageNotFoundError):  # some are pinned for optional extras
            asked[name] = metadata(name).get("Requires-Python") or ""
    assert len(asked) > len(pinned) / 2
    assert [name for name, versions in asked.items() if not SpecifierSet(versions).contains(lowest)] == []
