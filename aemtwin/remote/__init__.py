"""An instrument behind a Pyro4 URI, and its proxy."""
