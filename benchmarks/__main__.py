"""Run benchmarks by name, and print `NAME RATIO`, the measurements, and a summary table."""

import argparse
import importlib
import os
import tempfile
from pathlib import Path

from benchmarks import BENCHMARKS, NAMES
from keras_ecg.errors import InputError, run_script
from keras_ecg.quiet import import_quietly

EPILOG = """benchmarks, and what their ratio compares (reference implementation / ours):
{names}

environment variables:
  MITDB_DIR    folder of the MIT-BIH Arrhythmia Database; default: the bundled excerpt
  SVDB_DIR, LUDB_DIR, CPSC2021_DIR    further databases for detection
  TMPDIR       folder for temporary files, which need 7 GB for the whole MIT-BIH database

Run on an otherwise idle machine. scalogram-kernel also measures fCWT and ssqueezepy if they are installed.
""".format(names="\n".join(f"  {name:18}{text}" for name, text in BENCHMARKS.items()))


def heading(workspace) -> str:
    from keras_ecg.runs.environment import collect

    here = collect()
    packages = ", ".join(f"{name} {here['packages'][name]}" for name in ("numpy", "PyWavelets", "tensorflow", "keras"))
    load = f", load {os.getloadavg()[0]:.1f} at the start" if hasattr(os, "getloadavg") else ""
    threads = f"{here['cores']} cores, one thread per core{load}"
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
    parser.add_argument("names", nargs="*", metavar="NAME", help="benchmarks to run (default: all)")
    parser.add_argument("--list", action="store_true", help="print the names and exit")
    parser.add_argument("--tiny", action="store_true", help="a test run of a minute on little data; ignore its ratios")
    args = parser.parse_args(arguments)
    if args.list:
        print("\n".join(NAMES))
        return
    for name in args.names:
        if name not in NAMES:
            raise InputError("benchmark", repr(name), f"one of {', '.join(NAMES)}", "correct it")
    selected = [name for name in NAMES if not args.names or name in args.names]
    import_quietly("tensorflow")
    from benchmarks.workspace import TINY, Scale, Workspace

    results = []
    with tempfile.TemporaryDirectory(prefix="keras_ecg_benchmarks_") as temporary:
        workspace = Workspace(Path(temporary), TINY if args.tiny else Scale())
        print(heading(workspace), flush=True)
        for name in selected:
            module = importlib.import_module(f"benchmarks.{name.replace('-', '_')}")
            results.append(module.run(workspace))
            print(f"\n{results[-1]}", flush=True)
    print(f"\n{table(results)}")


if __name__ == "__main__":
    run_script(main)
