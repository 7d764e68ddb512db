"""What the scripts' command lines share: --config, --set, and the folders."""

import argparse
from dataclasses import replace
from pathlib import Path

from keras_ecg.config import Config, load_config

DEFAULT = Path(__file__).resolve().parents[1] / "configs" / "mitdb.yaml"


def parser(description: str | None) -> argparse.ArgumentParser:
    """A parser with `--config FILE` and `--set section.key=value`."""
    out = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    out.add_argument(
        "--config",
        metavar="FILE",
        action="append",
        default=[],
        help="YAML with what differs (default: configs/mitdb.yaml); later ones lie over earlier",
    )
    out.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], help="one setting: training.epochs=3")
    out.add_argument("--data-dir", help="folder of the recordings")
    return out


def config(args: argparse.Namespace) -> Config:
    """The resolved configuration of a script's arguments; without --config that of configs/mitdb.yaml."""
    given = args.config or ([DEFAULT] if DEFAULT.is_file() else [])
    out = load_config(given, args.set)
    if args.data_dir:
        out = replace(out, database=replace(out.database, data_dir=args.data_dir))
    return out
