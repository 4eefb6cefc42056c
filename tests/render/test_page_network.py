"""The network in the page beside torch's, what the page composes with it, and MIDI files in and out of the page."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mido
import numpy as np
import pytest
import torch

from composer.composing.composer import Composer
from composer.composing.page_network import page_network
from composer.config.compose import compose
from composer.config.data import TimeUnit
from composer.data.bar_position import piece_classes
from composer.data.vocabulary import fit
from composer.music.events import Piece, excerpt_of, prelude_piece
from composer.music.notes import from_piece
from composer.nets.build import build_model
from composer.nets.recurrent import Recurrent
from composer.render.listening import metre, plain
from composer.render.player import Player, piece_page
from composer.runs.checkpoint import Origin
from tests.browser import in_browser, wait_until

EVENTS = 1000
KINDS = {
    "lstm": "model.num_layers=2 model.hidden_size=40",
    "chained": "model.heads=chained model.hidden_size=32 model.inputs=drop_velocity",
    "gru": "model=gru model.embedding_size=12 model.bar_position=true model.hidden_size=48",
    "stream": "model=gru loss.supervision=stream model.hidden_size=30 loss.label_smoothing=0.1",
}


def composer_of(kind: str, piece: Piece) -> Composer:
    """A network with random weights, scaled so that its logits differ by much."""
    config = compose(*KINDS[kind].split())
    vocabulary = fit(compose().encoding.resolved(piece.events.time_unit), piece.events.delta_time)
    torch.manual_seed(1)
    model = build_model(config.model, vocabulary.sizes)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(3)
    window = config.data.window_size
    primer = torch.from_numpy(vocabulary.encode(piece.events[:window]))
    origin = Origin(primer, piece.name, piece.timing, 0, "", 4.0, excerpt_of(piece, 0, window))
    return Composer(model, vocabulary, origin, config)


@pytest.fixture(scope="module")
def piece() -> Piece:
    return prelude_piece(TimeUnit.beats)


@pytest.fixture
def show(browser: Any, tmp_path: Path) -> Callable[..., Any]:
    def open_page(piece: Piece, composer: Composer) -> Any:
        performance = from_piece(piece)
        shown = Player(title="Prelude", notes=plain(performance), metre=metre(performance))
        path = tmp_path / "page.html"
        path.write_text(piece_page(shown, page_network(composer)), encoding="utf-8")
        page = browser.new_page()
        page.goto(path.as_uri())
        wait_until(page, "players[0].roll.shown")
        return page

    return open_page


def torch_logits(composer: Composer, tokens: torch.Tensor, begins: list[int]) -> np.ndarray:
    """Logits (N, sum(V)) after each event, read from the event `begins` on, each channel given those of the next."""
    model = composer.model
    assert isinstance(model, Recurrent)
    rows = []
    with torch.no_grad():
        for last, first in enumerate(begins):
            hidden = model.encode(tokens[None, first : last + 1])[:, -1]
            given = tokens[None, min(last + 1, len(tokens) - 1), :3]
            rows.append(torch.cat(model.heads(hidden, given), dim=-1)[0])
    return torch.stack(rows).numpy()


@in_browser
@pytest.mark.parametrize("kind", KINDS)
def test_the_pages_logits_are_torchs(kind: str, piece: Piece, show: Callable[..., Any]) -> None:
    composer = composer_of(kind, piece)
    page = show(piece, composer)
    tokens = torch.from_numpy(composer.vocabulary.encode(piece.events)).long()
    if composer.model.bar_position:
        tokens = torch.cat([tokens, torch.from_numpy(piece_classes(piece)).long()[:, None]], dim=1)
    tokens = tokens[:EVENTS]
    found = page.evaluate(
        """async (tokens) => {
            const network = await Player.composing.network(), context = new Context(network), rows = [], read = [];
            tokens.forEach((event, i) => {
                context.read(event);
                const next = tokens[Math.min(i + 1, tokens.length - 1)];
                rows.push([0, 1, 2].flatMap((k) => [...network.logits(context.hidden, k, next)]));
                read.push(context.events);
            });
            return { rows, read };
        }""",
        tokens.tolist(),
    )
    read = found["read"]
    window = composer.config.data.window_size
    if kind == "stream":
        assert read == list(range(1, len(tokens) + 1))
    else:
        # Never more than the window, and at least half of it.
        assert max(read) <= window
        assert min(read[window:]) >= window // 2
    if kind == "stream":
        # One pass: each state goes on from the one before.
        model = composer.model
        with torch.no_grad():
            hidden = model.encode(tokens[None])[0]
            expected = torch.cat(model.heads(hidden, tokens), dim=-1).numpy()
    else:
        expected = torch_logits(composer, tokens, [k + 1 - count for k, count in enumerate(read)])
    difference = np.abs(np.array(found["rows"]) - expected).max()
    assert np.abs(expected).max() > 1
    print(f"{kind}: largest difference {difference:.2e} of logits up to {np.abs(expected).max():.1f}")
    assert difference < 1e-4


@in_browser
def test_the_page_reads_notes_as_the_classes_of_training(piece: Piece, show: Callable[..., Any]) -> None:
    composer = composer_of("gru", piece)
    page = show(piece, composer)
    found = page.evaluate(
        """() => {
            const { list, end } = players[0].notes;
            return Player.composing.classes(Composing.events(list, end), players[0].metre);
        }"""
    )
    expected = np.column_stack([composer.vocabulary.encode(piece.events), piece_classes(piece)])
    assert np.array_equal(np.array(found), expected)


@in_browser
def test_composing_on_keeps_what_was_and_adds_to_it(piece: Piece, show: Callable[..., Any]) -> None:
    composer = composer_of("gru", piece)
    page = show(piece, composer)
    before = page.evaluate("players[0].notes.list")
    page.evaluate("players[0].seek(20)")
    assert page.get_by_role("button", name="from here, 0:20").is_visible()
    page.get_by_role("button", name="from here, 0:20").click()
    wait_until(page, "players[0].versions.length === 2 && !players[0].busy")
    page.evaluate("players[0].pause()")
    began = page.evaluate("players[0].from")
    assert 19 < began <= 20.01
    after = page.evaluate("players[0].notes.list")
    # The first composed notes may begin together with the last kept ones.
    kept = [note for note in before if note["onset"] < began - 1e-6]
    assert [note["pitch"] for note in after[: len(kept)]] == [note["pitch"] for note in kept]
    made = [note for note in after if note["onset"] > began + 1e-6]
    assert len(made) > 20
    lowest, highest = composer.vocabulary.pitch_low, composer.vocabulary.pitch_high
    assert all(lowest <= note["pitch"] <= highest and 1 <= note["velocity"] <= 127 for note in made)
    # No note is held longer than any of the training music.
    assert max(note["duration"] for note in made) <= 4.0 + 1e-6
    # The version that it went on from is still there, at a switch.
    page.get_by_role("button", name="Prelude", exact=True).click()
    assert page.evaluate("players[0].notes.list") == before
    assert page.evaluate("players[0].versions.map((version) => version.name)") == ["Prelude", "Composed 1"]


@in_browser
def test_temperature_and_top_p_of_the_sliders_decide(piece: Piece, show: Callable[..., Any]) -> None:
    page = show(piece, composer_of("lstm", piece))
    compose_on = """async (settings) => {
        const piece = {notes: players[0].notes.list, metre: players[0].metre};
        return (await Player.composing.goOn(piece, 10, {...settings, events: 60})).notes;
    }"""
    drawn = [
        page.evaluate(compose_on, {"temperature": t, "topP": p, "seed": seed})
        for t, p, seed in ((1, 1, 1), (1, 1, 1), (1, 1, 2), (0.1, 0.05, 1), (0.1, 0.05, 2))
    ]
    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2]
    # With hardly any choice left, the random numbers do not matter.
    assert drawn[3] == drawn[4]


@in_browser
def test_a_new_piece_begins_after_the_runs_primer(piece: Piece, show: Callable[..., Any]) -> None:
    page = show(piece, composer_of("gru", piece))
    made = page.evaluate(
        """async () => Player.composing.goOn({notes: [], metre: players[0].metre}, 0,
            {temperature: 1, topP: 1, events: 80, seed: 3})"""
    )
    assert made["from"] == 0
    assert len(made["notes"]) > 10


@in_browser
def test_the_downloads_are_files_that_others_read(piece: Piece, show: Callable[..., Any], tmp_path: Path) -> None:
    page = show(piece, composer_of("lstm", piece))
    page.get_by_text("Download", exact=True).click()
    with page.expect_download() as waiting:
        page.get_by_role("button", name="MIDI", exact=True).click()
    waiting.value.save_as(tmp_path / "piece.mid")
    assert waiting.value.suggested_filename == "Prelude.mid"
    file = mido.MidiFile(tmp_path / "piece.mid")
    struck = [message.note for message in file.tracks[0] if message.type == "note_on" and message.velocity]
    assert struck == [note.pitch for note in from_piece(piece).notes]
    assert file.length == pytest.approx(from_piece(piece).end_seconds, abs=0.01)
    page.get_by_text("Download", exact=True).click()
    # No score without Verovio's pages: no MusicXML, no PDF.
    assert not page.get_by_role("button", name="MusicXML").is_visible()
    with page.expect_download() as waiting:
        page.get_by_role("button", name="WAV").click()
    waiting.value.save_as(tmp_path / "piece.wav")
    content = (tmp_path / "piece.wav").read_bytes()
    assert content[:4] == b"RIFF"
    samples = np.frombuffer(content[44:], "<i2") / 32768
    assert 0.2 < np.abs(samples).max() <= 0.9


@in_browser
def test_a_midi_file_of_ones_own_is_shown_and_gone_on_from(piece: Piece, show: Callable[..., Any]) -> None:
    page = show(piece, composer_of("gru", piece))
    file = mido.MidiFile(ticks_per_beat=96)
    track = mido.MidiTrack()
    file.tracks.append(track)
    track.append(mido.MetaMessage("set_tempo", tempo=600_000))
    track.append(mido.MetaMessage("time_signature", numerator=3, denominator=4))
    for pitch in (60, 64, 67):
        track += [mido.Message("note_on", note=pitch, velocity=70), mido.Message("note_off", note=pitch, time=96)]
    stream = io.BytesIO()
    file.save(file=stream)
    chosen = {"name": "mine.mid", "mimeType": "audio/midi", "buffer": stream.getvalue()}
    page.locator(".file").set_input_files([chosen])
    wait_until(page, "players[0].versions.length === 2")
    notes = page.evaluate("players[0].notes.list")
    assert [(note["pitch"], round(note["onset"], 6), round(note["duration"], 6)) for note in notes] == [
        (60, 0.0, 0.6),
        (64, 0.6, 0.6),
        (67, 1.2, 0.6),
    ]
    assert page.evaluate("players[0].metre.bars") == [[0, 0, 3]]
    page.get_by_role("button", name="from the end").click()
    wait_until(page, "players[0].versions.length === 3 && !players[0].busy")
    assert page.evaluate("players[0].from") == pytest.approx(1.8)
    page.locator(".file").set_input_files([{**chosen, "name": "not.mid", "buffer": b"hello"}])
    wait_until(page, "players[0].part('.message').textContent !== ''")
    assert page.get_by_role("alert").text_content() == "not.mid cannot be opened: it is not a MIDI file."


def test_only_our_recurrent_networks_travel(piece: Piece) -> None:
    config = compose("model=transformer", "model.hidden_size=16")
    model = build_model(config.model, composer_of("lstm", piece).vocabulary.sizes)
    kept = composer_of("lstm", piece)
    assert page_network(Composer(model, kept.vocabulary, kept.origin, config)) is None
    found = page_network(kept)
    assert found is not None
    assert (found["kind"], found["layers"], found["window"]) == ("lstm", 2, 30)
    assert found == page_network(kept)


@in_browser
def test_composing_and_downloads_need_no_mouse(piece: Piece, show: Callable[..., Any]) -> None:
    page = show(piece, composer_of("gru", piece))

    def tab_to(text: str) -> None:
        for _ in range(40):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.textContent").startswith(text):
                return
        raise AssertionError(f"{text}: not reached with the tab key")

    page.keyboard.press("End")
    tab_to("Download")
    page.keyboard.press("Space")
    assert page.evaluate("players[0].part('.menu').open")
    assert page.evaluate("players[0].playing") is False
    page.keyboard.press("Escape")
    assert page.evaluate("players[0].part('.menu').open") is False
    tab_to("from the end")
    page.keyboard.press("Enter")
    wait_until(page, "players[0].versions.length === 2 && !players[0].busy")
    page.keyboard.press("Tab")
    temperature = page.get_by_role("slider", name="Temperature")
    before = float(temperature.input_value())
    page.keyboard.press("ArrowLeft")
    assert float(temperature.input_value()) == pytest.approx(before - 0.05)
