"""Every config that can be chosen composes into typed values, and nothing that is not meant to be gets in."""

import dataclasses
import enum
import inspect
import itertools
import random
import re
import types
import typing
from datetime import datetime
from pathlib import Path
from typing import Any

import hydra
import pytest
import yaml
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf

import composer
from composer import files, registry
from composer.composing.composer import Composer
from composer.config import compose as configs
from composer.config import keys, limits, paths, run_file
from composer.config.commands import SCHEMAS, GenerateConfig
from composer.config.compose import compose
from composer.config.data import TimeUnit
from composer.config.limits import CHANNELS, CUTS
from composer.config.model import Inputs
from composer.config.sampling import SamplingConfig
from composer.config.training import TrainConfig
from composer.corpus.read_many import Parameters
from composer.errors import ComposerError, UsageError
from composer.music.midi import read_parts, read_piece
from composer.runs.layout import checkpoint_path
from composer.sweeps import hydra as hydra_sweeps

CONF = Path(__file__).resolve().parents[2] / "conf"
SEEDS = ["0", "1", "2", "3", "4"]
# The arms of each sweep of conf/ablation; every arm runs with each of the five seeds.
ABLATIONS = {
    "l1": ("regularizer", ["none", "l1"]),
    "regularizer": ("regularizer", ["none", "l1", "l2", "elastic_net", "proximal_l1"]),
    "hidden_size": ("model.hidden_size", ["32", "64", "128", "256"]),
    "dropout": ("model.dropout", ["0.0", "0.25", "0.5", "0.75"]),
    "l1_path": ("regularizer.weight", ["0", "1e-07", "1e-06", "1e-05", "0.0001", "0.001"]),
    "split": ("data.split", ["shuffled", "blocked"]),
    "window_size": ("data.window_size", ["5", "10", "20", "30", "60"]),
    "supervision": ("loss.supervision", ["last", "every"]),
    "channels": ("model.inputs", [option.name for option in Inputs]),
    "heads": ("model.heads", ["independent", "chained"]),
    "model": ("model", ["lstm", "gru", "transformer"]),
    "embedding": ("model.embedding_size", ["null", "8", "32"]),
    "weight_dropout": ("model.weight_dropout", ["0.0", "0.25", "0.5", "0.75"]),
    "variational_dropout": ("model.variational_dropout", ["0.0", "0.1", "0.25", "0.5"]),
    "label_smoothing": ("loss.label_smoothing", ["0.0", "0.05", "0.1", "0.2"]),
    "num_layers": ("model.num_layers", ["1", "2", "3"]),
    "stateful": ("loss.supervision", ["every", "stream"]),
    "bar_position": ("model.bar_position", ["False", "True"]),
    "augmentation": ("augmentation", ["none", "transpose", "stretch", "velocity", "all"]),
    "data_size": ("data.train_share", ["0.125", "0.25", "0.5", "1.0"]),
}
# What the arms of a sweep share with each other and not with the default.
SHARED = {
    "window_size": {"data.first_target"},
    "stateful": {"data.batch_size"},
    # The chorales: whole pieces must be held out.
    "data_size": {
        *("data.source", "data.split", "data.group_by"),
        *(f"encoding.{key}" for key in ("time_unit", "time_binning", "time_bins")),
    },
}


# Keys of the group `trainer` that count from 1.
COUNTS = (
    *("num_nodes", "min_epochs", "min_steps", "accumulate_grad_batches", "check_val_every_n_epoch"),
    "log_every_n_steps",
)


def options() -> list[tuple[str, str]]:
    """(group, option) of every file of every group; `data/base` is a part of others and no group to choose from."""
    return [(path.parent.name, path.stem) for path in sorted(CONF.glob("*/*.yaml"))]


def leaves(schema: type[Any], prefix: str = "") -> dict[str, Any]:
    """The dotted keys of a schema that hold values, with their types."""
    found: dict[str, Any] = {}
    for name, hint in typing.get_type_hints(schema).items():
        if typing.get_origin(hint) is typing.ClassVar:
            continue
        found |= leaves(hint, f"{prefix}{name}.") if dataclasses.is_dataclass(hint) else {f"{prefix}{name}": hint}
    return found


def flat(config: Any) -> dict[str, Any]:
    return run_file.flatten(dataclasses.asdict(config))


def compose_option(group: str, option: str, *overrides: str) -> Any:
    path = ["data.path=some.mid"] if (group, option) in (("data", "midi"), ("experiment", "performances")) else []
    return compose(f"{group}={option}", *path, *overrides)


@pytest.fixture(scope="module")
def default() -> TrainConfig:
    return compose()


def change(config: TrainConfig, *overrides: str) -> TrainConfig:
    """As on the command line of a resumed run: parsed by Hydra's grammar, typed and checked, but quick."""
    return configs.apply_overrides(config, keys.parse_overrides(overrides))


# What is in conf/ composes


def test_the_configs_of_the_checkout_are_the_ones_in_use() -> None:
    """An editable install leaves a copy of conf/ in site-packages, which is old as soon as a file is edited."""
    assert paths.CONF_DIR == CONF


@pytest.mark.slow
@pytest.mark.parametrize(("group", "option"), options())
def test_every_option_composes_to_the_values_of_its_file(group: str, option: str) -> None:
    config = compose_option(group, option)
    assert isinstance(config, TrainConfig)
    # Parts have keys of their own.
    parts = (*registry.kinds(), "sampling.rules")
    shared = [key for key in flat(config) if not key.startswith(parts)]
    assert shared == [key for key in leaves(TrainConfig) if not key.startswith(parts)]
    plain_types = type(None) | bool | int | float | str
    lists = {"sampling_grid.temperatures", "sampling_grid.top_p", "logger.wandb.tags", "plugins"}
    assert all(isinstance(value, list if key in lists else plain_types) for key, value in flat(config).items())

    written = OmegaConf.load(CONF / group / f"{option}.yaml")
    assert isinstance(written, DictConfig)
    at_root = (CONF / group / f"{option}.yaml").read_text().startswith("# @package _global_")
    plain = OmegaConf.to_container(written)
    assert isinstance(plain, dict)
    values = {key: value for key, value in plain.items() if key not in ("defaults", "hydra")}
    expected = run_file.flatten(values if at_root or not values else {group: values})
    if (group, option) == ("data", "midi"):
        expected["data.path"] = "some.mid"
    assert expected or option == "none"
    assert flat(config) | expected == flat(config)


def test_all_groups_are_schema_nodes_or_experiments() -> None:
    groups = {group for group, _ in options()}
    nodes = {key for key, hint in typing.get_type_hints(TrainConfig).items() if dataclasses.is_dataclass(hint)}
    assert groups - nodes == {"experiment", "ablation", "debug", *(set(registry.SEVERAL))}
    assert nodes - groups == {"loss", "checkpoint", "logging", "sampling_grid"}


def test_values_are_typed_all_the_way_down(default: TrainConfig) -> None:
    for key, hint in leaves(TrainConfig).items():
        value: Any = default
        for part in key.split("."):
            value = getattr(value, part)
        if hint is not Any:
            container = typing.get_origin(hint)
            assert isinstance(value, container if container in (list, dict) else hint), key
    assert default.regularizer.parameters == "all"


def test_generate_has_the_sampling_keys_at_its_root() -> None:
    config = compose("run=somewhere", "temperature=0.5", command="generate")
    assert isinstance(config, GenerateConfig)
    assert (config.run, config.temperature, config.checkpoint) == ("somewhere", 0.5, "best")
    assert set(leaves(SamplingConfig)) < set(leaves(GenerateConfig))
    sampling = compose().sampling
    assert {key: getattr(config, key) for key in leaves(SamplingConfig)} == dataclasses.asdict(sampling) | {
        "temperature": 0.5
    }


def defaults_of(function: Any) -> dict[str, Any]:
    return {name: parameter.default for name, parameter in inspect.signature(function).parameters.items()}


def test_defaults_that_code_repeats_are_those_of_conf(default: TrainConfig) -> None:
    checkpoint = compose("run=x", command="generate").checkpoint
    for function in (composer.load, Composer.load, checkpoint_path):
        assert defaults_of(function)["checkpoint"] == checkpoint
    for command in ("evaluate", "live"):
        assert compose("run=x", command=command).checkpoint == checkpoint
    for reader in (read_piece, read_parts):
        given = {key: value for key, value in defaults_of(reader).items() if key in ("drums", "clip", "order", "pedal")}
        assert given == {key: getattr(default.data, key) for key in given}
        assert set(given) >= {"drums", "clip"}
    # The API takes texts for options.
    given = {key: value for key, value in defaults_of(composer.read).items() if key not in ("path", "unit")}
    assert given == {key: getattr(getattr(default.data, key), "value", getattr(default.data, key)) for key in given}
    comparing = compose("sweep=x", command="compare")
    given = {key: value for key, value in defaults_of(composer.compare).items() if key != "runs"}
    assert given == {key: getattr(comparing, key) for key in given}
    orders = {key: defaults_of(Parameters)[key] for key in ("order", "pedal")}
    assert orders == {key: getattr(default.data, key).name for key in orders}
    # What `encoding.time_bins` is where it is null, and what the encodings that do not choose by the music have.
    assert compose("encoding=score").encoding == default.encoding.resolved(TimeUnit.beats)
    assert compose("encoding=performance").encoding == default.encoding.resolved(TimeUnit.seconds)


def test_config_composes_inside_another_hydra_program(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("a: 1\n")
    with hydra.initialize_config_dir(str(tmp_path), version_base="1.3"):
        assert hydra.compose("mine").a == 1
        assert compose("seed=3").seed == 3
        assert hydra.compose("mine").a == 1
    assert not GlobalHydra.instance().is_initialized()


def test_the_article_to_the_letter() -> None:
    config = flat(compose("experiment=article"))
    # The article has the L1 penalty but states no weight: that one is ours.
    assert config.pop("regularizer.weight") == compose().regularizer.weight > 0
    assert config == {
        "name": "article",
        "seed": 0,
        "resume": None,
        "data.source": "prelude",
        "data.path": None,
        "data.part": "first",
        "data.drums": False,
        "data.clip": False,
        "data.order": "file",
        "data.pedal": "ignore",
        "data.on_error": "skip",
        "data.store": "auto",
        "data.cache": None,
        "data.readers": None,
        "data.window_size": 30,
        "data.first_target": None,
        "data.batch_size": 30,
        "data.windows_per_epoch": None,
        "data.eval_windows": None,
        "data.split": "shuffled",
        "data.split_file": None,
        "data.val_fraction": 0.1,
        "data.val_block": "middle",
        "data.test_fraction": 0.0,
        "data.test_block": "middle",
        "data.fold": None,
        "data.folds": 5,
        "data.group_similarity": 0.4,
        "data.group_by": None,
        "data.train_share": 1.0,
        "data.num_workers": 0,
        "encoding.pitch_low": 24,
        "encoding.pitch_high": 112,
        "encoding.velocity_bins": None,
        "encoding.time_unit": "seconds",
        "encoding.time_binning": "equal_width",
        "encoding.time_bins": 10,
        "augmentation.transpose": 0,
        "augmentation.stretch": 1.0,
        "augmentation.velocity": 1.0,
        "model.name": "lstm",
        "model.hidden_size": 128,
        "model.num_layers": 1,
        "model.dropout": 0.5,
        "model.weight_dropout": 0.0,
        "model.variational_dropout": 0.0,
        "model.embedding_size": None,
        "model.heads": "independent",
        "model.inputs": "all",
        "model.bar_position": False,
        "loss.note_weight": 1.0,
        "loss.velocity_weight": 1.0,
        "loss.time_weight": 1.0,
        "loss.label_smoothing": 0.0,
        "loss.supervision": "last",
        "loss.mask_held_out": True,
        "regularizer.name": "l1",
        "regularizer.parameters": "all",
        "optimizer.name": "adam",
        "optimizer.lr": 1e-3,
        "optimizer.weight_decay": 1e-5,
        "optimizer.beta1": 0.9,
        "optimizer.beta2": 0.999,
        "optimizer.eps": 1e-8,
        "scheduler.name": "none",
        "optimizer.gradient_clip_norm": None,
        "trainer.max_epochs": 200,
        "trainer.accelerator": "cpu",
        "trainer.devices": 1,
        "trainer.strategy": "auto",
        "trainer.precision": "32",
        "trainer.deterministic": True,
        "trainer.threads": None,
        "trainer.early_stopping_patience": None,
        "trainer.progress_bar": True,
        "trainer.num_nodes": 1,
        "trainer.min_epochs": None,
        "trainer.max_steps": -1,
        "trainer.min_steps": None,
        "trainer.max_time": None,
        "trainer.accumulate_grad_batches": 1,
        "trainer.gradient_clip_algorithm": "norm",
        **{f"trainer.limit_{part}_batches": None for part in ("train", "val", "test", "predict")},
        "trainer.overfit_batches": 0,
        "trainer.fast_dev_run": False,
        "trainer.val_check_interval": None,
        "trainer.check_val_every_n_epoch": 1,
        "trainer.num_sanity_val_steps": 0,
        "trainer.log_every_n_steps": 50,
        "trainer.profiler": None,
        "trainer.detect_anomaly": False,
        "trainer.benchmark": None,
        "trainer.inference_mode": True,
        "trainer.sync_batchnorm": False,
        "trainer.reload_dataloaders_every_n_epochs": 0,
        "checkpoint.every_minutes": 0.5,
        "checkpoint.every_epochs": None,
        "checkpoint.every_steps": None,
        "logging.histogram_every_epochs": 50,
        "logging.sample_every_epochs": 50,
        "logging.sample_events": 200,
        "logging.sample_media": True,
        "sampling.events": 500,
        "sampling.seconds": None,
        "sampling.n": 1,
        "sampling.temperature": 1.0,
        "sampling.top_k": None,
        "sampling.top_p": 1.0,
        "sampling.mode": "window",
        "sampling.method": "sample",
        "sampling.beams": 8,
        "sampling.keep_grid": False,
        "sampling.playable": False,
        "sampling.ending": "cut",
        **{f"sampling.{channel}_{cut}": None for channel in CHANNELS for cut in CUTS},
        **{f"sampling.{key}": None for key in ("min_p", "repeats", "polyphony", "pitch_low", "pitch_high", "scale")},
        "sampling.max_note_seconds": None,
        "sampling.include_primer": False,
        "augmentation.name": "none",
        "plugins": [],
        # Used where sampling.temperature or sampling.top_p is null, which the article's are not.
        "sampling_grid.pieces": 4,
        "sampling_grid.events": 200,
        "sampling_grid.temperatures": [0.8, 0.9, 1.0],
        "sampling_grid.top_p": [1.0, 0.95, 0.9],
        "debug": "none",
    }


def test_the_default_run_is_the_article_with_a_test_block(default: TrainConfig) -> None:
    article = compose("experiment=article", "sampling=auto")
    encoding = ["pitch_low", "pitch_high", "time_unit", "time_binning", "time_bins"]
    keys = ["name", "data.part", "data.test_fraction", *(f"encoding.{key}" for key in encoding)]
    assert run_file.differing_keys(default, article) == keys
    assert default.data.test_fraction == 0.1


def test_the_articles_counterpart_differs_in_the_penalty_alone() -> None:
    without = compose("experiment=article_no_l1")
    differing = run_file.differing_keys(compose("experiment=article"), without)
    assert differing == ["name", "regularizer.name", "regularizer.weight"]
    assert without.regularizer.name == "none"


def test_experiment_overrides_groups_and_is_overridden() -> None:
    config = compose("experiment=article", "data.test_fraction=0.2", "model=lstm", "seed=7")
    assert (config.data.test_fraction, config.seed, config.name) == (0.2, 7, "article")


def jobs_of(ablation: str) -> list[list[str]]:
    """The overrides of each job, as Hydra's sweeper makes them."""
    configs.register()
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        composed = hydra.compose("train", [f"ablation={ablation}"], return_hydra_config=True)
    assert composed.hydra.mode.name == "MULTIRUN", "composer train ablation=NAME sweeps also without -m"
    parameters = [f"{key}={value}" for key, value in composed.hydra.sweeper.params.items()]
    swept = keys.parse_overrides(parameters)
    return [list(job) for job in itertools.product(*(values_of(override) for override in swept))]


def values_of(override: Override) -> list[str]:
    """The overrides of the jobs that a sweep over one key makes."""
    return [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]


def test_every_ablation_is_expected_here() -> None:
    # The search has no arms: tests/test_launchers.py runs it.
    assert {path.stem for path in (CONF / "ablation").glob("*.yaml")} == {*ABLATIONS, "search"}


@pytest.mark.slow
@pytest.mark.parametrize("ablation", ABLATIONS)
def test_an_ablation_expands_to_every_arm_with_every_seed(ablation: str, default: TrainConfig) -> None:
    key, arms = ABLATIONS[ablation]
    assert jobs_of(ablation) == [[f"{key}={arm}", f"seed={seed}"] for arm in arms for seed in SEEDS]
    names = [files.safe_name(",".join(job)) for job in jobs_of(ablation)]
    assert len(set(names)) == len(arms) * len(SEEDS)

    # Every arm differs from the default in what is ablated and in nothing else.
    swept = {"regularizer.name", "regularizer.weight"} if key == "regularizer" else {key}
    # A kind brings the size that gives it as many parameters.
    own = ("name", "hidden_size", "num_layers", "dropout", "attention_heads", "weight_dropout", "variational_dropout")
    swept |= {f"model.{name}" for name in own if key == "model"}
    swept |= {"regularizer.l1_ratio"} if key == "regularizer" else set()
    # `augmentation=NAME` chooses a file of that name, which is not itself a key.
    chosen = {f"augmentation.{name}" for name in ("name", "transpose", "stretch", "velocity") if key == "augmentation"}
    swept |= chosen | SHARED.get(ablation, set())
    found = set()
    for arm in arms:
        config = compose(f"ablation={ablation}", f"{key}={arm}", "seed=0")
        assert config.name == ablation
        assert set(run_file.differing_keys(default, config)) <= swept | {"name"}
        named = {"regularizer": config.regularizer.name, "model": config.model.name, "augmentation": arm}
        found.add((flat(config) | named)[key])
    typed = [keys.parse_overrides([f"arm={arm}"])[0].value() for arm in arms]
    assert len(found) == len(arms)
    assert found == set(typed)


@pytest.mark.parametrize("name", ["none", "l1", "l2", "elastic_net", "proximal_l1"])
def test_a_weight_given_to_all_regularizers_is_0_for_none(name: str) -> None:
    config = compose(f"regularizer={name}", "regularizer.weight=0.25")
    assert config.regularizer.name == name
    assert config.regularizer.weight == (0.0 if name == "none" else 0.25)


# What is not in the schema does not compose


@pytest.mark.parametrize(
    ("override", "suggested"),
    [
        ("+model.l1_lamda=1", "regularizer.weight"),
        ("model.l1_lambda=1", "regularizer.weight"),
        ("++l1=0.1", "regularizer.weight"),
        ("hidden_size=3", "model.hidden_size"),
        ("model.hiden_size=3", "model.hidden_size"),
        ("+trainer.max_epoch=3", "trainer.max_epochs"),
        ("epochs=3", "trainer.max_epochs"),
        ("learning_rate=1", "optimizer.lr"),
        ("lr=1", "optimizer.lr"),
        ("batch_size=3", "data.batch_size"),
        ("sead=3", "seed"),
        ("experimant=article", "experiment"),
        ("regulariser=l2", "regularizer"),
        ("regularizer.lambda=1", "regularizer.weight"),
        ("~model.dropuot", "model.dropout"),
        ("model.dropuot=0.1,0.2", "model.dropout"),
    ],
)
def test_a_misspelt_key_is_refused_and_the_right_one_named(override: str, suggested: str) -> None:
    with pytest.raises(ComposerError, match=f"there is no key .*did you mean .*{re.escape(suggested)}") as caught:
        compose(override)
    assert str(caught.value).startswith(f"{override}: ")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("override", ["+zzz=1", "model.qqq.www=1", "+model._target_=os.system", "sampling.prefix=x"])
def test_a_key_like_no_other_is_refused_too(override: str) -> None:
    with pytest.raises(ComposerError, match="there is no key"):
        compose(override)


def test_generate_does_not_take_the_keys_of_train() -> None:
    with pytest.raises(ComposerError, match="there is no key sampling.n; did you mean n"):
        compose("run=x", "sampling.n=2", command="generate")
    with pytest.raises(ComposerError, match="there is no key model.hidden_size"):
        compose("run=x", "model.hidden_size=2", command="generate")


@pytest.mark.parametrize("override", ["model=null", "experiment=3", "regularizer=l1,null", "optimizer=true"])
def test_a_group_takes_the_name_of_an_option_only(override: str) -> None:
    group = override.split("=")[0]
    with pytest.raises(ComposerError, match=f"^{override}: {group} is one of {options_of(group)}$"):
        keys.check_keys(keys.parse_overrides([override]), "train")


def options_of(group: str) -> str:
    return ", ".join(option for name, option in options() if name == group)


@pytest.mark.parametrize(
    "override", ["regularizer=l1,l2", "data={window_size: 3}", "~ablation", "model=lstm", "hydra.run.dir=x", "+seed=3"]
)
def test_what_hydra_can_do_with_known_keys_is_let_through(override: str) -> None:
    parsed = keys.parse_overrides([override])
    keys.check_keys(parsed, "train")
    assert [p.input_line for p in parsed] == [override]


@pytest.mark.parametrize("argument", ["foo", "", "=", "model.hidden_size:3", "-x"])
def test_an_argument_that_is_not_key_and_value_is_a_usage_error(argument: str) -> None:
    with pytest.raises((UsageError, ComposerError)) as caught:
        keys.check_keys(keys.parse_overrides([argument]), "train")
    assert str(caught.value).startswith(f"{argument}: ")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.slow
def test_the_flags_are_hydras_own(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        hydra_sweeps.hydra_command("train", ["--hydra-help"], lambda config, folder: None)
    listed = re.findall(r"^(-[^ ]*) : ", capsys.readouterr().out, re.MULTILINE)
    known = (*keys.FLAGS, *keys.FLAGS_WITH_VALUE, *keys.FLAGS_WITH_OPTION)
    assert sorted(listed) == sorted(",".join(names) for names in known)


@pytest.mark.parametrize(
    ("arguments", "overrides"),
    [
        (["-m", "seed=0,1"], ["seed=0,1"]),
        (["--cfg", "job", "seed=1"], ["seed=1"]),
        (["seed=1", "--info"], ["seed=1"]),
        (["-cd", "folder", "seed=1", "name=x"], ["seed=1", "name=x"]),
    ],
)
def test_flags_and_their_values_are_no_overrides(arguments: list[str], overrides: list[str]) -> None:
    assert keys.overrides_of(arguments) == overrides


# Limits. Each number of the schema is here with values just outside its limits and on them.

BAD = {
    "seed": ["-1", "4294967296"],
    "data.window_size": ["0", "-3"],
    "data.first_target": ["29", "0"],
    "data.batch_size": ["0"],
    "data.val_fraction": ["0", "1", "-0.1", "nan"],
    "data.test_fraction": ["-0.1", "1", "nan"],
    "data.fold": ["-1", "5", "0"],  # 0 needs data.split=blocked
    "data.folds": ["1"],
    "data.group_similarity": ["0", "1.1", "nan"],
    "data.train_share": ["0", "1.1", "-0.5", "nan"],
    "data.num_workers": ["-1"],
    "data.readers": ["0"],
    "data.windows_per_epoch": ["0", "-1"],
    "data.eval_windows": ["0"],
    "encoding.pitch_low": ["-1", "128"],
    "encoding.pitch_high": ["-1", "128"],
    "encoding.velocity_bins": ["0", "128"],
    "encoding.time_bins": ["0", "255"],
    "model.hidden_size": ["0", "16385"],
    "model.num_layers": ["0", "33"],
    "model.dropout": ["-0.1", "1", "nan"],
    "model.embedding_size": ["0", "4097"],
    "regularizer.weight": ["-1e-9", "inf", "nan"],
    "loss.note_weight": ["-1", "inf", "nan"],
    "loss.velocity_weight": ["-1", "inf", "nan"],
    "loss.time_weight": ["-1", "inf", "nan"],
    "loss.label_smoothing": ["-0.1", "1", "nan"],
    "optimizer.lr": ["0", "-1", "inf", "nan"],
    "optimizer.weight_decay": ["-1", "inf", "nan"],
    "optimizer.gradient_clip_norm": ["0", "-1", "nan"],
    "trainer.max_epochs": ["0"],
    **{f"trainer.{key}": ["0"] for key in COUNTS},
    "trainer.max_steps": ["-2"],
    "trainer.num_sanity_val_steps": ["-2"],
    "trainer.reload_dataloaders_every_n_epochs": ["-1"],
    "trainer.threads": ["0"],
    "trainer.early_stopping_patience": ["0"],
    "checkpoint.every_minutes": ["0", "-1", "nan"],
    "checkpoint.every_epochs": ["0"],
    "checkpoint.every_steps": ["0"],
    "logging.histogram_every_epochs": ["0"],
    "logging.sample_every_epochs": ["0"],
    "logging.sample_events": ["0"],
    "sampling.events": ["0"],
    "sampling.seconds": ["0", "-1", "inf", "nan"],
    "sampling.n": ["0"],
    "sampling.temperature": ["0", "-1", "inf", "nan"],
    "sampling.top_k": ["0"],
    "sampling.top_p": ["0", "1.1", "nan"],
    "sampling.min_p": ["-0.1", "1.1", "nan"],
    **{f"sampling.{channel}_temperature": ["0", "-1", "inf", "nan"] for channel in CHANNELS},
    **{f"sampling.{channel}_top_k": ["0"] for channel in CHANNELS},
    **{f"sampling.{channel}_top_p": ["0", "1.1", "nan"] for channel in CHANNELS},
    **{f"sampling.{channel}_min_p": ["-0.1", "1.1", "nan"] for channel in CHANNELS},
    "sampling.beams": ["0", "17"],
    "sampling.repeats": ["1"],
    "sampling.polyphony": ["0"],
    "sampling.pitch_low": ["-1", "128"],
    "sampling.pitch_high": ["-1", "128"],
    "sampling.max_note_seconds": ["0", "inf", "nan"],
    "sampling_grid.pieces": ["-1"],
    "sampling_grid.events": ["0"],
}
GOOD = {
    "seed": ["0", "4294967295"],
    "data.window_size": ["1"],
    "data.first_target": ["null", "30"],
    "data.batch_size": ["1"],
    "data.val_fraction": ["0.001", "0.999"],
    "data.test_fraction": ["0", "0.999"],
    "data.fold": ["null"],
    "data.folds": ["2"],
    "data.group_similarity": ["null", "1", "1e-3"],
    "data.train_share": ["1", "1e-3"],
    "data.num_workers": ["0"],
    "data.readers": ["1", "null"],
    "data.windows_per_epoch": ["1", "null"],
    "data.eval_windows": ["1", "null"],
    "encoding.pitch_low": ["0", "112"],
    "encoding.pitch_high": ["24", "127"],
    "encoding.velocity_bins": ["null", "1", "127"],
    "encoding.time_bins": ["1", "254"],
    "model.hidden_size": ["1", "16384"],
    "model.num_layers": ["1", "32"],
    "model.dropout": ["0", "0.99"],
    "model.embedding_size": ["null", "1", "4096"],
    "regularizer.weight": ["0"],
    "loss.note_weight": ["0"],
    "loss.velocity_weight": ["0"],
    "loss.time_weight": ["0"],
    "loss.label_smoothing": ["0", "0.99"],
    "optimizer.lr": ["1e-9"],
    "optimizer.weight_decay": ["0"],
    "optimizer.gradient_clip_norm": ["null", "1e-9"],
    "trainer.max_epochs": ["1"],
    **{f"trainer.{key}": ["1"] for key in COUNTS},
    "trainer.max_steps": ["-1"],
    "trainer.num_sanity_val_steps": ["-1", "0"],
    "trainer.reload_dataloaders_every_n_epochs": ["0"],
    "trainer.threads": ["null", "1"],
    "trainer.early_stopping_patience": ["null", "1"],
    "checkpoint.every_minutes": ["null", "1e-3"],
    "checkpoint.every_epochs": ["null", "1"],
    "checkpoint.every_steps": ["null", "1"],
    "logging.histogram_every_epochs": ["null", "1"],
    "logging.sample_every_epochs": ["null", "1"],
    "logging.sample_events": ["1"],
    "sampling.events": ["1"],
    "sampling.seconds": ["null", "0.1"],
    "sampling.n": ["1"],
    "sampling.temperature": ["null", "1e-3"],
    "sampling.top_k": ["null", "1"],
    "sampling.top_p": ["null", "1", "1e-3"],
    "sampling.min_p": ["null", "0", "1"],
    **{f"sampling.{channel}_temperature": ["null", "1e-3"] for channel in CHANNELS},
    **{f"sampling.{channel}_top_k": ["null", "1"] for channel in CHANNELS},
    **{f"sampling.{channel}_top_p": ["null", "1", "1e-3"] for channel in CHANNELS},
    **{f"sampling.{channel}_min_p": ["null", "0", "1"] for channel in CHANNELS},
    "sampling.beams": ["1", "16"],
    "sampling.repeats": ["null", "2"],
    "sampling.polyphony": ["null", "1"],
    "sampling.pitch_low": ["null", "0", "127"],
    "sampling.pitch_high": ["null", "0", "127"],
    "sampling.max_note_seconds": ["null", "0.1"],
    "sampling_grid.pieces": ["0"],
    "sampling_grid.events": ["1"],
}


# Keys that one option of a group has.
OF_OPTIONS = [
    ("model=transformer", "model.attention_heads", ["0", "257"], ["1", "4"]),
    ("model=lstm", "model.weight_dropout", ["-0.1", "1", "nan"], ["0", "0.99"]),
    ("model=gru", "model.variational_dropout", ["-0.1", "1", "nan"], ["0", "0.99"]),
    ("regularizer=elastic_net", "regularizer.l1_ratio", ["-0.1", "1.1", "nan"], ["0", "1"]),
    ("augmentation=all", "augmentation.transpose", ["-1", "128"], ["0", "127"]),
    ("augmentation=all", "augmentation.stretch", ["0.9", "5", "nan"], ["1", "4"]),
    ("augmentation=all", "augmentation.velocity", ["0.9", "5", "nan"], ["1", "4"]),
]


def pairs(table: dict[str, list[str]]) -> list[tuple[str, str]]:
    return [(key, value) for key, values in table.items() for value in values]


def is_number(hint: Any) -> bool:
    kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    return bool({int, float} & set(kinds))


def test_every_number_has_limits_and_they_are_tested_here() -> None:
    numbers = [key for key, hint in leaves(TrainConfig).items() if is_number(hint)]
    assert sorted(BAD) == sorted(GOOD) == sorted(numbers)


def test_every_number_of_every_command_has_limits() -> None:
    without = set()
    for name, schema in SCHEMAS.items():
        for group in {schema, *(hint for hint in nodes(schema))}:
            for key, hint in leaves(group).items():
                if "." not in key and is_number(hint) and key not in limits.limits_of(group):
                    without.add(f"{name}.{getattr(group, 'prefix', '')}{key}")
    # Each of these depends on another key: `check` of its group compares them.
    keys = {"data.first_target", "data.fold", "encoding.pitch_high"}
    of_commands = {f"{name}.{key}" for name in ("train", "explore") for key in keys}
    assert without == {*of_commands, "train.sampling.pitch_high", "generate.pitch_high", "live.pitch_high"}


def nodes(schema: type[Any]) -> list[type[Any]]:
    """The dataclasses below the root of a schema."""
    below = [hint for hint in typing.get_type_hints(schema).values() if dataclasses.is_dataclass(hint)]
    return [*below, *(node for group in below for node in nodes(group))]  # type: ignore[arg-type,misc]


@pytest.mark.parametrize(("key", "value"), pairs(BAD))
def test_value_outside_limits_is_refused_by_its_key(key: str, value: str, default: TrainConfig) -> None:
    with pytest.raises(ComposerError, match=rf"^{re.escape(key)}=\S+: must be \S+") as caught:
        change(default, f"{key}={value}")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(("option", "key", "bad", "good"), OF_OPTIONS)
def test_keys_of_an_option_have_limits(option: str, key: str, bad: list[str], good: list[str]) -> None:
    for value in bad:
        with pytest.raises(ComposerError, match=rf"^{re.escape(key)}=\S+: must be \S+"):
            compose(option, f"{key}={value}")
    for value in good:
        assert flat(compose(option, f"{key}={value}"))[key] == float(value)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("data.source=wav", "data=wav: data is one of chorales, jsb_chorales, midi, prelude"),
        ("regularizer.name=l3", "regularizer=l3: regularizer is one of elastic_net, l1, l2, none"),
        ("model.name=lstmm", "model=lstmm: model is one of .*; did you mean lstm?"),
        ("data.split=blokced", "data.split=blokced: must be one of blocked, by_piece, file, shuffled"),
        ("sampling.method=beams", "sampling.method=beams: must be one of beam, greedy, sample"),
    ],
)
def test_a_name_that_nothing_has_registered_is_refused(override: str, words: str, default: TrainConfig) -> None:
    with pytest.raises(ComposerError, match=words):
        change(default, override)


@pytest.mark.parametrize(
    ("option", "key", "owner"),
    [
        ("model=transformer", "model.weight_dropout=0.5", "model=gru and model=lstm"),
        ("model=lstm", "model.attention_heads=2", "model=attentive_lstm and model=transformer"),
        ("regularizer=l1", "regularizer.l1_ratio=0.5", "regularizer=elastic_net"),
    ],
)
def test_a_key_of_another_option_is_refused(option: str, key: str, owner: str) -> None:
    with pytest.raises(ComposerError, match=f"is a key of {owner}, which is not chosen here"):
        compose(option, key)


@pytest.mark.parametrize(("key", "value"), pairs(GOOD))
def test_a_value_on_its_limit_is_taken(key: str, value: str, default: TrainConfig) -> None:
    expected = None if value == "null" else float(value)
    assert flat(change(default, f"{key}={value}"))[key] == expected


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("name=a/b", "name=a/b: must be"),
        ("name='a b'", "name=a b: must be"),
        ("name=''", "name=: must be"),
        ("name=.", "name=.: must be"),
        ("name=..", "name=..: must be"),
        ("name=-x", "name=-x: must be"),
        (f"name={'a' * 65}", "must be 1 to 64"),
        ("data.path=some.mid", "data.path=some.mid: must be used with data=midi"),
        ("data.source=midi", "data.source=midi: has other keys; choose it as data=midi"),
        ("regularizer.parameters=foo", "regularizer.parameters=foo: must be all, weights"),
        ("regularizer.parameters=[]", "regularizer.parameters=[]: must be"),
        ("regularizer.parameters=[1]", "regularizer.parameters=[1]: must be"),
        ("regularizer.parameters=null", "regularizer.parameters=null: must be"),
        ("sampling_grid.temperatures=[]", "sampling_grid.temperatures=[]: must be a list of at least one number"),
        ("sampling_grid.temperatures=[1,0]", "sampling_grid.temperatures=0.0: must be finite and above 0"),
        ("sampling_grid.top_p=[]", "sampling_grid.top_p=[]: must be a list"),
        ("sampling_grid.top_p=[0.9,1.1]", "sampling_grid.top_p=1.1: must be above 0 up to 1"),
        ("regularizer.parameters={_target_: os.system}", "must be all, weights"),
    ],
)
def test_a_text_outside_its_limits_is_refused(override: str, words: str, default: TrainConfig) -> None:
    with pytest.raises(ComposerError, match=re.escape(words)):
        change(default, override)


def test_texts_within_their_limits_are_taken(default: TrainConfig) -> None:
    longest = "a" * 64
    assert change(default, f"name={longest}").name == longest
    assert change(default, "name=v1._-").name == "v1._-"
    assert change(default, "regularizer.parameters=[lstm.*,head]").regularizer.parameters == ["lstm.*", "head"]
    assert change(default, "regularizer.parameters=weights").regularizer.parameters == "weights"


@pytest.mark.parametrize("key", ["n", "events", "seconds", "temperature", "top_k", "top_p"])
def test_limits_of_sampling_equal_those_of_generate(key: str) -> None:
    values = dataclasses.asdict(compose("run=x", command="generate")) | {key: 0}
    with pytest.raises(ComposerError, match=f"^{key}=0: must be"):
        GenerateConfig(**values)


@pytest.mark.parametrize(("key", "value"), [("seed", -1), ("seed", 2**32), ("checkpoint", "newest")])
def test_the_limits_of_generates_own_keys(key: str, value: object) -> None:
    values = dataclasses.asdict(compose("run=x", command="generate")) | {key: value}
    with pytest.raises(ComposerError, match=f"^{key}={value}: must be"):
        GenerateConfig(**values)


@pytest.mark.parametrize(
    "override",
    [
        "seed=abc",
        "seed=null",
        "seed=[1,2]",
        "seed=1.5",
        "name=null",
        "model.hidden_size=1.5",
        "model.hidden_size=many",
        "model=5",
        "trainer.max_epochs=true",
        "trainer.accumulate_grad_batches=many",
        "optimizer.lr=fast",
        "optimizer.lr=null",
        "data.drums=maybe",
        "data.split=random",
        "model.inputs=drop",
        "loss.supervision=first",
        "encoding.time_binning=log",
        "data.val_block=last",
        "data.on_error=ignore",
        "encoding.time_unit=ticks",
    ],
)
def test_a_value_of_the_wrong_type_is_refused_and_named(override: str, default: TrainConfig) -> None:
    with pytest.raises(ComposerError) as caught:
        change(default, override)
    assert str(caught.value).startswith(f"{override}: ")
    assert len(str(caught.value).splitlines()) == 1


def test_a_missing_value_is_named() -> None:
    with pytest.raises(UsageError, match="^run is missing: add run=RUN_DIR, or run=pretrained"):
        compose(command="evaluate")
    with pytest.raises(UsageError, match="^model.hidden_size is missing"):
        compose("model.hidden_size='???'")


@pytest.mark.parametrize("override", ["seed=1,2", "~seed", "+seed=1"])
def test_only_plain_values_can_be_changed_in_a_finished_config(override: str, default: TrainConfig) -> None:
    with pytest.raises(ComposerError, match="only key=value can be given here"):
        change(default, override)


# config.yaml


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("experiment=article_no_l1", "seed=4294967295"),
        ("data=midi", "data.path='/music/a b: \"c\" #é \\\\ {}.mid'"),
        ("data=midi", "data.path='null'"),
        ("data=midi", "data.path='1e3'"),
        ("regularizer=elastic_net", "regularizer.parameters=[lstm.*,'*']", "regularizer.weight=1e-17"),
        ("optimizer=adamw", "optimizer.gradient_clip_norm=0.1", "sampling.top_p=0.3", "checkpoint.every_steps=7"),
        ("name=on", "trainer.precision=16"),
    ],
)
def test_a_config_is_the_same_after_it_was_written_and_read(overrides: tuple[str, ...], tmp_path: Path) -> None:
    config = compose(*overrides)
    path = tmp_path / "config.yaml"
    path.write_text(run_file.to_yaml(config), encoding="utf-8")
    again = run_file.read_config(path)
    assert again == config
    assert run_file.differing_keys(again, config) == []
    assert run_file.to_yaml(again) == run_file.to_yaml(config)


def replaced(old: str, new: str) -> str:
    text = run_file.to_yaml(compose())
    assert text.count(old) == 1
    return text.replace(old, new)


def added(text: str) -> str:
    return run_file.to_yaml(compose()) + text


def alias_bomb() -> str:
    """Nine lines that stand for 9^9 values."""
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    for before, name in zip("abcdefgh", "bcdefghi", strict=True):
        lines.append(f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]")
    return "\n".join(lines)


DAMAGED = {
    "interpolation": (lambda: replaced("path: null", "path: ${oc.env:HOME}"), "interpolation"),
    "interpolation inside a text": (lambda: replaced("name: train", "name: a${seed}"), "interpolation"),
    "interpolation as a key": (lambda: added("${name}: 1\n"), "interpolation"),
    "interpolation behind an escape": (
        lambda: replaced("name: train", 'name: "\\x24{oc.env:COMPOSER_TEST}"'),
        "interpolation",
    ),
    "_target_ at the root": (lambda: added("_target_: os.system\n"), "_target_"),
    "_target_ in a group": (lambda: replaced("model:\n", "model:\n  _target_: os.system\n"), "_target_"),
    "_target_ in the one free value": (
        lambda: replaced("parameters: all", "parameters: {_target_: os.system}"),
        "regularizer.parameters",
    ),
    "unknown key": (lambda: added("colour: red\n"), "colour"),
    "misspelt key": (lambda: replaced("hidden_size:", "hiden_size:"), "hiden_size"),
    "a key twice": (lambda: added("name: again\n"), "duplicate key name"),
    "missing key": (lambda: replaced("hidden_size: 128", "dropuot: 1"), "dropuot"),
    "missing value": (lambda: replaced("hidden_size: 128", "hidden_size: ???"), "model.hidden_size is missing"),
    "a key that every version writes": (
        lambda: replaced("  inputs: all\n", "").replace("seed: 0\n", ""),
        "seed is missing, which every run's config has: damaged",
    ),
    "group that is no group": (lambda: "model: 5\n", "does not fit"),
    "text for a number": (lambda: replaced("seed: 0", "seed: abc"), "'abc'"),
    "outside a limit": (lambda: replaced("hidden_size: 128", "hidden_size: 0"), "model.hidden_size=0: must be"),
    "unknown name": (
        lambda: replaced("source: prelude", "source: wav"),
        "data=wav: data is one of chorales, jsb_chorales, midi, prelude",
    ),
    "not YAML": (lambda: "{{{", "does not fit"),
    "binary": (lambda: "\0\0", "does not fit"),
    "a list": (lambda: "[1, 2]", "does not fit"),
    "a number": (lambda: "3", "does not fit"),
    "a text": (lambda: "hello", "hello"),
    "empty": (lambda: "", "is missing"),
    "cut off": (lambda: run_file.to_yaml(compose())[:300], "is missing|does not fit"),
    "two documents": (lambda: added("---\nname: b\n"), "single document"),
    "python object": (lambda: added("colour: !!python/object/apply:os.system [echo]\n"), "python/object"),
    "python name": (lambda: replaced("path: null", "path: !!python/name:os.system"), "python/name"),
    "alias": (lambda: added("a: &a [1]\nb: *a\n"), "alias"),
    "alias bomb": (alias_bomb, "alias"),
    "deep": (lambda: "[" * 20_000, "levels"),
    "huge": (lambda: added("# " + "x" * (1 << 20)), "larger than 1,048,576 bytes"),
}


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_config_yaml_gets_one_line_that_names_the_file(
    damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMPOSER_TEST", "leaked")
    make, words = DAMAGED[damage]
    path = tmp_path / "config.yaml"
    path.write_text(make(), encoding="utf-8")
    with pytest.raises(ComposerError, match=words) as caught:
        run_file.read_config(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert len(str(caught.value).splitlines()) == 1
    assert "leaked" not in str(caught.value)


def without(text: str, *keys: str) -> str:
    """A config's YAML text without those keys, each a leaf or a node."""
    tree = yaml.safe_load(text)
    for key in keys:
        *nodes, leaf = key.split(".")
        node = tree
        for name in nodes:
            node = node[name]
        del node[leaf]
    return yaml.safe_dump(tree, sort_keys=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overrides", "keys", "words"),
    [
        ((), ("model.inputs",), "without model.inputs; defaults"),
        ((), ("augmentation", "data.fold", "data.folds"), "without augmentation and 2 more;"),
        # The defaults are those of the run's own groups.
        (("model=transformer",), ("model.num_layers", "model.attention_heads"), "attention_heads and 1 more"),
        (("data=midi", "data.path=a.mid"), ("data.order", "model.name"), "data.order and 1 more"),
        (("regularizer=elastic_net", "optimizer=adamw"), ("optimizer.weight_decay",), "optimizer.weight_decay"),
    ],
)
def test_older_config_takes_defaults_with_one_warning(
    overrides: tuple[str, ...], keys: tuple[str, ...], words: str, tmp_path: Path
) -> None:
    config = compose(*overrides)
    path = tmp_path / "config.yaml"
    path.write_text(without(run_file.to_yaml(config), *keys), encoding="utf-8")
    with pytest.warns(UserWarning, match=words) as caught:
        again = run_file.read_config(path)
    assert again == config
    assert len(caught) == 1


def test_config_older_than_duplicate_search_keeps_its_split(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    chorales = without(run_file.to_yaml(compose("data=chorales")), "data.group_similarity", "data.group_by")
    path.write_text(chorales, encoding="utf-8")
    with pytest.warns(UserWarning, match="data.group_by and 1 more"):
        data = run_file.read_config(path).data
    assert (data.group_similarity, data.group_by) == (None, None)


def test_an_old_run_is_read_with_its_sampling_and_without_a_grid(tmp_path: Path) -> None:
    text = without(run_file.to_yaml(compose("sampling=article")), "sampling_grid").replace("top_p: 1.0", "top_p: null")
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.warns(UserWarning, match="without sampling_grid"):
        config = run_file.read_config(path)
    assert (config.sampling.temperature, config.sampling.top_p, config.sampling_grid.pieces) == (1.0, None, 0)


@pytest.mark.slow
@pytest.mark.parametrize("command", ["generate", "live"])
def test_a_preset_is_chosen_by_its_group_and_keys_stand_over_it(command: str) -> None:
    def setting(*overrides: str) -> tuple[float | None, float | None]:
        config = compose("run=x", *overrides, command=command)
        return config.temperature, config.top_p

    presets = {name: compose(f"sampling={name}").sampling for name in ("auto", "article", "faithful", "bold")}
    for name, sampling in presets.items():
        assert setting(f"sampling={name}") == (sampling.temperature, sampling.top_p)
    assert setting() == setting("sampling=auto") == (None, None)
    assert setting("sampling=article") == (1.0, 1.0)
    assert setting("temperature=0.4", "sampling=bold") == (0.4, presets["bold"].top_p)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("sampling=bald", "sampling=bald: sampling is one of article, auto, bold, faithful; did you mean bold?"),
        ("samplng=bold", "there is no key samplng; did you mean sampling"),
        ("sampling=0.5", "sampling=0.5: sampling is one of article, auto, bold, faithful"),
    ],
)
@pytest.mark.parametrize("command", ["train", "generate", "live"])
def test_a_misspelt_preset_is_refused_with_the_nearest(override: str, words: str, command: str) -> None:
    with pytest.raises(ComposerError, match=re.escape(words)):
        compose(*(() if command == "train" else ("run=x",)), override, command=command)


def test_a_config_that_is_absent_or_no_text_gets_one_line_too(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"name: \xff\n")
    for name, words in [("absent", "not a run directory"), (".", "not a regular file"), ("latin", "not UTF-8")]:
        path = tmp_path / name
        with pytest.raises(ComposerError, match=words) as caught:
            run_file.read_config(path)
        assert str(caught.value).startswith(f"{path}: ")
        assert len(str(caught.value).splitlines()) == 1


def test_flatten_gives_dotted_keys_and_plain_values() -> None:
    class Colour(enum.Enum):
        red = 1

    assert run_file.flatten({"a": {"b": {"c": 1}, "d": Colour.red}, "e": [1]}) == {"a.b.c": 1, "a.d": "red", "e": [1]}


# Folders


def test_runs_of_the_same_second_have_different_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stopped(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> "Stopped":
            return cls(2026, 1, 2, 3, 4, 5)

    monkeypatch.setattr(configs, "datetime", Stopped)
    state, found = random.getstate(), []
    for _ in range(20):
        random.seed(0)  # as two runs of one seed would
        found.append(configs.run_id())
    random.setstate(state)
    assert all(re.fullmatch(r"2026-01-02_03-04-05_[0-9a-f]{6}", name) for name in found)
    assert len(set(found)) == len(found)


@given(st.text(max_size=100))
def test_a_safe_name_is_a_safe_folder_name(overrides: str) -> None:
    name = files.safe_name(overrides)
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name)
    assert files.safe_name(overrides) == name


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        ("regularizer=none,seed=0", "regularizer-none_seed-0"),
        ("optimizer.lr=1e-3", "optimizer.lr-1e-3"),
        ("x=-1", "x--1"),
        ("", "unnamed"),
    ],
)
def test_a_job_is_named_after_its_overrides(overrides: str, name: str) -> None:
    assert files.safe_name(overrides) == name


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("a=" + "x" * 80 + ",seed=0", "a=" + "x" * 80 + ",seed=1"),
        ("data.path=/m/é.mid", "data.path=/m/ü.mid"),
        ("data.path=a b", "data.path=a/b"),
        ("é=1", "ü=1"),
        ("..", "."),
    ],
)
def test_jobs_that_differ_in_unsafe_characters_differ_in_name(one: str, two: str) -> None:
    assert files.safe_name(one) != files.safe_name(two)


def test_a_valid_name_is_its_own_folder_name(default: TrainConfig) -> None:
    for name in ("train", "article_no_l1", "v1.", "a" * 64, "7-_."):
        assert change(default, f"name={name}").name == files.safe_name(name) == name


def litter(folder: Path) -> Path:
    """A run directory as Hydra leaves it when the job did nothing."""
    (folder / ".hydra").mkdir(parents=True)
    (folder / ".hydra" / "config.yaml").write_text("seed: 0\n")
    (folder / "train.log").write_text("")
    return folder


def test_hydras_litter_is_removed_with_the_folders_made_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = litter(tmp_path / "outputs" / "train" / "id")
    (folder / ".config.yaml.123.tmp").write_text("half a file")
    hydra_sweeps.remove_unused(folder)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "kept", ["config.yaml", "checkpoints", "metrics.csv", "summary.json", ".git", "my.log", "x.mid"]
)
def test_a_folder_that_holds_anything_else_is_left_alone(
    kept: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = litter(tmp_path / "outputs" / "train" / "id")
    (folder / kept).write_text("precious")
    before = sorted(tmp_path.rglob("*"))
    hydra_sweeps.remove_unused(folder)
    assert sorted(tmp_path.rglob("*")) == before


def test_other_runs_and_other_folders_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    other = tmp_path / "outputs" / "train" / "other"
    other.mkdir(parents=True)
    hydra_sweeps.remove_unused(litter(tmp_path / "outputs" / "train" / "id"))
    assert list((tmp_path / "outputs" / "train").iterdir()) == [other]
    hydra_sweeps.remove_unused(tmp_path / "absent")
    hydra_sweeps.remove_unused(other)
    assert other.is_dir()


def test_current_folder_and_its_parents_are_never_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = litter(tmp_path / "above")
    monkeypatch.chdir(here)
    hydra_sweeps.remove_unused(here)
    assert (here / ".hydra").is_dir()
    monkeypatch.chdir(here / ".hydra")
    hydra_sweeps.remove_unused(here)
    assert (here / ".hydra").is_dir()

    # Empty folders outside the current one are not ours to remove.
    elsewhere = litter(tmp_path / "elsewhere" / "id")
    hydra_sweeps.remove_unused(elsewhere)
    assert list((tmp_path / "elsewhere").iterdir()) == []
