"""Colours of the classes N S V F Q, in pages and charts; they are legible on a light and on a dark page."""

CLASS_COLOURS = ("#4f7ca8", "#d08700", "#cf3f3f", "#8f5fc2", "#7d8791")
