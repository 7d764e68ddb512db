"""python -m keras_ecg COMMAND: the command `keras-ecg`; see `keras_ecg.cli`."""

from keras_ecg.cli import main

if __name__ == "__main__":
    main()
