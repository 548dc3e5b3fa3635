"""Who vouches for whom: the authority's directory, and the certificates that come out of it."""
