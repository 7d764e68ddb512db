"""WFDB folders to TFRecord: unlabelled windows for self-supervised pretraining, each sample stored once.

python create_window_tfrecords.py --config FILE     # whose section `windows` lists the sources
python create_window_tfrecords.py --set 'windows.sources=[{database: sample, folder: sample_data}]'
"""

import sys

from keras_ecg.cli import main

if __name__ == "__main__":
    main(["pack-windows", *sys.argv[1:]])
