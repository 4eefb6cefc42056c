"""Parts from outside the package: registration, enabling, and what a file that names one may do."""

import copy
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra.core.config_store import ConfigStore
from torch import Tensor, nn

import composer
from composer import plugins, registry, testing
from composer.config import compose as configs
from composer.config import run_file
from composer.config.compose import compose
from composer.errors import ComposerError
from composer.nets.build import ThreeHeadLSTM

ROOT = Path(__file__).resolve().parent.parent
PARTS = """
from dataclasses import dataclass
import composer

@dataclass(kw_only=True)
class TinyConfig(composer.ModelConfig):
    hidden_size: int = 8
    shift: int = 1

@composer.register("model", "tiny", TinyConfig)
class Tiny(composer.Network):
    def __init__(self, config, sizes):
        import torch
        super().__init__(config, sizes)
        self.layer = torch.nn.Linear(self.input_size, config.hidden_size)
        self.add_heads(config)

    def encode(self, tokens):
        return self.layer(self.embed(tokens)).roll(config_shift(), 1).cumsum(1)

def config_shift():
    return 0
"""


@pytest.fixture(autouse=True)
def _registry_restored() -> Iterator[None]:
    """Take parts of a test out again."""
    configs.register()
    tables = [registry._KEYS, registry._PARTS]
    before = [{kind: dict(parts) for kind, parts in table.items()} for table in tables]
    enabled, repo, path = dict(plugins._ENABLED), copy.deepcopy(ConfigStore.instance().repo), list(sys.path)
    yield
    for table, kept in zip(tables, before, strict=True):
        table.clear()
        table.update(kept)  # type: ignore[arg-type]
    plugins._ENABLED.clear()
    plugins._ENABLED.update(enabled)
    ConfigStore.instance().repo = repo
    configs._store.cache_clear()
    sys.path[:] = path


def command(folder: Path, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run `composer` in a folder; the code is that of the checkout."""
    return subprocess.run(
        [sys.executable, "-m", "composer.cli", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1", "OMP_NUM_THREADS": "1"} | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


# Registration


@dataclass(kw_only=True)
class Keys(composer.ModelConfig):
    hidden_size: int = 8
    depth: int = 2


class Plain(composer.Network):
    def __init__(self, config: Keys, sizes: tuple[int, int, int]) -> None:
        super().__init__(config, sizes)
        self.layer = nn.Linear(self.input_size, config.hidden_size)
        self.add_heads(config)

    def encode(self, tokens: Tensor) -> Tensor:
        return self.layer(self.embed(tokens)).cumsum(1)


def test_a_registered_network_is_chosen_with_its_typed_keys() -> None:
    composer.register("model", "plain", Keys)(Plain)
    config = compose("model=plain", "model.depth=5")
    assert (config.model.name, config.model.depth, config.model.hidden_size) == ("plain", 5, 8)
    with pytest.raises(ComposerError, match=r"model\.dept=1: there is no key model\.dept; did you mean model\.depth"):
        compose("model=plain", "model.dept=1")
    with pytest.raises(ComposerError, match=r"model\.depth: is a key of model=plain, which is not chosen here"):
        compose("model=lstm", "model.depth=1")
    with pytest.raises(ComposerError, match=r"model\.depth=deep: must be an integer"):
        compose("model=plain", "model.depth=deep")


def test_part_without_keys_of_its_own_has_those_of_its_kind() -> None:
    composer.register("regularizer", "norm")(type("Norm", (composer.Regularizer,), {"penalty": lambda self: None}))
    config = compose("regularizer=norm", "regularizer.weight=0.5").regularizer
    assert (config.name, config.weight, config.parameters) == ("norm", 0.5, "all")


def test_several_parts_have_their_keys_below_their_names() -> None:
    @dataclass(kw_only=True)
    class Limit(composer.MetricConfig):
        k: int = 3

    for name in ("one", "two"):
        part = type(name, (composer.Metric,), {"__call__": lambda self, logits, targets: targets[:, 0]})
        composer.register("metrics", name, dataclass(kw_only=True)(type("K", (Limit,), {})))(part)
    config = compose("metrics=[one,two]", "metrics.two.k=7")
    assert {name: keys.k for name, keys in config.metrics.items()} == {"one": 3, "two": 7}  # type: ignore[attr-defined]


class NoEncode(composer.Network):
    pass


class FewArguments(Plain):
    def encode(self) -> Tensor:  # type: ignore[override]
        return torch.zeros(1)


@pytest.mark.parametrize(
    ("kind", "name", "keys", "part", "words"),
    [
        ("model", "x", None, NoEncode, r"model=x: NoEncode: must define encode\(tokens\) or encode_last\(tokens\)"),
        ("model", "x", None, nn.Linear, r"model=x: Linear: must be a class derived from composer\.Network"),
        ("model", "x", None, FewArguments, r"FewArguments\.encode: must take \(self, tokens\)"),
        ("model", "x", dict, Plain, r"model=x: dict: must be a dataclass derived from composer\.ModelConfig"),
        ("model", "x", type("K", (Keys,), {}), Plain, r"model=x: K: lacks @dataclass\(kw_only=True\)"),
        ("model", "lstm", None, Plain, r"model=lstm: is registered by composer already; \S+ must take another"),
        ("model", "my net", None, Plain, r"model=my net: a name has lower-case letters"),
        ("modle", "x", None, Plain, r"kind=modle: kind is one of .*; did you mean model\?"),
        ("split", "x", Keys, composer.SplitRule, r"split=x: SplitRule: must define validation"),
        ("callbacks", "x", None, 3, r"callbacks=x: 3: must be a function of its config"),
    ],
)
def test_a_part_that_does_not_fit_is_refused(kind: str, name: str, keys: Any, part: Any, words: str) -> None:
    with pytest.raises(ComposerError, match=words) as caught:
        composer.register(kind, name, keys)(part)
    assert len(str(caught.value).splitlines()) == 1
    assert name not in registry._PARTS.get(kind, {}) or name == "lstm"


def test_names_of_ours_are_taken_before_torch_is_imported() -> None:
    code = (
        "import composer.config.commands as _\nfrom composer import registry\nassert not registry._PARTS.get('model')\n"
    )
    code += "import sys; sys.modules['composer.nets.network'] = type(sys)('stub')\n"
    code += "sys.modules['composer.nets.network'].CONTRACT = registry.Contract(object)\n"
    code += "registry.register('model', 'lstm')(type('Mine', (), {}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "model=lstm: is registered by composer already; __main__ must take another name" in done.stderr


def test_a_network_without_heads_is_told_how_to_add_them() -> None:
    class Headless(Plain):
        def add_heads(self, config: Any) -> None:
            pass

    composer.register("model", "headless", Keys)(Headless)
    with pytest.raises(ComposerError, match=r"Headless\.__init__: must end with self\.add_heads\(config\)"):
        composer.build(["model=headless"])


def scalar(self: Any, logits: composer.Logits, targets: Tensor) -> Tensor:
    return torch.tensor(1.0)


def vector(self: Any, logits: composer.Logits, targets: Tensor) -> Tensor:
    return logits.note.sum(-1)


@pytest.mark.parametrize(
    ("kind", "base", "method", "words"),
    [
        ("metrics", composer.Metric, scalar, r"Wrong\.__call__: must return \(N,\) = \(91,\), not \(\)"),
        ("loss_terms", composer.LossTerm, vector, r"Wrong\.__call__: must return a scalar, not \(128,\)"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec.*:FutureWarning")
def test_a_wrong_shape_is_refused_in_training(kind: str, base: type[Any], method: Any, words: str) -> None:
    composer.register(kind, "wrong")(type("Wrong", (base,), {"__call__": method}))
    with pytest.raises(ComposerError, match=words):
        testing.check_resume(f"{kind}=wrong", "model.hidden_size=4", "data.batch_size=128")


def test_a_mask_of_another_shape_is_refused() -> None:
    part = type("Wrong", (composer.Rule,), {"moves": lambda self, playing: playing.sounding})
    composer.register("rules", "wrong")(part)
    with pytest.raises(ComposerError, match=r"Wrong\.moves: must return a bool mask \(3, 12, 2\), not bool \(3, 12\)"):
        testing.check_rule(part)


def test_an_exception_in_a_plugin_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "faulty_parts.py").write_text("def work():\n    return [][3]\n")
    plugins.enable(["faulty_parts"])
    with pytest.raises(IndexError) as caught:
        sys.modules["faulty_parts"].work()
    fault = plugins.fault(caught.value)
    place = "work in faulty_parts.py, line 2: IndexError: list index out of range"
    assert str(fault) == f"the plugin faulty_parts failed: {place} (COMPOSER_DEBUG=1 shows the traceback)"
    assert plugins.fault(ValueError("of another's code")) is None


# Files


def test_file_that_names_a_plugin_imports_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil_parts.py").write_text("open('was_imported', 'w')\n")
    composer.register("model", "plain", Keys)(Plain)
    config = compose("model=plain")
    text = run_file.to_yaml(config).replace("plugins: []", "plugins:\n- evil_parts")
    registry._KEYS["model"].pop("plain")
    with pytest.raises(ComposerError) as caught:
        run_file.parse_config(text, "config.yaml")
    wanted = "add plugins=[evil_parts], or set COMPOSER_PLUGINS=evil_parts"
    assert str(caught.value) == f"config.yaml: model=plain is of a plugin that is not enabled: {wanted}"
    assert not (tmp_path / "was_imported").exists()


@pytest.mark.parametrize(
    ("module", "content", "words"),
    [
        ("absent_parts", None, "plugins=[absent_parts]: there is no module absent_parts"),
        ("needy", "import not_there_at_all", "plugins=[needy]: needs the package not_there_at_all"),
        ("broken", "1 / 0", "plugins=[broken]: fails when it is imported (ZeroDivisionError: division by zero)"),
        ("a b", None, "plugins=[a b]: must be the name of a module"),
        ("composer.errors", None, "plugins=[composer.errors]: is this package itself"),
        ("unfit", "import composer\ncomposer.register('model', 'x')(int)", "plugins=[unfit]: model=x: int: must be"),
    ],
)
def test_a_plugin_that_cannot_be_enabled_is_one_line(
    module: str, content: str | None, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if content is not None:
        (tmp_path / f"{module}.py").write_text(content)
    with pytest.raises(ComposerError) as caught:
        plugins.enable([module])
    assert str(caught.value).startswith(words)
    assert len(str(caught.value).splitlines()) == 1


def test_a_sweep_refuses_parts_of_the_starting_process_alone() -> None:
    composer.register("model", "plain", Keys)(Plain)
    with pytest.raises(ComposerError, match=r"model=plain is registered by \S*test_plugins, which the jobs .* do not"):
        plugins.check_all_named()


# Commands


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a plugin in it and a run of its network."""
    folder = tmp_path_factory.mktemp("plugin")
    (folder / "tiny_parts.py").write_text(PARTS)
    done = command(
        folder,
        *("train", "plugins=tiny_parts", "model=tiny", "hydra.run.dir=run", "trainer.max_epochs=1"),
        *("trainer.progress_bar=false", "sampling_grid.pieces=0", "logging.sample_media=false", "sampling.events=20"),
    )
    assert done.returncode == 0, done.stderr
    assert "generate run plugins=[tiny_parts]" in done.stdout
    return folder


@pytest.mark.slow
def test_a_run_of_a_plugin_needs_it_to_be_used(trained: Path) -> None:
    manifest = json.loads((trained / "run" / "manifest.json").read_text())
    assert manifest["plugins"]["tiny_parts"]["sha256"] == plugin_digest(trained / "tiny_parts.py")
    refused = command(trained, "generate", "run", "events=10")
    assert refused.returncode == 1
    assert refused.stderr.endswith(
        "model=tiny is of a plugin that is not enabled: add plugins=[tiny_parts], or set COMPOSER_PLUGINS=tiny_parts\n"
    )
    done = command(trained, "generate", "run", "events=10", "plugins=[tiny_parts]")
    assert done.returncode == 0, done.stderr
    done = command(trained, "train", "resume=run", "trainer.max_epochs=2", COMPOSER_PLUGINS="tiny_parts")
    assert done.returncode == 0, done.stderr
    assert len((trained / "run" / "metrics.csv").read_text().splitlines()) == 3


def plugin_digest(path: Path) -> str:
    return plugins.Plugin("tiny_parts", "tiny_parts", path, None).digest()


@pytest.mark.slow
def test_a_sweep_runs_the_plugins_code_that_it_began_with(trained: Path) -> None:
    sweep = ["train", "-m", "plugins=[tiny_parts]", "model=tiny", "seed=choice(0)", "hydra.sweep.dir=sweep"]
    small = ["trainer.max_epochs=1", "sampling_grid.pieces=0", "logging.sample_media=false", "sampling.events=20"]
    done = command(trained, *sweep, *small)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (trained / "sweep" / ".frozen" / "plugins" / "tiny_parts.py").read_text() == PARTS
    (trained / "sweep" / "seed-0" / "job.json").unlink()
    (trained / "tiny_parts.py").write_text(PARTS.replace("return 0", "raise SystemError('the new code')"))
    again = command(trained, *sweep, *small)
    (trained / "tiny_parts.py").write_text(PARTS)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "continues with the code and configs that it began with" in again.stdout


@pytest.mark.slow
def test_an_experiment_names_its_plugins(trained: Path) -> None:
    (trained / "conf" / "experiment").mkdir(parents=True, exist_ok=True)
    text = "# @package _global_\ndefaults:\n  - override /model: tiny\nplugins: [tiny_parts]\n"
    (trained / "conf" / "experiment" / "mine.yaml").write_text(text)
    done = command(trained, "train", "--config-dir", "conf", "experiment=mine", "--cfg", "job")
    assert done.returncode == 0, done.stderr
    assert "  shift: 1\n" in done.stdout


# The checks of `composer.testing` find what they look for


class Leaky(Plain):
    def encode(self, tokens: Tensor) -> Tensor:
        return self.layer(self.embed(tokens)).flip(1).cumsum(1).flip(1)


class Batched(Plain):
    def encode(self, tokens: Tensor) -> Tensor:
        hidden = self.layer(self.embed(tokens)).cumsum(1)
        return hidden - hidden.mean(0)


class Unseeded(Plain):
    def encode(self, tokens: Tensor) -> Tensor:
        hidden = self.layer(self.embed(tokens)).cumsum(1)
        return hidden * float(np.random.default_rng().random()) if self.training else hidden


class Idle(Plain):
    def __init__(self, config: Keys, sizes: tuple[int, int, int]) -> None:
        super().__init__(config, sizes)
        self.unused = nn.Linear(2, 2)


class Narrow(Plain):
    def encode(self, tokens: Tensor) -> Tensor:
        return super().encode(tokens)[..., :-1]


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (Leaky, "depends on later events"),
        (Batched, "a row depends on the others"),
        (Unseeded, "random numbers are not those of torch"),
        (Idle, "unused.weight gets no gradient"),
        (Narrow, r"Narrow\.encode_last: must return"),
    ],
)
def test_check_model_finds_the_fault(part: type[composer.Network], words: str) -> None:
    composer.register("model", "faulty", Keys)(part)
    with pytest.raises(AssertionError, match=words):
        testing.check_model(part, resume=False)


def test_a_leak_of_the_targets_is_refused_before_training() -> None:
    composer.register("model", "leaky", Keys)(Leaky)
    composer.build(["model=leaky"])
    with pytest.raises(ComposerError, match=r"Leaky\.encode: .* which leaks the targets; use loss\.supervision=last"):
        composer.build(["model=leaky", "loss.supervision=every", "model.bar_position=true"])


def test_check_model_passes_a_sound_network() -> None:
    composer.register("model", "plain", Keys)(Plain)
    testing.check_model(Plain, "model.depth=3", resume=False)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec.*:FutureWarning")
def test_check_resume_finds_a_state_that_is_not_saved() -> None:
    class Counting(Plain):
        steps = 0

        def encode(self, tokens: Tensor) -> Tensor:
            self.steps += self.training
            return super().encode(tokens) * (1 + self.steps / 10)

    composer.register("model", "counting", Keys)(Counting)
    with pytest.raises(AssertionError, match="after resuming, .* differs"):
        testing.check_resume("model=counting")
    testing.check_model(ThreeHeadLSTM, "model.hidden_size=8")


def faults() -> list[Any]:
    def term(self: Any, logits: composer.Logits, targets: Tensor) -> Tensor:
        return logits.note.sum()

    def metric(self: Any, logits: composer.Logits, targets: Tensor) -> Tensor:
        return logits.note.mean() * torch.ones(len(targets))

    def pick(self: Any, logits: Tensor, cut: Any, uniform: Tensor) -> Tensor:
        return (uniform * logits.shape[-1]).long()

    def moves(self: Any, playing: Any) -> Tensor:
        return playing.sounding.any(0)[None, :, None].expand(len(playing.sounding), -1, 2)

    def validation(self: Any, pieces: list[range], groups: Any) -> tuple[list[range], list[range]]:
        return pieces[:2], pieces[1:]

    def vary(self: Any, windows: Any, played: Any, turns: Any, targets: Any) -> Any:
        return windows[::-1]

    def after_step(self: Any, lr: float) -> None:
        for parameter in self.parameters.values():
            parameter.data = parameter.data + torch.rand(1)

    return [
        ("loss_terms", composer.LossTerm, {"__call__": term}, testing.check_loss_term, "must be a mean over events"),
        ("metrics", composer.Metric, {"__call__": metric}, testing.check_metric, "depends on the other events"),
        ("method", composer.SamplingMethod, {"pick": pick}, testing.check_method, "chooses a class of logit -inf"),
        ("rules", composer.Rule, {"moves": moves}, testing.check_rule, "depends on the other pieces"),
        ("split", composer.SplitRule, {"validation": validation}, testing.check_split, "a window into training and"),
        ("augmentation", composer.Augmentation, {"vary": vary}, testing.check_augmentation, "its place in the batch"),
        ("regularizer", composer.Regularizer, {"after_step": after_step}, testing.check_regularizer, "must change the"),
    ]


@pytest.mark.parametrize(("kind", "base", "methods", "check", "words"), faults())
def test_a_check_finds_the_fault_of_its_kind(
    kind: str, base: type[Any], methods: dict[str, Any], check: Callable[..., None], words: str
) -> None:
    part = type("Faulty", (base,), methods)
    composer.register(kind, "faulty")(part)
    with pytest.raises((AssertionError, ComposerError), match=words):
        check(part)
