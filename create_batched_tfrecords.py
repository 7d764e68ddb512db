"""HDF5 to TFRecord: overlapping sequences of consecutive beats in chunks of 256, each beat stored once.

python create_batched_tfrecords.py
python create_batched_tfrecords.py --set sequences.storage=samples   # 30 times smaller; scalograms in the graph
"""

from keras_ecg.errors import run_script

if __name__ == "__main__":
    run_script("keras_ecg.data.tfrecords")
