"""`composer live`: play to a MIDI port while composing."""

from __future__ import annotations

from typing import Any

import mido

from composer.composing.composer import Composer, drawn_at, one_thread
from composer.composing.live import Latency, play, sounding
from composer.config.commands import LiveConfig
from composer.errors import ComposerError

# The name of the port of our own that `port=virtual` opens.
VIRTUAL = "composer"


def open_port(name: str | None) -> Any:
    """Open an output port: by its name, a new one that other programs can read (`virtual`), or the first one.

    Raises:
        ComposerError: python-rtmidi is not installed, or there is no such port.
    """
    try:
        if name == "virtual":
            return mido.open_output(VIRTUAL, virtual=True)
        names = mido.get_output_names()
        if not names or (name is not None and name not in names):
            there = f"there are {', '.join(names)}" if names else "this machine has none; port=virtual opens one"
            raise ComposerError(f"port={name or 'null'}: no such MIDI port; {there}")
        return mido.open_output(names[0] if name is None else name)
    except ImportError as error:
        raise ComposerError("python-rtmidi is not installed; pip install 'lstm-composer[live]'") from error
    except ComposerError:
        raise
    except Exception as error:  # every backend raises its own kinds
        raise ComposerError(
            f"port={name or 'null'}: cannot be opened ({str(error).splitlines()[0]}); does this machine have MIDI (on "
            "Linux ALSA's /dev/snd/seq, or JACK with MIDO_BACKEND=mido.backends.rtmidi/UNIX_JACK)? composer generate "
            "writes a file instead"
        ) from error


def run(config: LiveConfig) -> Latency:
    """Play as configured, and print how late the messages were."""
    composer = Composer.load(config.run, config.checkpoint)
    with open_port(config.port) as port, one_thread():
        print(f"playing to {port.name}; Ctrl-C stops\n{drawn_at(composer, config)}")
        latency = play(sounding(composer, config), port, program=composer.origin.program)
    print(latency)
    return latency
