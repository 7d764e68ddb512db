"""Subcommand that lists the pretrained models that ship with the package: presets."""

import argparse

from keras_ecg.commands.options import Command
from keras_ecg.presets import describe_preset, list_presets, preset_card

COLUMNS = ("name", "loaded by", "task", "MB", "main metric", "licence")


def add_presets(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", help="print the card of this preset")


def table() -> str:
    """A line for each preset."""
    found = [describe_preset(name) for name in list_presets()]
    rows = [COLUMNS, *((p.name, p.kind, p.task, f"{p.size_mb:.1f}", p.metric, p.license) for p in found)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(line.rstrip() for line in lines)


def presets(args: argparse.Namespace) -> None:
    print(preset_card(args.name).rstrip() if args.name else table())


COMMANDS = {
    "presets": Command(
        "List the pretrained models that ship with the package, or print the card of one.",
        (
            "keras-ecg presets",
            "keras-ecg presets mitdb-beats                 # its card: input, training data, metrics, limits",
        ),
        add_presets,
        presets,
    ),
}
