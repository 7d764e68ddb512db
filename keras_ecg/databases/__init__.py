"""Recordings as they come: download, records, subjects, leads, labels."""
