"""What a training leaves behind."""

from dataclasses import dataclass, field


@dataclass
class History:
    """What a training left behind for the report."""

    steps: list[dict[str, float]] = field(default_factory=list)
    epochs: list[dict[str, float | None]] = field(default_factory=list)
    rollbacks: list[dict[str, float]] = field(default_factory=list)
    token_budget: int = 0
    n_tokens: int = 0
    seconds: float = 0.0
