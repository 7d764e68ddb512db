"""WFDB folders to TFRecord: unlabelled windows for self-supervised pretraining, each sample stored once.

python create_window_tfrecords.py --config FILE     # whose section `windows` names the sources
python create_window_tfrecords.py --set 'windows.sources=[{database: sample, folder: sample_data}]'
"""

from keras_ecg.errors import run_script

if __name__ == "__main__":
    run_script("keras_ecg.data.windows")
