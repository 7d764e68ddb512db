"""Download a database from PhysioNet, or copy a local one, and verify it; a rerun resumes.

python download_data.py                                              the MIT-BIH Arrhythmia Database
python download_data.py --db-name nstdb --save-directory nstdb       any other PhysioNet database
python download_data.py --from FOLDER                                from a copy on this machine
"""

import sys

from keras_ecg.cli import main

db_name = "mitdb"
save_directory = "mit-bih-arrhythmia-database-1.0.0"  # of another --db-name: its name

if __name__ == "__main__":
    main(["download", *sys.argv[1:]], db_name=db_name, folders={db_name: save_directory})
