"""Software and hardware of a run: versions, commit, processor."""

import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path

PACKAGES = (
    *("tensorflow", "keras", "keras-tuner", "jax", "torch", "numpy", "scipy", "scikit-learn"),
    *("PyWavelets", "wfdb", "h5py", "matplotlib", "joblib"),
)
SOURCE = Path(__file__).resolve().parents[2]


def collect() -> dict:
    """Python, package versions, platform, processor, accelerators, Keras backend and git commit, as plain values."""
    return {
        "python": platform.python_version(),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "keras_backend": os.environ.get("KERAS_BACKEND", "tensorflow"),
        "platform": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "accelerators": _accelerators(),
        **git_state(SOURCE),
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def _accelerators() -> list[str]:
    # Only a TensorFlow that is already imported: an evaluation alone should not import it.
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is None:
        return []
    devices = tensorflow.config.list_physical_devices("GPU")
    details = [tensorflow.config.experimental.get_device_details(d) for d in devices]
    return [str(d.get("device_name", "GPU")) for d in details]


def git_state(source: Path) -> dict:
    """The commit that `source` is checked out at, and whether tracked files differ from it; None where unknown."""

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "--no-optional-locks", "-C", source, *arguments], capture_output=True, text=True, timeout=20
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    top = git("rev-parse", "--show-toplevel")
    # An installed package may be inside an unrelated repository, whose commit is not ours.
    if top is None or Path(top).resolve() != source.resolve() or (commit := git("rev-parse", "HEAD")) is None:
        return {"git_commit": None, "git_modified": None}
    return {"git_commit": commit, "git_modified": bool(git("status", "--porcelain", "--untracked-files=no"))}
