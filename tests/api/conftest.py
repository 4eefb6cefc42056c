"""Two short runs that the tests of the API share."""

import pytest

import composer

# A run in about a second: nothing is composed while it trains, and one setting is tried at its end.
QUICK = [
    *("model.hidden_size=16", "trainer.max_epochs=2", "trainer.threads=1"),
    *("sampling_grid.pieces=0", "logging.sample_media=false"),
]


@pytest.fixture(scope="session")
def quick() -> list[str]:
    """Overrides of a run in about a second."""
    return QUICK


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> composer.Run:
    """A completed run."""
    return composer.train(QUICK, folder=tmp_path_factory.mktemp("api") / "outputs" / "train" / "one")


@pytest.fixture(scope="session")
def smaller(trained: composer.Run) -> composer.Run:
    """A run of a smaller network beside it."""
    return composer.train([*QUICK, "model.hidden_size=8"], folder=trained.folder.with_name("two"))
