"""Hooks of MkDocs: pages and parts of pages that are generated from the repository when the site is built.

A page asks for a part by a line `<!-- generated: NAME -->`, NAME a key of `PARTS`.
"""

import re
import sys
from pathlib import Path

from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import generated  # noqa: E402 - docs/generated.py, found beside this file

PARTS = {
    "cli": generated.command_line,
    "configuration": generated.configuration,
    "configs": generated.shipped_configurations,
    "presets": generated.presets_table,
    "results": generated.results,
}
MARKER = re.compile(r"^<!-- generated: (\w+) -->$", re.MULTILINE)


@event_priority(100)  # before mkdocs-jupyter looks for notebooks
def on_files(files: Files, config) -> Files:
    """Adds notebooks, cards of presets, CONTRIBUTING, CHANGELOG and the published reports."""
    for path, content in generated.pages().items():
        files.append(File.generated(config, path, content=content))
    for path in generated.copied_files():
        files.append(File(path, str(ROOT), config.site_dir, config.use_directory_urls))
    return files


def on_page_markdown(markdown: str, **_) -> str:
    """Replaces the markers of a page by what they ask for."""
    return MARKER.sub(lambda match: PARTS[match[1]](), markdown)
