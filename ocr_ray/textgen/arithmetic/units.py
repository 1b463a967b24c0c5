"""Calculations with units of length, area, volume, weight, time, angle and temperature."""

from ocr_ray.textgen.arithmetic.operations import (
    Production,
    Random,
    Relation,
    draw_between,
    draw_whole,
    order,
    write_decimal,
)

CHARACTERS = frozenset("mckgtL²³°℃시간분초")
"""What units are written with."""

Conversion = tuple[str, str, int]
"""A unit, a smaller one, and how many of those it is."""

BY_HUNDREDS: tuple[Conversion, ...] = (("m", "cm", 100), ("시간", "분", 60))
BY_THOUSANDS: tuple[Conversion, ...] = (
    ("cm", "mm", 10),
    ("km", "m", 1000),
    ("분", "초", 60),
    ("L", "mL", 1000),
    ("kg", "g", 1000),
    ("t", "kg", 1000),
)
OF_AREA: tuple[Conversion, ...] = (*[("m²", "cm²", 10_000)] * 3, ("km²", "m²", 1_000_000))
OF_SPACE: tuple[Conversion, ...] = (*[("L", "cm³", 1000)] * 3, ("m³", "cm³", 1_000_000))


def _draw_gap(random: Random) -> str:
    return " " if random() < 0.6 else ""


def conversion(units: tuple[Conversion, ...], *, decimal: bool = False) -> Production:
    """`3 km 200 m=3200 m`, or with a decimal `3.2 km=3200 m`; 10 % are of one digit, `3 km=3000 m`.

    More would be too many zeros.
    """

    def draw(random: Random) -> Relation:
        unit, small_unit, factor = units[int(random() * len(units))]
        gap = _draw_gap(random)
        has_rest = random() >= 0.1
        # As many digits as give at least one of the larger unit.
        value = draw_whole(random, len(str(2 * factor))) if has_rest else factor * draw_whole(random, 1)
        left, right = f"{value // factor}{gap}{unit}", f"{value}{gap}{small_unit}"
        if decimal:
            left = f"{write_decimal(value, len(str(factor)) - 1)}{gap}{unit}"
        elif value % factor:
            left += f" {value % factor}{gap}{small_unit}"
        return (left, "=", right) if random() < 0.6 else (right, "=", left)

    return draw


def measure_sum(units: tuple[str, ...], *lengths: int) -> Production:
    """Two measures in one of the units, their numbers of one of the lengths in digits."""

    def draw(random: Random) -> Relation:
        unit = _draw_gap(random) + units[int(random() * len(units))]
        num_digits = lengths[int(random() * len(lengths))]
        a, b = draw_whole(random, num_digits), draw_whole(random, num_digits)
        if random() < 0.5:
            return f"{a}{unit}+{b}{unit}", "=", f"{a + b}{unit}"
        a, b = order(a, b)
        return f"{a}{unit}-{b}{unit}", "=", f"{a - b}{unit}"

    return draw


def angle_sum(random: Random) -> Relation:
    """Return sums of angles, what is missing to a right, straight or full one, and rarely temperatures."""
    choice, a, b = random(), draw_whole(random, 2), draw_whole(random, 2)
    if choice < 0.2:
        whole = 90 if a < 90 and choice < 0.05 else 180 if choice < 0.12 else 360
        return f"{whole}°-{a}°", "=", f"{whole - a}°"
    sign = "℃" if choice > 0.9 else "°"
    if random() < 0.5:
        return f"{a}{sign}+{b}{sign}", "=", f"{a + b}{sign}"
    a, b = order(a, b)
    return f"{a}{sign}-{b}{sign}", "=", f"{a - b}{sign}"


def measure_product(power: str, base_power: str, *lengths: int) -> Production:
    """A rectangle's area or a prism's volume: `8 cm×5 cm=40 cm²`, numbers of one of the lengths in digits."""

    def draw(random: Random) -> Relation:
        gap, unit = _draw_gap(random), ("cm", "m")[int(random() * 2)]
        a, b = draw_whole(random, lengths[int(random() * len(lengths))]), draw_between(random, 1, 9)
        return f"{a}{gap}{unit}{base_power}×{b}{gap}{unit}", "=", f"{a * b}{gap}{unit}{power}"

    return draw
