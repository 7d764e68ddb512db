"""python -m keras_ecg.runs: the same as `keras-ecg runs`."""

import sys

from keras_ecg.cli import main

if __name__ == "__main__":
    main(["runs", *sys.argv[1:]])
