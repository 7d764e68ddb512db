"""Whole recordings with a label each to TFRecord, with their beats: what the rhythm models learn from.

python create_rhythm_tfrecords.py                      # configs/cinc2017.yaml: recordings and labels in cinc2017/
python create_rhythm_tfrecords.py --data-dir FOLDER
"""

from keras_ecg.errors import run_script

if __name__ == "__main__":
    run_script("keras_ecg.data.rhythm_records")
