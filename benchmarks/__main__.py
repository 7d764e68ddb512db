"""Runs benchmarks by name and prints `NAME RATIO`, what was measured, and a summary table."""

import argparse
import importlib
import os
import tempfile
from pathlib import Path

from benchmarks import NAMES
from keras_ecg.errors import InputError, run_script
from keras_ecg.quiet import import_quietly

EPILOG = f"""names: {", ".join(NAMES)}

MITDB_DIR names the unpacked MIT-BIH database; without it the bundled excerpt is used.
scalogram-kernel has rows for fCWT and ssqueezepy where they are installed: pip install fCWT ssqueezepy
Times mean something on a machine that does nothing else; everything is written to a temporary folder (TMPDIR),
which needs 7 GB for the whole database.
"""


def heading(workspace) -> str:
    from keras_ecg.runs.environment import collect

    here = collect()
    packages = ", ".join(f"{name} {here['packages'][name]}" for name in ("numpy", "PyWavelets", "tensorflow", "keras"))
    load = f", load {os.getloadavg()[0]:.1f} at the start" if hasattr(os, "getloadavg") else ""
    threads = f"{here['cores']} cores, a thread each{load}"
    return f"{workspace}\n{here['processor']}, {threads}; Python {here['python']}, {packages}"


def table(results) -> str:
    rows = [f"{'benchmark':18}{'ratio':>8}{'target':>8}"]
    rows += [f"{r.name:18}{r.ratio:8.1f}{r.target:8.1f}  {'reached' if r.reached else 'MISSED'}" for r in results]
    return "\n".join(rows)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="which (default: all)")
    parser.add_argument("--list", action="store_true", help="print the names and stop")
    parser.add_argument("--tiny", action="store_true", help="a minute's check that all runs; its ratios mean nothing")
    args = parser.parse_args(arguments)
    if args.list:
        print("\n".join(NAMES))
        return
    for name in args.names:
        if name not in NAMES:
            raise InputError("benchmark", repr(name), f"one of {', '.join(NAMES)}", "correct it")
    wanted = [name for name in NAMES if not args.names or name in args.names]
    import_quietly("tensorflow")
    from benchmarks.workspace import TINY, Scale, Workspace

    results = []
    with tempfile.TemporaryDirectory(prefix="keras_ecg_benchmarks_") as temporary:
        workspace = Workspace(Path(temporary), TINY if args.tiny else Scale())
        print(heading(workspace), flush=True)
        for name in wanted:
            module = importlib.import_module(f"benchmarks.{name.replace('-', '_')}")
            results.append(module.run(workspace))
            print(f"\n{results[-1]}", flush=True)
    print(f"\n{table(results)}")


if __name__ == "__main__":
    run_script(main)
