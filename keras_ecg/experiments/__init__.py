"""Studies, each readable top to bottom, and their command lines."""
