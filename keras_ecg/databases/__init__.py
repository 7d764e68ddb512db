"""Databases: records, subjects, labels, annotations, and download from PhysioNet."""
