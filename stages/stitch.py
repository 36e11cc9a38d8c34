"""Stage `stitch`: the fold models of all encoders -> out/stitch, one folder per stitched model."""

from pipeline import artifacts
from pipeline.exceptions import exit_on_error
from pipeline.params import load_params


def main() -> None:
    """Stitch all pairs under all heads over all folds."""
    with exit_on_error():
        params = load_params()
        from pipeline.stitching import stitch  # imports torch: only once params are known to be right

        stitch(
            params,
            artifacts.read_table(),
            artifacts.read_folds(),
            recipe=artifacts.read_json(artifacts.stage_recipe_path("stitch")),
            folder=artifacts.OUT / "stitch",
        )


if __name__ == "__main__":
    main()
