"""python -m keras_ecg.runs: see `keras_ecg.runs.commands`."""

from keras_ecg.errors import run_script

if __name__ == "__main__":
    run_script("keras_ecg.runs.commands")
