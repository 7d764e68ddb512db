"""Presets from the Hugging Face Hub: `from_preset("hf://user/name")`, with `huggingface_hub` installed."""

from pathlib import Path

from keras_ecg.errors import InputError

PREFIX = "hf://"
PATTERNS = ("*.keras", "*.json", "*.yaml", "README.md")  # what a preset consists of


def download_preset(name: str) -> Path:
    """Download a preset, or find it in the local cache.

    Args:
        name: `hf://user/name`, or `hf://user/name@revision`.

    Returns:
        The folder.

    Raises:
        InputError: huggingface_hub is missing, a malformed name, no such repository, or no answer and no copy in the
            cache.
    """
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HFValidationError
    except ImportError:
        do = "pip install huggingface_hub"
        raise InputError(name, "no package huggingface_hub", "the extra `hub`", do) from None
    repository, _, revision = name.removeprefix(PREFIX).partition("@")
    if repository.count("/") != 1 or not all(repository.split("/")):
        raise InputError(name, "a malformed name", "hf://user/name", "correct the name")
    try:
        return Path(snapshot_download(repository, revision=revision or None, allow_patterns=list(PATTERNS)))
    except HFValidationError as error:
        raise InputError(name, " ".join(str(error).split())[:200], "hf://user/name", "correct the name") from error
    except Exception as error:  # of the server, the connection, the cache: the HTTP library has its own exceptions
        found = f"no such preset, or no answer ({type(error).__name__})"
        raise InputError(name, found, "a public repository", "check the name and the connection") from error
