"""Completion of the command line."""

import shutil
import subprocess
from pathlib import Path

import pytest

from composer.config.completion import candidates, completion
from composer.errors import UsageError

COMMANDS = ("train", "generate", "report", "completion")


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("composer new my", ""),
        ("composer ", "completion generate report train"),
        ("composer tr", "train"),
        ("composer nothing model=", ""),
        ("composer train model=", "model=attentive_lstm model=gru model=lstm model=transformer"),
        ("composer train -m regularizer=l1,el", "regularizer=l1,elastic_net"),
        ("composer train loss.supervision=s", "loss.supervision=stream"),
        ("composer train trainer.detect_anomaly=", "trainer.detect_anomaly=true trainer.detect_anomaly=false"),
        ("composer train hydra/launcher=jo", "hydra/launcher=joblib"),
        ("composer train model.hid", "model.hidden_size="),
        ("composer train data.path=", ""),
        ("composer train --config-d", "--config-dir"),
        ("composer generate sampling=b", "sampling=bold"),
        ("composer generate temp", "temperature="),
        ("composer train 'unfinished", ""),
    ],
)
def test_candidates_of_a_line(line: str, found: str) -> None:
    assert completion(["fish", line], COMMANDS).split() == found.split()


def test_options_of_own_folders_are_candidates(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").touch()
    for flags in (["--config-dir", str(tmp_path)], [f"--config-dir={tmp_path}"]):
        assert candidates(["train", *flags, "experiment=mi"], COMMANDS) == ["experiment=mine"]


def test_another_shell_is_refused() -> None:
    with pytest.raises(UsageError, match="^completion tcsh: must be one of bash, zsh, fish$"):
        completion(["tcsh"], COMMANDS)


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_takes_the_script(tmp_path: Path) -> None:
    program = tmp_path / "composer"
    program.write_text('#!/bin/sh\n[ "$2" = bash ] && printf "gru\\nlstm\\n"\n')
    program.chmod(0o755)
    script = completion(["bash"], COMMANDS)
    asked = 'COMP_LINE="composer train model="; COMP_POINT=${#COMP_LINE}; _composer; echo "${COMPREPLY[@]}"'
    done = subprocess.run(
        ["bash", "-c", f"PATH={tmp_path}:$PATH\n{script}\n{asked}"], capture_output=True, text=True, check=True
    )
    assert done.stdout == "gru lstm\n"
