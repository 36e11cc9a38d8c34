"""What goes to the terminal: the pipeline's progress, and of libraries their warnings alone."""

import subprocess
import sys

CODE = """
import logging
from pipeline.errors.redacting import start_logging
start_logging()
logging.getLogger("gensim.models.word2vec").info("EPOCH 9 - PROGRESS")
logging.getLogger("gensim.models.word2vec").warning("under 10 jobs per worker")
logging.getLogger("pipeline.units.execution").info("augment: 3 units")
"""


def test_libraries_are_heard_only_when_they_warn() -> None:
    said = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True).stderr
    assert "augment: 3 units" in said and "under 10 jobs" in said and "EPOCH" not in said
