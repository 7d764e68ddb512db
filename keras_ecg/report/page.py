"""Content of a report as plain data, which the templates lay out: no HTML here."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from keras_ecg.evaluation.schema import LOWER, explain, format_value, metric, title

DASH = "–"
ORDER = {  # of the sections of every report: anchor and entry in the menu
    "alarms": "Warnings",
    "declarations": "Test data",
    "headline": "",
    "comparison": "Comparison",
    "protocol": "Protocol",
    "classes": "Classes",
    "ec57": "EC57",
    "records": "Records",
    "folds": "Seeds and folds",
    "calibration": "Calibration",
    "curves": "Curves",
    "confusion": "Confusion matrix",
    "robustness": "Robustness",
    "pictures": "Pictures",
    "training": "Training",
    "errors": "Errors",
    "data": "Data notes",
    "configuration": "Configuration",
    "environment": "Versions",
    "recompute": "Recompute",
    "definitions": "Metrics explained",
}


@dataclass(frozen=True)
class Span:
    """Inline text.

    Attributes:
        text: itself.
        small: smaller text after it.
        below: smaller text on a line below it.
        tip: explanation shown when pointed at.
        tone: "strong", "code", "better", "worse" or "wrong".
        colour: of a dot before it.
    """

    text: str
    small: str = ""
    below: str = ""
    tip: str = ""
    tone: str = ""
    colour: str = ""


Inline = str | Span


@dataclass(frozen=True)
class Note:
    """A paragraph of smaller print."""

    kind: ClassVar = "note"
    text: str


@dataclass(frozen=True)
class Heading:
    """A heading inside a section."""

    kind: ClassVar = "heading"
    text: str


@dataclass(frozen=True)
class Lines:
    """A bulleted list."""

    kind: ClassVar = "lines"
    lines: Sequence[Inline]


@dataclass(frozen=True)
class Row:
    """A row of a table: its heading, its cells, and "lead", "group" or "marked"."""

    heading: Inline
    cells: Sequence[Inline]
    tone: str = ""


@dataclass(frozen=True)
class Table:
    """A table in a box that scrolls; `style` is "tight" or "text"."""

    kind: ClassVar = "table"
    head: Sequence[Inline]
    rows: Sequence[Row]
    caption: str
    style: str = ""


@dataclass(frozen=True)
class Confusion:
    """A confusion matrix: counts and row shares (C, C), shaded by the share."""

    kind: ClassVar = "confusion"
    caption: str
    rows: Sequence[Inline]
    columns: Sequence[Inline]
    counts: Sequence[Sequence[str]]
    shares: Sequence[Sequence[float]]


@dataclass(frozen=True)
class Picture:
    """An inline SVG with a caption."""

    kind: ClassVar = "picture"
    svg: str
    caption: Sequence[Inline] = ()
    style: str = ""


@dataclass(frozen=True)
class Columns:
    """Blocks next to each other where there is room."""

    kind: ClassVar = "columns"
    blocks: Sequence


@dataclass(frozen=True)
class Details:
    """Blocks that unfold."""

    kind: ClassVar = "details"
    summary: str
    blocks: Sequence
    unfolded: bool = False


@dataclass(frozen=True)
class Code:
    """Preformatted text."""

    kind: ClassVar = "code"
    text: str


@dataclass(frozen=True)
class Definitions:
    """Terms and texts."""

    kind: ClassVar = "definitions"
    pairs: Sequence[tuple[str, Sequence[Inline]]]


@dataclass(frozen=True)
class Bar:
    """A scale from 0 to 1 with a value, its 95 % CI, and a reference; each is a fraction of the scale or None."""

    value: float
    low: float | None
    high: float | None
    reference: float | None
    alt: str


@dataclass(frozen=True)
class Card:
    """A headline metric."""

    name: str
    tip: str
    value: Span
    lines: Sequence[str]
    bar: Bar | None = None


@dataclass(frozen=True)
class Cards:
    """Headline metrics next to each other."""

    kind: ClassVar = "cards"
    cards: Sequence[Card]


@dataclass(frozen=True)
class Section:
    """A section of the report; `style` is "warnings" or "plain"."""

    anchor: str
    title: str
    blocks: Sequence = field(default_factory=tuple)
    style: str = ""

    @property
    def menu(self) -> str:
        """Its entry in the menu."""
        return ORDER[self.anchor]


def ordered(sections: Iterable[Section | None]) -> list[Section]:
    """Sections with content in the order of every report."""
    found = [s for s in sections if s is not None and s.blocks]
    return sorted(found, key=lambda s: list(ORDER).index(s.anchor))


def definitions(pairs: Iterable[tuple[str, Inline | Sequence[Inline]]]) -> Definitions:
    """Terms and texts; a pair without text is left out."""
    kept = [(term, [text] if isinstance(text, (str, Span)) else list(text)) for term, text in pairs if text]
    return Definitions(kept)


def count(value: float) -> str:
    """A count; a mean of counts keeps one decimal."""
    return f"{value:,.0f}" if value == round(value) else f"{value:,.1f}"


def signed(name: str, value: float | None) -> str:
    """A difference of a metric with its sign; a dash where it is undefined."""
    if value is None:
        return DASH
    return f"{'+' if value >= 0 else chr(0x2212)}{format_value(name, abs(value))}"


def interval(name: str, stats: dict | None) -> str:
    """The 95 % CI of a metric, `0.931–0.972`; empty without one."""
    if not stats or stats.get("low") is None:
        return ""
    return f"{format_value(name, stats['low'])}–{format_value(name, stats['high'])}"


def head(name: str, shown: str = "") -> Span:
    """The heading of a metric's column."""
    return Span(shown or title(name), tip=explain(name))


def estimate(name: str, stats: dict | float | None) -> Span:
    """A metric's cell: mean, standard deviation over seeds, and 95 % CI below; a dash where it is undefined."""
    if not isinstance(stats, dict):
        return Span(format_value(name, stats))
    if stats.get("mean") is None:
        return Span(DASH)
    spread = f"± {format_value(name, stats['sd'])}" if stats.get("sd") is not None else ""
    return Span(format_value(name, stats["mean"]), spread, interval(name, stats))


def difference(name: str, stats: dict) -> Span:
    """The cell of a paired difference, coloured where its 95 % CI excludes 0; empty without one."""
    if not stats:
        return Span("")
    low, high, tone = stats["low"], stats["high"], ""
    if stats["excludes_zero"]:
        tone = "better" if (low > 0) != (metric(name).direction == LOWER) else "worse"
    below = "" if low is None else f"{signed(name, low)} to {signed(name, high)}"
    return Span(signed(name, stats["difference"]), below=below, tone=tone)


def card(
    name: str, stats: dict, best: tuple[str, float] | None = None, shown: str = "", more: Sequence[str] = ()
) -> Card:
    """The card of a metric between 0 and 1, with its 95 % CI and the best baseline.

    Args:
        name: of the metric.
        stats: mean, sd, low, high.
        best: name and value of the best baseline.
        shown: title, by default that of the schema.
        more: further lines.
    """
    ends, mean = interval(name, stats), stats.get("mean")
    lines = [f"95 % CI {ends}"] if ends else []
    lines += ["undefined: no examples of this class"] if mean is None else []
    lines += [f"◇ best baseline {format_value(name, best[1])}: {best[0]}"] if best else []
    bar = None
    if mean is not None:
        alt = f"{format_value(name, mean)} on a scale from 0 to 1" + (f", 95 % CI {ends}" if ends else "")
        alt += f", best baseline {format_value(name, best[1])}" if best else ""
        bar = Bar(mean, stats.get("low"), stats.get("high"), min(max(best[1], 0.0), 1.0) if best else None, alt)
    value = estimate(name, stats)
    return Card(shown or title(name), explain(name), Span(value.text, value.small), [*lines, *more], bar)
