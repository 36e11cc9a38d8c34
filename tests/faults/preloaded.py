"""Imported by the server of the forks, not by the tests: it digests the code once, so that no fork's recipes do it again."""

from contextlib import chdir
from pathlib import Path
from tempfile import TemporaryDirectory

from pipeline.params.loading import load_params
from pipeline.recipes.stage_recipes import encoder_recipe, stage_recipe
from stages.recipes import STAGES
from tests.faults import harness

with TemporaryDirectory() as folder, chdir(harness.make(Path(folder))):
    params = load_params()
    for name in params.encoders:
        encoder_recipe(params, name)
    for stage in STAGES:
        stage_recipe(params, stage)
