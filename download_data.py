"""Downloads a database from PhysioNet, or copies a local one, and verifies it. A rerun resumes.

python download_data.py                                              the MIT-BIH Arrhythmia Database
python download_data.py --db-name nstdb --save-directory nstdb       any other PhysioNet database
python download_data.py --from FOLDER                                from a copy on this machine
"""

from keras_ecg.errors import run_script

if __name__ == "__main__":
    run_script("keras_ecg.databases.download")
