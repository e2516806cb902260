"""Why a request got no answer.

TransportFailure
├── NotConnected         nothing was sent: name, route, port or TLS
├── ConnectionLost       the connection broke after the request, or a part of it, was sent
├── TimedOut             no whole answer in time
└── BadAnswer            what came is not HTTP, or too long
"""


class TransportFailure(Exception):
    """A request got no answer; the message says why, without ports or times, so that equal failures group.

    Attributes:
        may_have_arrived: Some of the request was sent. A paid run may then have been started, and charged.
    """

    def __init__(self, reason: str, *, may_have_arrived: bool) -> None:
        """Say why.

        Args:
            reason: One clause.
            may_have_arrived: Some of the request was sent.
        """
        super().__init__(reason)
        self.may_have_arrived = may_have_arrived


class NotConnected(TransportFailure):
    """No connection, so nothing was sent."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, may_have_arrived=False)


class ConnectionLost(TransportFailure):
    """The connection broke before the answer was whole."""


class TimedOut(TransportFailure):
    """The answer was not whole in time."""


class BadAnswer(TransportFailure):
    """What came is not HTTP/1.1, or too long."""
