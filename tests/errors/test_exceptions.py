"""The errors are for every module: importing them costs nothing."""

import subprocess
import sys

from tests.conftest import ROOT

HEAVY = {"numpy", "pandas", "pyarrow", "torch", "sklearn", "joblib", "dvc", "psutil", "pydantic", "ruamel"}


def test_the_package_of_errors_imports_nothing_heavy() -> None:
    modules = [f"pipeline.errors.{path.stem}" for path in (ROOT / "pipeline" / "errors").glob("[a-z]*.py")]
    assert "pipeline.errors.exceptions" in modules
    code = f"import sys, {', '.join(modules)}; print(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert HEAVY.isdisjoint(done.stdout.split())
