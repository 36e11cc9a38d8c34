"""The ranges of values that keys of params.yaml and options of components share; both name them in their annotations.

It stands at the root because `components.py` reads them by name from a component's text, whatever room that lies in.
"""

from typing import Annotated

from pydantic import Field

PositiveInt = Annotated[int, Field(ge=1)]
NotNegativeInt = Annotated[int, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
NotNegativeFloat = Annotated[float, Field(ge=0)]
Ratio = Annotated[float, Field(ge=0, lt=1)]
Share = Annotated[float, Field(gt=0, le=1)]
Probability = Annotated[float, Field(ge=0, le=1)]
Name = Annotated[str, Field(min_length=1)]
"""A text that says something: as an option with the default "" one that must be given."""
FileName = Annotated[str, Field(pattern=r"^\w[^/\\]*$")]
