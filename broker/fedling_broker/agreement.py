"""Sees that the aggregator's state and the authority's directory beside it say the same.

Each of them may be behind: a command was interrupted, a backup was put back, a file came from
another machine. What was certified in the directory is taken into the state; what was revoked in
the state is entered in the directory, and in the list for TLS. Doing it twice changes nothing.
"""

from fedling_broker.authority import directory
from fedling_broker.authority.directory import Directory, settle_key
from fedling_broker.config import ONLINE_KEY, Config
from fedling_broker.store.devices import Devices
from fedling_broker.store.store import Store
from fedling_protocol.settings import SettingsError
from fedling_protocol.wire.identity import SigningKey
from fedling_protocol.wire.names import AGGREGATOR


def agree(found: Config, store: Store) -> None:
    """Make both say the same; without a directory there is nothing to do but the online key.

    Raises CannotWrite, Busy, IdentityError, SettingsError, BadInput.
    """
    devices = Devices(store.database, found.topics)
    if (found.authority / directory.SETTINGS).exists():
        with directory.alone(found.authority) as own:
            settle(found, store, own)
    aggregator = devices.find(AGGREGATOR)
    if aggregator is not None:
        settle_key(found.state_dir / ONLINE_KEY, aggregator.key)


def settle(found: Config, store: Store, own: Directory) -> Directory:
    """As agree(), of a directory that the caller holds."""
    if (own.file.fleet, own.first_root) != (found.file.fleet, found.root_key):
        raise SettingsError(
            f"{own.path}: is the authority of fleet {own.file.fleet} with root_key"
            f" {own.file.root_key}, which is not what {found.path} says"
        )
    devices = Devices(store.database, found.topics)
    own.raise_serial(store.ledger.meta("serial"))
    devices.take_in(own.bundle)
    if own.has_authority_key:
        own = _sign_and_revoke(store, devices, own, own.authority_key())
    return own


def _sign_and_revoke(store: Store, devices: Devices, own: Directory, key: SigningKey) -> Directory:
    devices.resign(key)
    tombstones = {one.id: one.envelope for one in devices.revoked()}
    new = {id_: data for id_, data in tombstones.items() if own.devices.get(id_) != data}
    if new:
        own = own.keep(new)
    tls = own.tls()
    if stale := store.tls_certificates.revoked() - tls.revoked():
        tls.revoke(*stale)
    return own
