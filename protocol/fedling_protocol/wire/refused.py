"""The one exception for everything that is wrong with a message from outside."""

from enum import StrEnum


class Reason(StrEnum):
    """Why a message was refused; both ends count by these words."""

    TOPIC = "topic"  # no topic of this fleet
    VERSION = "version"  # another wire version, in the topic or in the payload
    SIZE = "size"  # longer than its kind may be, or empty
    CBOR = "cbor"  # not the bounded, deterministic CBOR of SPEC.md section 2
    ENVELOPE = "envelope"  # not a COSE_Sign1 as in SPEC.md section 2
    UNKNOWN_KEY = "unknown key"  # signed by a key that nobody vouched for
    ROLE = "role"  # signed by a known key that may not sign on this topic
    SIGNATURE = "signature"  # the signature is not of these bytes on this topic
    SHAPE = "shape"  # a field is missing, of another type, out of range, or does not fit the others
    PLAN_KIND = "unknown plan kind"  # a rightly signed plan of a kind that this version has not
    FORMER = "former life"  # rightly signed, but of an earlier epoch, generation or model
    CERTIFICATE = "certificate"  # of another fleet, of another id than its key's, or outdated
    REVOKED = "revoked"  # signed by a key that was taken back
    EXPIRED = "expired"  # signed by a key whose certificate is over
    FORK = "another succession"  # a root has two successors: somebody else has its key
    TOKEN = "token"  # not by who has the token, or about another root than it names
    UNASKED = "unasked"  # an answer to what was not asked


class Refused(Exception):
    """A message from outside that is not used. `detail` says what, without its contents."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}" if self.detail else str(self.reason)
