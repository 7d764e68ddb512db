"""python -m keras_ecg.experiments: the same as `keras-ecg pipeline`."""

import sys

from keras_ecg.cli import main

if __name__ == "__main__":
    main(["pipeline", *sys.argv[1:]])
