"""The tests' own network and dataset, so that an example can be changed or deleted and only its own tests notice.

Importing this package puts them under the names that the README types, ``SimpleNet`` and ``SyntheticTabular``. Tests of
the project's own classes of these names ask for the fixture ``shipped``.
"""

from kindling.data import DATA
from kindling.models import MODELS
from kindling.registry import Entry

SHIPPED = dict(MODELS), dict(DATA)  # as the project has them

MODELS["SimpleNet"] = Entry("tiny.simple_net", default_data="SyntheticTabular")
DATA["SyntheticTabular"] = Entry("tiny.synthetic_tabular")
