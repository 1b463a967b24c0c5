"""Axes of variable fonts, and the instance that is drawn.

The default instance of a variable font need not be its regular one: that of Noto Sans KR is Thin.
"""

from dataclasses import dataclass
from typing import Any

from ocr_ray.render.fonts.names import fold_name
from ocr_ray.render.fonts.request import AxisValues

WEIGHT, REGULAR_WEIGHT, BOLD_WEIGHT = "wght", 400.0, 700.0
_LEAST_HIGHEST_WEIGHT = 100
"""A font whose weights end below this has its own scale, such as Skia: 0.48 to 3.2. Others use 1 to 1000."""


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis of a variable font with the range of its values."""

    tag: str
    lowest: float
    default: float
    highest: float

    @property
    def regular(self) -> float:
        """The value of the regular instance: weight 400, or the nearest there is; other axes' default."""
        if self.tag != WEIGHT or self.highest < _LEAST_HIGHEST_WEIGHT:
            return self.default
        return min(max(REGULAR_WEIGHT, self.lowest), self.highest)

    def __str__(self) -> str:
        return f"{self.tag} {self.lowest:g} to {self.highest:g}"


@dataclass(frozen=True, slots=True)
class Variation:
    """The axes of a variable font and its named instances; neither in a static font."""

    axes: tuple[Axis, ...] = ()
    """In the order of the file."""
    instances: tuple[tuple[str, AxisValues], ...] = ()
    """Full name and values of each named instance."""

    def choose(self, wanted: AxisValues = (), name: str = "") -> AxisValues:
        """Return a value for each axis: that of `wanted`, of the instance of that name, or the regular one.

        Raises:
            ValueError: an axis does not exist, or its value is out of range; the message lists the axes.
        """
        ranges = {axis.tag: axis for axis in self.axes}
        for tag, value in wanted:
            if tag not in ranges or not ranges[tag].lowest <= value <= ranges[tag].highest:
                raise ValueError(f"{self.describe_axes()}; got {tag}={value:g}")
        values = {axis.tag: axis.regular for axis in self.axes}
        instances = {fold_name(full_name): instance for full_name, instance in self.instances}
        return tuple((values | dict(instances.get(fold_name(name), ())) | dict(wanted)).items())

    def describe_axes(self) -> str:
        return ", ".join(map(str, self.axes)) or "none, because it is not a variable font"

    def name_instance(self, values: AxisValues) -> str:
        """Return the name of the instance with these values; empty if it has none."""
        return next((name for name, instance in self.instances if instance == values), "")


def read_variation(font: Any, family: str, full_name: str) -> tuple[str, Variation]:
    """Return the family of a font of fontTools without the style of its default instance, and its variation.

    A file without a typographic family has that style in the name of its family: `Noto Sans KR Thin`.
    """
    if "fvar" not in font:
        return family, Variation()
    table = font["fvar"]
    axes = tuple(
        Axis(axis.axisTag, *map(_round, (axis.minValue, axis.defaultValue, axis.maxValue)))
        for axis in table.axes
    )
    default = tuple((axis.tag, axis.default) for axis in axes)
    styles = [
        (
            font["name"].getDebugName(instance.subfamilyNameID) or "",
            tuple((axis.tag, _round(instance.coordinates[axis.tag])) for axis in axes),
        )
        for instance in table.instances
    ]
    default_style = next((style for style, values in styles if style and values == default), "")
    family = family.removesuffix(f" {default_style}")
    instances = [(f"{family} {style}".strip(), values) for style, values in styles]
    if fold_name(full_name) not in map(fold_name, (family, f"{family} Regular")):
        instances.append((full_name, default))
    return family, Variation(axes, tuple(instances))


def _round(value: float) -> float:
    """Return the number that a file means, which holds it in steps of 1/65536: 3.2 for 3.19999."""
    return round(value, 5)


def format_axes(values: AxisValues) -> str:
    """Return the values as `--fonts` takes them after a `#`: `wght=700,wdth=75`."""
    return ",".join(f"{tag}={value:g}" for tag, value in values)
