"""Python Banyan's own backplane, with its own flags, on the loopback address."""
import local  # noqa: F401
from python_banyan.backplane.backplane import bp

bp()
