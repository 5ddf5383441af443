"""Calls of ``huggingface_hub``: with time limits, errors of one line, and no secret in any output.

The library logs addresses that hold signatures, retries without an end to a stalled answer, and
raises whatever a wrong answer leads to. :func:`hub_session` wraps all calls of one command,
:func:`hub_errors` each step of it.
"""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from arcmobile.runtime.errors import ArcMobileError, HubError, InputError, one_line

if TYPE_CHECKING:
    import httpx2

LOG_IN: Final = "run `hf auth login`"
ANSWER_SECONDS: Final = 60.0
"""How long the Hub may take to answer, or to take the next piece of a file."""
_CONNECT_SECONDS: Final = 10.0
_TOKEN: Final = re.compile(r"[!-~]+")
_ADDRESS: Final = re.compile(r"\w+://\S+")
_LOGGERS: Final = ("huggingface_hub", "httpx2", "httpcore2")


def stored_token() -> str | None:
    """Return the token of the account that is logged in, None if nobody is.

    Raises:
        HubError: What is stored cannot be a token. HTTP libraries show a header that they refuse,
            so it never gets there; nor does this message show it.
    """
    from huggingface_hub import get_token

    with hub_errors("the Hugging Face token", again=LOG_IN):
        token = get_token()
    if token is not None and not _TOKEN.fullmatch(token):
        raise HubError(
            f"the Hugging Face token has characters that no token has; check HF_TOKEN, or {LOG_IN}"
        )
    return token


def access_token() -> str:
    """Return the token of the account that is logged in.

    Raises:
        HubError: Nobody is, or what is stored cannot be a token.
    """
    token = stored_token()
    if token is None:
        raise HubError(
            f"not logged in to the Hugging Face Hub; {LOG_IN} with a token that may write"
        )
    return token


def page_of(repo: str) -> str:
    """Return the address of a repository's page, without a password that HF_ENDPOINT may hold."""
    from huggingface_hub import constants

    parts = urlsplit(constants.ENDPOINT)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}/{repo}"


@contextmanager
def hub_session(*, progress: bool = False) -> Iterator[None]:
    """Give the library's calls time limits, and keep its own messages off the terminal.

    Args:
        progress: Leave it its progress bars, on standard error.
    """
    import httpx2
    from huggingface_hub import set_client_factory
    from huggingface_hub.utils._http import default_client_factory
    from huggingface_hub.utils.tqdm import disable_progress_bars

    limits = httpx2.Timeout(ANSWER_SECONDS, connect=_CONNECT_SECONDS).as_dict()

    def limit(request: httpx2.Request) -> None:
        request.extensions["timeout"] = limits  # the library's calls ask for none

    def limited_client() -> httpx2.Client:
        client = default_client_factory()
        client.event_hooks["request"].append(limit)
        return client

    set_client_factory(limited_client)
    try:
        with nullcontext() if progress else disable_progress_bars(), quiet_library():
            yield
    finally:
        set_client_factory(default_client_factory)


@contextmanager
def quiet_library() -> Iterator[None]:
    """Keep messages of the library off the terminal: they name addresses that hold signatures."""
    levels = {name: logging.getLogger(name).level for name in _LOGGERS}
    try:
        for name in levels:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


@contextmanager
def hub_errors(where: str, *, again: str, denied: str = LOG_IN) -> Iterator[None]:
    """Turn whatever the library raises into one line.

    Args:
        where: What is spoken of: a repository, or a file of one.
        again: What to do after a failure that may pass.
        denied: What to do where the account may not.

    Raises:
        HubError: The Hub cannot be reached, refuses, or answers wrongly.
        InputError: There is no such repository or revision.
    """
    import httpx2
    from huggingface_hub import errors

    try:
        yield
    except (ArcMobileError, KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError):
        raise
    except BaseException as error:  # panics of its Rust parts are no Exceptions
        cause = error
        while not isinstance(cause, httpx2.HTTPError) and cause.__cause__ is not None:
            cause = cause.__cause__  # of an upload in another thread
        if isinstance(cause, errors.HfHubHTTPError):
            raise refusal(cause.response, where, again=again, denied=denied) from None
        if isinstance(cause, httpx2.TimeoutException):
            raise HubError(f"{where}: the hub does not answer; {again}") from None
        broken = httpx2.ReadError | httpx2.WriteError | httpx2.RemoteProtocolError
        if isinstance(cause, broken | httpx2.DecodingError):
            raise HubError(f"{where}: the connection broke ({brief(cause)}); {again}") from None
        unreachable = httpx2.HTTPError | httpx2.InvalidURL | httpx2.StreamError
        if isinstance(cause, unreachable | ConnectionError):
            raise HubError(
                f"{where}: the hub cannot be reached ({brief(cause)}); "
                f"check the network (and HF_ENDPOINT, HF_HUB_OFFLINE), then {again}"
            ) from None
        if isinstance(cause, OSError) and cause.filename is not None:
            raise
        raise HubError(
            f"{where}: the hub's answer is not what it should be ({type(cause).__name__}: "
            f"{brief(cause)}); check the connection and HF_ENDPOINT, then {again}"
        ) from None


def refusal(
    response: httpx2.Response, where: str, *, again: str, denied: str = LOG_IN
) -> HubError | InputError:
    """Return the error for an answer with an error status; the Hub says more in a header."""
    status, code = response.status_code, response.headers.get("X-Error-Code")
    try:
        said = f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        said = str(status)
    if code == "GatedRepo":
        return HubError(
            f"{where}: access is granted by its owner; accept the license on its page of the hub, "
            f"{LOG_IN}, then {again}"
        )
    if code == "RevisionNotFound":
        return InputError(f"{where}: no such revision ({said}); check --revision")
    if code == "RepoNotFound" or status == HTTPStatus.UNAUTHORIZED:
        return InputError(
            f"{where}: no such repository, or not for this account ({said}); check the name, "
            f"or {denied}"
        )
    if status == HTTPStatus.FORBIDDEN:
        return HubError(f"{where}: the hub answered {said}; {denied}")
    if status == HTTPStatus.NOT_FOUND:
        return InputError(f"{where}: the hub answered {said}; check the name")
    return HubError(f"{where}: the hub answered {said}; later, {again}")


def brief(error: BaseException) -> str:
    """Return the first line of an error's text, without addresses: they may hold signatures."""
    line = one_line(str(error).strip().partition("\n")[0])
    return _ADDRESS.sub("(address)", line) or type(error).__name__
