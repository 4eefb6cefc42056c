"""The checks that composer has for the parts of a plugin."""

import pytest
from mylab import parts

from composer import testing

pytestmark = pytest.mark.filterwarnings("ignore")


def test_the_network_reads_causally_and_resumes() -> None:
    testing.check_model(parts.ConvNet, "model.kernel=3")


def test_the_penalty() -> None:
    testing.check_regularizer(parts.GroupLasso, resume=False)


def test_the_loss_term() -> None:
    testing.check_loss_term(parts.Confidence, "loss_terms.confidence.weight=0.2", resume=False)


def test_the_metric() -> None:
    testing.check_metric(parts.Top, "metrics.top.k=2", resume=False)


def test_the_source() -> None:
    testing.check_source(parts.Scales, "data.window_size=8", "data.count=6", "data.test_fraction=0", resume=False)


def test_the_split() -> None:
    testing.check_split(parts.FirstPieces)


def test_the_augmentation() -> None:
    testing.check_augmentation(parts.Accents, "augmentation.share=0.5", resume=False)


def test_the_rule() -> None:
    testing.check_rule(parts.Leaps, "sampling.rules.leaps.semitones=4")


def test_the_sampling_method() -> None:
    testing.check_method(parts.Typical)


def test_the_callback_and_the_logger() -> None:
    testing.check_callback(parts.Gradients)
    testing.check_logger(parts.JsonLines)


def test_a_training_with_all_of_them_resumes_exactly() -> None:
    testing.check_resume("experiment=mylab")
