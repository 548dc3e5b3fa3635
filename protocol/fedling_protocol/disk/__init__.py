"""What both ends know of disks: durable writes, one database, one lock, what goes wrong."""
