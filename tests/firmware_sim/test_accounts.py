from fedling_sim.accounts import _of_bytes
from fedling_sim.record import DeviceBytes


def test_of_bytes_allows_two_in_a_hundred_and_tells_more_with_the_connections() -> None:
    fits = DeviceBytes("a", 98_000, 102_000, 100_000, 100_000)
    knocked = DeviceBytes("b", 101_775, 99_000, 962_183, 100_000, connections=57)
    assert list(_of_bytes([fits, knocked])) == [
        "b: 101775 bytes up by its own count, 962183 by the proxy's in 57 connections"
    ]
