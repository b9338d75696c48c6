# The types of the names that __init__.py imports on their first use.
from segfocal import losses as losses
from segfocal import metrics as metrics
from segfocal.grid import Grid as Grid
from segfocal.grid import Volume as Volume
from segfocal.interface.model import Model as Model
from segfocal.interface.model import load as load
from segfocal.interface.model import segment as segment
from segfocal.interface.training import train as train

__version__: str
