"""Whether this device belongs to the fleet, as far as it knows."""

from fedling_agent.store.identity import Identity

DOUBT = 3  # a join that gets no answer so often may be one of a device that was revoked


class Enrolment:
    """A device without a certificate sends its public key with each join."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self.enrolled = False
        self.was_enrolled = False  # and is not any more
        self.revoked = False  # its key was taken back: it takes no part

    def key(self, tries: int) -> bytes | None:
        """The public key that a join carries; None: the aggregator knows us already.

        tries: how often it was asked, with this, since its last answer. Who was revoked gets
        none, unless it shows its key.
        """
        return self._identity.key.public if not self.enrolled or tries >= DOUBT else None

    def certified(self) -> bool:
        """A certificate for this device is here; whether that is news."""
        news, self.enrolled = not self.enrolled or self.revoked, True
        self.was_enrolled = self.revoked = False
        return news

    def denied(self) -> bool:
        """The aggregator says that it does not know us; whether that is news."""
        news, self.enrolled = self.enrolled, False
        self.was_enrolled = self.was_enrolled or news
        return news

    def taken_back(self) -> bool:
        """This device was put out of the fleet; whether that is news."""
        news, self.revoked, self.enrolled = not self.revoked, True, False
        return news
