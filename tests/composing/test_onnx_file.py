"""The network as ONNX, run by onnxruntime; skipped where onnx and onnxruntime are not installed."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from composer.composing import onnx_file as onnxfile
from composer.composing.composer import Composer
from composer.config.compose import compose
from composer.config.data import TimeUnit
from composer.data.vocabulary import Vocabulary
from composer.errors import ComposerError
from composer.music.events import Timing
from composer.nets.build import build_model
from composer.runs.checkpoint import Origin

VOCABULARY = Vocabulary(24, 112, TimeUnit.seconds, tuple(k / 8 for k in range(1, 12)), tuple(k / 8 for k in range(12)))


def composer_of(*overrides: str) -> Composer:
    torch.manual_seed(3)
    config = compose("model.hidden_size=24", *overrides)
    primer = torch.randint(0, 12, (30, 3)).to(torch.uint8)
    origin = Origin(primer=primer, piece="x", timing=Timing(), program=0, data_sha256="")
    return Composer(build_model(config.model, VOCABULARY.sizes), VOCABULARY, origin, config)


def test_the_stream_of_random_numbers_is_torchs() -> None:
    for seed in (0, 7, 2**32 - 1):
        state = np.random.SeedSequence([seed, 0, 5]).generate_state(1, np.uint64)
        generator = torch.Generator().manual_seed(int(state[0]))
        expected = torch.rand(100, 3, dtype=torch.float64, generator=generator).numpy()
        assert np.array_equal(onnxfile.uniforms(5, seed, 100), expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        "",
        "model.num_layers=2 model.heads=chained",
        "model=gru model.num_layers=2 model.hidden_size=24",
        "model=gru model.heads=chained model.embedding_size=5 model.inputs=drop_time model.hidden_size=24",
    ],
)
def test_onnxruntime_draws_the_same_events_for_the_same_seed(overrides: str, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    player = composer_of(*overrides.split())
    path = tmp_path / "network.onnx"
    onnxfile.write(path, player.model, player.plain())
    for seed, temperature in ((0, 1.0), (4, 0.7)):
        expected = player.generate(events=120, mode="stateful", seed=seed, temperature=temperature).classes[30:]
        assert np.array_equal(onnxfile.compose(path, 120, seed, temperature=temperature), expected)


@pytest.mark.slow
@pytest.mark.parametrize("heads", ["independent", "chained"])
def test_onnx_draws_without_smoothing_and_as_the_run_does(heads: str, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    own = ("sampling.temperature=0.8", "sampling.top_p=0.9", f"model.heads={heads}")
    player, plain = composer_of("loss.label_smoothing=0.2", *own), composer_of(*own)
    path = tmp_path / "network.onnx"
    onnxfile.write(path, player.model, player.plain())
    expected = player.generate(events=120, mode="stateful", seed=2).classes[30:]
    assert np.array_equal(onnxfile.compose(path, 120, 2), expected)
    assert not np.array_equal(plain.generate(events=120, mode="stateful", seed=2).classes[30:], expected)
    loose = player.generate(events=120, mode="stateful", seed=2, temperature=1.0, top_p=1.0).classes[30:]
    assert np.array_equal(onnxfile.compose(path, 120, 2, temperature=1.0, top_p=1.0), loose)


@pytest.mark.slow
def test_the_file_tells_what_its_classes_mean(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    player = composer_of()
    onnxfile.write(tmp_path / "network.onnx", player.model, player.plain())
    session = onnxruntime.InferenceSession(str(tmp_path / "network.onnx"), providers=["CPUExecutionProvider"])
    assert [one.name for one in session.get_inputs()] == ["event", "state_0", "state_1"]
    assert [one.name for one in session.get_outputs()] == ["note", "velocity", "time", "next_0", "next_1"]
    values = json.loads(session.get_modelmeta().custom_metadata_map["composer"])
    assert Vocabulary.from_plain(values["vocabulary"]) == VOCABULARY
    # Several pieces at once.
    feeds = {"event": np.zeros((5, 3), np.int64), **{f"state_{k}": np.zeros((1, 5, 24), np.float32) for k in (0, 1)}}
    assert session.run(["note"], feeds)[0].shape == (5, 89)


def test_a_transformer_is_refused_in_one_line(tmp_path: Path) -> None:
    player = composer_of("model=transformer")
    with pytest.raises(ComposerError, match=r"ONNX takes a network with a state, lstm or gru; write \.safetensors"):
        onnxfile.write(tmp_path / "x.onnx", player.model, player.plain())


def test_a_missing_package_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.setitem(sys.modules, "onnx.helper", None)
    player = composer_of()
    with pytest.raises(ComposerError, match=r"is not installed; pip install 'lstm-composer\[onnx\]'"):
        onnxfile.write(tmp_path / "x.onnx", player.model, player.plain())
