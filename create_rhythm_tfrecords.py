"""Whole recordings with a label each to TFRecord, for rhythm classification.

python create_rhythm_tfrecords.py                      # configs/cinc2017.yaml: recordings and labels in cinc2017/
python create_rhythm_tfrecords.py --data-dir FOLDER
"""

import sys

from keras_ecg.cli import main

if __name__ == "__main__":
    main(["pack-recordings", *sys.argv[1:]])
