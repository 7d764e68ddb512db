"""Learn from labels on a pretrained encoder, with baselines: probes, few labels, fine-tuning, embeddings, triplets.

python run_finetuning.py --weights mae                                   # inter-patient: DS1 -> DS2, 10 to 100 labels
python run_finetuning.py --weights mae --protocol intra_patient --labels 10 100     # for comparison only
python run_finetuning.py --weights mae --protocol subsampling --labels 100 0 --objective finetune
python run_finetuning.py --config configs/ptbxl_probe.yaml --weights st-mem --objective embed     # or probe, triplet
"""

import sys

from keras_ecg.cli import main

if __name__ == "__main__":
    main(["finetune", *sys.argv[1:]])
