"""Many devices on one laptop, and firmware boards in QEMU."""
