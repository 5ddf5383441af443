"""Names on the Hub."""

from __future__ import annotations

from typing import Final

from arcmobile.runtime.errors import InputError

DEFAULT_REPO: Final = "stabilityai/stable-audio-open-small"
DEFAULT_TEXT_REPO: Final = "google-t5/t5-base"


def require_repository_name(name: str, option: str = "") -> None:
    """Check that ``name`` can be a repository of an account: ``owner/name``.

    Args:
        name: What was given.
        option: The command-line option or argument that gave it, for the message.

    Raises:
        InputError: It cannot.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils._validators import validate_repo_id

    named = f"{option} {name!r}".strip()
    try:
        validate_repo_id(name)
    except HFValidationError as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise InputError(f"{named}: not a repository name ({reason}); write OWNER/NAME") from None
    if "/" not in name:
        raise InputError(f"{named}: not a repository of an account; write OWNER/NAME")
