"""Whether this device belongs to the fleet, as far as it knows."""

from fedling_agent.store.identity import Identity


class Enrolment:
    """A device without a certificate sends its public key with each join."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self.enrolled = False

    @property
    def key(self) -> bytes | None:
        """The public key that a join carries; None: the aggregator knows us already."""
        return None if self.enrolled else self._identity.key.public

    def certified(self) -> bool:
        """A certificate for this device is here; whether that is news."""
        news, self.enrolled = not self.enrolled, True
        return news

    def denied(self) -> None:
        """The aggregator says that it does not know us."""
        self.enrolled = False
