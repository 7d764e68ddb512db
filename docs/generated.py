"""Generate documentation from the repository: options, commands, configurations, presets and results, as Markdown.

Nothing here imports TensorFlow or Keras.
"""

import argparse
import dataclasses
import math
import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from keras_ecg import cli
from keras_ecg.config import Config
from keras_ecg.presets import list_presets
from keras_ecg.resources import PRESETS

ROOT = Path(__file__).resolve().parents[1]
RUNS = ROOT / "Research_Runs"
REPORT = re.compile(r"\]\(([\w.-]+/report\.html)\)")  # a link to a report, from the folder of the runs
TOP_LEVEL = "general"  # heading of the options that belong to no section
HEAD = re.compile(r"((?:^#.*\n)*)", re.MULTILINE)
FIELD = re.compile(r"^(paper|command|duration|memory|expect|search|chosen)\s+(.*)$")


def cell(text: object) -> str:
    """Text in a cell of a Markdown table."""
    return " ".join(str(text).split()).replace("|", "\\|").replace("<", "&lt;")


def table(columns: tuple[str, ...], rows: list[tuple]) -> str:
    """A Markdown table."""
    lines = [columns, ("---",) * len(columns), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def pages() -> dict[str, str]:
    """Pages by path: the cards of the presets, CONTRIBUTING and CHANGELOG."""
    out = {f"presets/{name}.md": (PRESETS / name / "README.md").read_text("utf-8") for name in list_presets()}
    for name in ("CONTRIBUTING", "CHANGELOG"):  # links of both lead to docs/
        text = (ROOT / f"{name}.md").read_text("utf-8")
        out[f"about/{name.lower()}.md"] = re.sub(r"\(docs/", "(../", text)
    return out


def copied_files() -> list[str]:
    """Paths in the repository of what the site has at the same path: notebooks, and the reports of published runs."""
    notebooks = [f"notebooks/{path.name}" for path in sorted((ROOT / "notebooks").glob("*.ipynb"))]
    return notebooks + [f"{RUNS.name}/{link}" for link in REPORT.findall(published_runs())]


def published_runs() -> str:
    """The page that `keras-ecg runs index` writes from the metrics of the published runs."""
    return (RUNS / "README.md").read_text("utf-8")


def results() -> str:
    """Every table of the published runs, below the headings of that page."""
    _, _, body = published_runs().partition("\n## ")
    body = re.sub(r"(\d)–(-?\d)", "\\1–\u2060\\2", body).replace(" ± ", "\u00a0±\u00a0")  # no line breaks in there
    return REPORT.sub(rf"]({RUNS.name}/\1)", f"## {body}")


def kind_of(annotation: Any) -> tuple[str, str]:
    """The type of an option and the values that are allowed."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return type(args[0]).__name__, ", ".join(f"`{value}`" for value in args)
    if origin is tuple:
        item, allowed = kind_of(args[0])
        return f"list of {item}", allowed
    if type(None) in args:
        return f"{kind_of(args[0])[0]} or null", ""
    return getattr(annotation, "__name__", str(annotation)), ""


def limits_of(metadata: typing.Mapping) -> str:
    """The limits of an option."""
    low, high = metadata.get("limits", (-math.inf, math.inf))
    if high == math.inf:
        return "" if low == -math.inf else f"≥ {low:g}"
    return f"≤ {high:g}" if low == -math.inf else f"{low:g} to {high:g}"


def default_of(field: dataclasses.Field) -> str:
    """The default of an option as YAML writes it."""
    value = field.default if field.default is not dataclasses.MISSING else field.default_factory()
    if value is None:
        return "`null`"
    if isinstance(value, tuple | list):
        return f"`[{', '.join(str(item) for item in value)}]`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`" if value != "" else "`''`"


def sections(cls: type, name: str = "") -> Iterator[tuple[str, type]]:
    """The dataclasses of the configuration by dotted name, in order."""
    yield name, cls
    kinds = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        kind = kinds[field.name]
        inner = get_args(kind)[0] if get_origin(kind) is tuple else kind
        if dataclasses.is_dataclass(inner):
            suffix = "[]" if inner is not kind else ""
            yield from sections(inner, f"{name}.{field.name}{suffix}".lstrip("."))


def configuration() -> str:
    """A table of options for each section of the configuration."""
    parts = []
    for name, cls in sections(Config):
        kinds, rows = typing.get_type_hints(cls), []
        for field in dataclasses.fields(cls):
            kind = kinds[field.name]
            if any(dataclasses.is_dataclass(k) for k in (kind, *get_args(kind))):
                continue
            shown, allowed = kind_of(kind)
            allowed = allowed or limits_of(field.metadata)
            option = f"`{f'{name}.{field.name}'.lstrip('.')}`"
            rows.append((option, shown, default_of(field), allowed, cell(field.metadata.get("help") or "")))
        intro = " ".join((cls.__doc__ or "").split("\n\n")[0].split())
        parts += [f"## `{name}`" if name else f"## {TOP_LEVEL}", intro]
        parts += [table(("option", "type", "default", "allowed values", "what it does"), rows)] if rows else []
    return "\n\n".join(parts)


def shipped_configurations() -> str:
    """The head of each file in configs/: title, paper, commands, duration and expected score."""
    parts = []
    for path in sorted((ROOT / "configs").glob("*.yaml")):
        text = path.read_text("utf-8")
        head = [line.removeprefix("#").rstrip() for line in HEAD.match(text)[1].splitlines()]
        intro, fields = [], []
        for line in head:
            if found := FIELD.match(line.strip()):
                fields.append((found[1], [found[2]]))
            elif fields:
                fields[-1][1].append(line.strip())
            else:
                intro.append(line.strip())
        parts += [f"## `{path.stem}`", " ".join(intro).strip()]
        parts += ["\n".join(f"{name.capitalize()}\n:   {field_text(name, lines)}\n" for name, lines in fields)]
        parts += [f'??? note "configs/{path.name}"\n\n    ```yaml\n{indent(HEAD.sub("", text, count=1))}\n    ```']
    return "\n\n".join(part for part in parts if part)


def field_text(name: str, lines: list[str]) -> str:
    """One field of a head: commands and lists of trials line by line, prose joined."""
    if name in ("command", "chosen"):
        return f"\n\n{indent('```text' + chr(10) + chr(10).join(lines) + chr(10) + '```')}"
    return cell(" ".join(lines))


def indent(text: str) -> str:
    """Text four spaces to the right."""
    return "\n".join(f"    {line}".rstrip() for line in text.strip("\n").splitlines())


def commands(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parsers of all commands below a parser, in the order of its help."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for sub in dict.fromkeys(action.choices.values()):  # an alias is the same parser
                yield sub
                yield from commands(sub)


def command_line() -> str:
    """Description, usage and options of each subcommand of `keras-ecg`."""
    parts = []
    for parser in commands(cli.make_parser()):
        depth = len(parser.prog.split())
        parts += [f"{'#' * depth} {parser.prog}", escaped(parser.description)]
        usage = parser.format_usage().removeprefix("usage: ")
        parts.append(f"```text\n{usage.strip()}\n```")
        rows = [option_row(parser, action) for action in parser._actions if is_listed(action)]
        parts += [table(("argument", "default", "what it does"), rows)] if rows else []
        parts += [f"```text\n{parser.epilog.strip()}\n```"] if parser.epilog else []
    return "\n\n".join(part for part in parts if part)


def escaped(text: str | None) -> str:
    """Text of a parser as Markdown that shows it as it is."""
    return re.sub(r"([<*_\[])", r"\\\1", (text or "").strip())


def is_listed(action: argparse.Action) -> bool:
    """Whether an argument belongs in the table."""
    hidden = isinstance(action, argparse._HelpAction | argparse._SubParsersAction)
    return not hidden and action.help != argparse.SUPPRESS


def option_row(parser: argparse.ArgumentParser, action: argparse.Action) -> tuple[str, str, str]:
    """Name, default and help of one argument."""
    value = action.metavar or (action.dest.upper() if action.nargs != 0 else "")
    value = " ".join(value) if isinstance(value, tuple) else value
    names = [f"`{f'{name} {value}'.strip()}`" for name in action.option_strings] or [
        f"`{action.metavar or action.dest}`"
    ]
    default = "" if action.default in (None, argparse.SUPPRESS, [], False) else f"`{action.default}`"
    text = escaped(parser._get_formatter()._expand_help(action)) if action.help else ""
    if action.choices:
        text = f"{text} One of {', '.join(f'`{choice}`' for choice in action.choices)}.".strip()
    return ", ".join(names), default, cell(text)


def presets_table() -> str:
    """Name, class and input of every preset, each with a link to its card."""
    rows = []
    for name, kind in list_presets().items():
        card = (PRESETS / name / "README.md").read_text("utf-8")
        _, _, rest = card.partition("## Input specification\n")
        text = " ".join(rest.split("\n##")[0].strip().replace("\n- ", "; ").split()).lstrip("- ")
        size = sum(file.stat().st_size for file in (PRESETS / name).iterdir())
        rows.append((f"[`{name}`]({name}.md)", f"`{kind}`", cell(text), f"{size / 1e6:.1f} MB"))
    return table(("preset", "class", "input", "size"), rows)
