"""python -m keras_ecg.experiments: the full pipeline; see `keras_ecg.experiments.pipeline`."""

from keras_ecg.errors import run_script
from keras_ecg.experiments import commands

if __name__ == "__main__":
    run_script(commands.pipeline)
