"""Patient-specific fine-tuning on the first five minutes of each test record; the rest is scored.

python run_adaptation.py --config configs/mitdb.yaml                         # DS1 -> DS2, three seeds
python run_adaptation.py --config configs/mitdb.yaml --set adaptation.seconds=120
"""

import sys

from keras_ecg.cli import main

if __name__ == "__main__":
    main(["adapt", *sys.argv[1:]])
