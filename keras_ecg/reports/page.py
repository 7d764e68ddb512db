"""Pieces of HTML: escaped text, numbers, tables, figures. Strings in, strings out."""

from collections.abc import Iterable
from html import escape
from typing import Any

from keras_ecg.databases.mitdb import CLASSES
from keras_ecg.reports.style import CLASS_COLOURS, CSS

DASH = "–"


def text(value: Any) -> str:
    return escape(str(value))


def number(value: float | None, digits: int = 3) -> str:
    """A rounded number, or a dash where it is undefined."""
    return DASH if value is None else f"{value:,.{digits}f}"


def signed(value: float | None, digits: int = 3) -> str:
    """A difference with its sign, and a dash where it is undefined."""
    return DASH if value is None else f"{value:+.{digits}f}".replace("-", "\N{MINUS SIGN}")


def seen_before(environment: dict) -> str:
    """What a run's pretrained encoder saw of its scored records, without labels; empty for nothing."""
    seen = environment.get("seen_unlabelled")
    return f"transductive: {text(seen)}" if seen else ""


def count(value: float) -> str:
    """A count; a mean of counts keeps one decimal."""
    return f"{value:,.0f}" if value == round(value) else f"{value:,.1f}"


def span(figure: dict | None, digits: int = 2) -> str:
    """`0.93–0.97`, the 95 % interval of a figure, or nothing."""
    if not figure or figure.get("low") is None:
        return ""
    return f"{figure['low']:.{digits}f}–{figure['high']:.{digits}f}"


def mean_sd(figure: dict | None) -> str:
    """Mean and sd over seeds; a dash where the figure is undefined."""
    if not figure or figure.get("mean") is None:
        return DASH
    return number(figure["mean"]) + (f" <small>± {figure['sd']:.3f}</small>" if figure.get("sd") is not None else "")


def estimate(figure: dict | None) -> str:
    """A table cell's content: mean, sd over seeds, interval below."""
    ends = span(figure)
    return mean_sd(figure) + (f'<span class="ci">{ends}</span>' if ends else "")


def difference(figure: dict) -> str:
    """A table cell's content: a paired difference, coloured where its interval excludes 0, interval below.

    Empty where one of the two has no such figure.
    """
    if not figure:
        return ""
    low, high = figure["low"], figure["high"]
    kind = ""
    if figure["excludes_zero"]:
        kind = "better" if (low > 0) != figure.get("lower_is_better", False) else "worse"
    ends = "" if low is None else f'<span class="ci">{signed(low)} to {signed(high)}</span>'
    return f'<span class="{kind}">{signed(figure["difference"])}</span>{ends}'


def bar(figure: dict, reference: float | None = None) -> str:
    """A scale from 0 to 1 with the interval, the mean, and a diamond for a baseline."""
    if figure.get("mean") is None:
        return ""
    words = f"{figure['mean']:.3f} on a scale from 0 to 1"
    inside = ""
    if figure.get("low") is not None:
        words += f", 95 % interval {span(figure, 3)}"
        inside += f'<i style="left:{100 * figure["low"]:.1f}%;right:{100 - 100 * figure["high"]:.1f}%"></i>'
    if reference is not None:
        words += f", best baseline {reference:.3f}"
        inside += f'<u style="left:{100 * reference:.1f}%"></u>'
    inside += f'<b style="left:{100 * figure["mean"]:.1f}%"></b>'
    return f'<div class="bar" role="img" aria-label="{words}">{inside}</div>'


def card(name: str, value: str, scale: str, lines: list[str]) -> str:
    """A headline figure: its name, its value, a scale or none, and lines of small print."""
    return (
        f'<div class="card"><div class="name">{name}</div><div class="value">{value}</div>{scale}'
        f'<div class="range">{"<br>".join(lines)}</div></div>\n'
    )


def figure_card(name: str, figure: dict, baselines: Iterable[dict]) -> str:
    """The card of a figure from 0 to 1, with its interval and the best of its baselines."""
    best = max((mean for c in baselines if (mean := c.get("mean")) is not None), default=None)
    lines = [f"95 % interval {span(figure)}"] if span(figure) else []
    lines += ["no beats of this class"] if figure["mean"] is None else []
    lines += [f"◇ best baseline {best:.3f}"] if best is not None else []
    return card(name, mean_sd(figure), bar(figure, best), lines)


def card_row(cards: Iterable[str]) -> str:
    return f'<div class="cards">{"".join(cards)}</div>'


def dotted(colour: str, name: str) -> str:
    """A name behind a dot of its colour."""
    return f'<span class="dot" style="background:{colour}"></span>{text(name)}'


def class_label(name: str) -> str:
    """A class's letter with its colour."""
    return dotted(CLASS_COLOURS[CLASSES.index(name)], name)


def table(head: Iterable[str], rows: Iterable[tuple[str, list[str]]], kind: str = "", caption: str = "") -> str:
    """A table from HTML cells: rows are (class of the row, cells), the first cell being the row's heading."""
    top = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    body = ""
    for row_kind, (first, *rest) in rows:
        attribute = f' class="{row_kind}"' if row_kind else ""
        body += f'<tr{attribute}><th scope="row">{first}</th>' + "".join(f"<td>{c}</td>" for c in rest) + "</tr>\n"
    caption = f"<caption>{caption}</caption>" if caption else ""
    return (
        f'<div class="scroll"><table class="{kind}">{caption}<thead><tr>{top}</tr></thead>'
        f"<tbody>\n{body}</tbody></table></div>"
    )


def confusion_table(confusion: dict, rows: list[str], columns: list[str], corner: str) -> str:
    """Counts and row shares in one table, shaded by the share; headings are HTML."""
    body = ""
    for heading, counts, shares in zip(rows, confusion["mean"], confusion["row_share"], strict=True):
        cells = ""
        for value, share in zip(counts, shares, strict=True):
            tint = 0.06 + 0.6 * share if value else 0.03
            inside = f"<strong>{count(value)}</strong><span>{100 * share:.1f} %</span>"
            cells += f'<td style="background:rgb(var(--tint) / {tint:.2f})">{inside}</td>'
        body += f'<tr><th scope="row">{heading}</th>{cells}</tr>\n'
    head = "".join(f'<th scope="col">{heading}</th>' for heading in columns)
    top = f'<thead><tr><th scope="col">{corner}</th>{head}</tr></thead>'
    return f'<div class="scroll"><table class="confusion">{top}<tbody>\n{body}</tbody></table></div>'


def paired(head: Iterable[str], rows: list[tuple[str, list[dict]]]) -> str:
    """The table of a model's differences from its baselines, rows of label and figures; nothing without rows."""
    if not rows:
        return ""
    cells = table(["model", *head], [("", [label, *map(difference, figures)]) for label, figures in rows])
    return (
        f'<h3>Paired differences</h3>{cells}<p class="note">Both sides are scored on the same resampled subjects. A '
        "coloured difference has a 95 % interval that excludes 0.</p>"
    )


def figure(image: str, caption: str = "", kind: str = "") -> str:
    caption = f"<figcaption>{caption}</figcaption>" if caption else ""
    return f'<figure class="{kind}">{image}{caption}</figure>'


def definitions(pairs: Iterable[tuple[str, str]]) -> str:
    """A list of terms and HTML texts; a pair without text is left out."""
    return "<dl>" + "".join(f"<dt>{t}</dt><dd>{d}</dd>" for t, d in pairs if d) + "</dl>"


def section(anchor: str, title: str, *content: str, kind: str = "") -> str:
    attribute = f' class="{kind}"' if kind else ""
    return f'<section id="{anchor}"{attribute}>\n<h2>{title}</h2>\n' + "\n".join(filter(None, content)) + "\n</section>"


def cautions(title: str, lines: Iterable[str]) -> str:
    """The section of what a reader must know before believing a figure, from HTML lines; nothing without lines."""
    listed = "".join(f"<li>{line}</li>" for line in lines)
    return section("warnings", title, f"<ul>{listed}</ul>", kind="warnings") if listed else ""


def alarms(metrics: dict) -> str:
    """The section of a run's alarms."""
    return cautions("Alarms", (f"<strong>{text(alarm)}</strong>" for alarm in metrics["alarms"]))


def data_notes(environment: dict) -> str:
    """The section of what was assumed or corrected in the data; nothing without notes."""
    notes = [text(note[0].upper() + note[1:]) for note in environment.get("data_notes") or ()]
    listed = "".join(f"<li>{note}.</li>" for note in notes)
    return section("data", "Notes on the data", f"<ul>{listed}</ul>", kind="warnings") if listed else ""


def document(title: str, header: str, links: list[tuple[str, str]], body: str, footer: str) -> str:
    """The whole page."""
    menu = "".join(f'<a href="#{anchor}">{name}</a>' for anchor, name in links)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{CSS}</style>
</head>
<body>
<header>{header}</header>
<nav aria-label="Sections"><div>{menu}</div></nav>
<main>
{body}
</main>
<footer>{footer}</footer>
</body>
</html>
"""
