"""Recordings to HDF5: beats of 187 samples and their Morlet scalograms, one file per record, and metadata.json.

python preprocess_data.py                                  # the whole MIT-BIH database
python preprocess_data.py --config configs/sample.yaml     # the bundled excerpt
"""

from keras_ecg.errors import run_script

if __name__ == "__main__":
    run_script("keras_ecg.data.preprocess")
