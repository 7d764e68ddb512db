"""HDF5 to TFRecord: overlapping sequences of consecutive beats in chunks of 256, each beat stored once.

python create_batched_tfrecords.py
python create_batched_tfrecords.py --set sequences.storage=samples   # 30 times smaller; scalograms in the graph
"""

import sys

from keras_ecg.cli import main

if __name__ == "__main__":
    main(["pack", *sys.argv[1:]])
