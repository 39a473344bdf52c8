"""Workers: the same engine in several processes, here or on a Ray cluster."""

from popsim.engines.workers.engine import Workers

__all__ = ["Workers"]
