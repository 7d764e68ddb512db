"""Recordings to HDF5: beats of 187 samples and their Morlet scalograms, one file per record, and metadata.json.

python preprocess_data.py                                  # the whole MIT-BIH database
python preprocess_data.py --config configs/sample.yaml     # the bundled excerpt
"""

import sys

from keras_ecg.cli import main

if __name__ == "__main__":
    main(["preprocess", *sys.argv[1:]])
