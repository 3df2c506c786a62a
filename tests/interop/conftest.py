"""The catalogue, loaded once: an import asks it which names and clusters there are."""

import pytest

from openflan.tasks.catalog import Catalog, load_catalog


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    return load_catalog()
