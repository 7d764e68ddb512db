"""python -m keras_ecg.experiments: the full pipeline; see `keras_ecg.experiments.pipeline`."""

from keras_ecg.errors import run_script

if __name__ == "__main__":
    run_script("keras_ecg.experiments.pipeline")
