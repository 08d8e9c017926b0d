"""Channels: webhooks, e-mail and chat services, through Apprise.

What belongs here: sending one message to one address, and saying why it could not be sent. An address often holds
a password or a token, so nothing of it is ever shown: a channel is called by its kind and its place in the list.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

_KIND = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*(?=://)")
# Addresses may hold commas of their own; a new one begins where a kind does.
_BETWEEN = re.compile(r"[\s,]+(?=[a-zA-Z][a-zA-Z0-9+.-]*://)")
_STATUS = re.compile(r"error[=:]\s*(\d{3})\b")

SUCCESS, INFO, WARNING, FAILURE = "success", "info", "warning", "failure"


class ChannelError(Exception):
    """A message could not be sent; the text is safe to show."""


@dataclass(frozen=True)
class Channel:
    """One address that messages go to.

    Parameters
    ----------
    name : kind and place in the list, such as ``slack-2``; the only thing ever shown.
    url : the address as Apprise writes it; secret.
    """

    name: str
    url: str = field(repr=False)

    def send(self, title: str, body: str, kind: str) -> None:
        """Sends one message; ``kind`` is one of ``success``, ``info``, ``warning`` and ``failure``.

        Raises
        ------
        ChannelError
            If it was not taken, for whatever reason.
        """
        import apprise

        with _overheard() as said:
            try:
                target = apprise.Apprise()
                understood = target.add(self.url)
                taken = understood and target.notify(title=title, body=body, notify_type=apprise.NotifyType(kind))
            except Exception as error:  # a plug-in of some service, whose text may quote the address
                raise ChannelError(f"{self.name}: {type(error).__name__} while sending") from None
        if not understood:
            raise ChannelError(
                f"{self.name}: the address is not one that Apprise understands; see PERENNIAL_ALERT_URLS"
            )
        if not taken:
            raise ChannelError(f"{self.name}: {_reason(said)}")


def channels(urls: str) -> tuple[Channel, ...]:
    """The channels of a comma-separated list of Apprise addresses.

    Examples
    --------
    >>> channels("json://host/hook?to=a,b, mailto://user:secret@example.org")
    (Channel(name='json-1'), Channel(name='mailto-2'))
    """
    listed = [url for url in _BETWEEN.split(urls.strip().strip(",")) if url.strip()]
    return tuple(Channel(f"{_kind(url)}-{place}", url.strip(" ,")) for place, url in enumerate(listed, 1))


def _kind(url: str) -> str:
    found = _KIND.match(url)
    return found.group().lower() if found else "unknown"


def _reason(said: list[str]) -> str:
    """Why a message was not taken. What the library says may quote the address, so only known parts are repeated."""
    text = " ".join(said)
    if status := _STATUS.search(text):
        return f"answered with status {status.group(1)}"
    return "could not be reached" if "onnection error" in text else "did not take the message"


@contextmanager
def _overheard() -> Iterator[list[str]]:
    """Keeps what Apprise and its HTTP client log from reaching any log, and lets the caller read it."""
    said: list[str] = []

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    ear = Ear()
    loggers = [logging.getLogger(name) for name in ("apprise", "urllib3", "requests")]
    before = [(logger, logger.handlers[:], logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.handlers, logger.propagate = [ear], False
    try:
        yield said
    finally:
        for logger, handlers, propagate in before:
            logger.handlers, logger.propagate = handlers, propagate
