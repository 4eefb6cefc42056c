"""The page that plays: what is in the file, and what it does in a real browser.

Screenshots are left in `build/player`.
"""

import functools
import io
import itertools
import json
import math
import random
import re
import shutil
import subprocess
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mido
import numpy as np
import pytest

from composer import cli
from composer.config.data import TimeUnit
from composer.errors import ComposerError
from composer.music.events import prelude_piece
from composer.music.midi import write_midi
from composer.render.player import Image, Player, Section, Table, gallery_page, piece_page, player_page
from tests.browser import axe_violations, in_browser, wait_until

ARTEFACTS = Path(__file__).resolve().parents[2] / "build" / "player"
BARS = 8  # of the embedded piece: sixteen notes in each
END = BARS * 4 * 60 / 72  # in seconds
# ---- something to play


@functools.cache
def prelude_notes() -> tuple[dict[str, Any], ...]:
    """The first bars, each release paired with its strike; the tenor of each figure is written as two tied notes."""
    piece = prelude_piece(TimeUnit.seconds)
    times = np.cumsum(piece.events.delta_time).tolist()
    struck: dict[int, tuple[float, int]] = {}
    found = []
    for time, pitch, velocity in zip(times, piece.events.pitch.tolist(), piece.events.velocity.tolist(), strict=True):
        if velocity:
            struck[pitch] = (time, velocity)
        else:
            onset, strength = struck.pop(pitch)
            found.append({"pitch": pitch, "velocity": strength, "onset": onset, "duration": time - onset, "staff": 1})
    found.sort(key=lambda note: (note["onset"], note["pitch"]))
    notes = found[: 16 * BARS]
    for number, note in enumerate(notes):
        voice = number % 8
        note["ids"] = [f"n{number}", f"n{number}-tied"] if voice == 1 else [f"n{number}"]
        note["staff"] = 2 if voice < 2 else 1
    return tuple(notes)


def place(bar: float) -> float:
    """The second at which a bar of the piece begins, counted from 0."""
    return float(prelude_notes()[int(16 * bar)]["onset"])


PASSAGES = [
    {"start": place(1), "end": place(2.5), "source": "krebs.mid, bar 12 (0:24)"},
    {"start": place(4), "end": place(5), "source": "krebs.mid", "source_start": 65.4, "transposition": -5},
]


def sounding(notes: Any, t: float) -> list[int]:
    return [i for i, note in enumerate(notes) if note["onset"] <= t < note["onset"] + note["duration"]]


def ids(notes: Any, t: float) -> list[str]:
    return sorted(name for i in sounding(notes, t) for name in notes[i]["ids"])


def score() -> list[str]:
    """Pages of the bars, from Verovio where it is installed."""
    verovio = pytest.importorskip("verovio")
    toolkit = verovio.toolkit()
    options = {
        "pageWidth": 2000,
        "pageHeight": 1500,
        "scale": 40,
        "svgViewBox": True,
        "breaks": "auto",
        "footer": "none",
    }
    toolkit.setOptions(options | {"header": "none", "xmlIdSeed": 1, "adjustPageHeight": True})
    assert toolkit.loadData(mei())
    return [toolkit.renderToSVG(page + 1) for page in range(toolkit.getPageCount())]


def mei() -> str:
    names = [("c", ""), ("c", "s"), ("d", ""), ("d", "s"), ("e", ""), ("f", ""), ("f", "s"), ("g", ""), ("g", "s")]
    names += [("a", ""), ("a", "s"), ("b", "")]

    def note(number: int, name: str, dur: str) -> str:
        step, accid = names[prelude_notes()[number]["pitch"] % 12]
        octave = prelude_notes()[number]["pitch"] // 12 - 1
        sharp = f' accid="{accid}"' if accid else ""
        return f'<note xml:id="{name}" pname="{step}" oct="{octave}" {dur}{sharp}/>'

    bars = []
    for bar in range(BARS):
        upper, tenor, bass, ties = "", "", "", ""
        for first in (16 * bar, 16 * bar + 8):
            sixteenths = "".join(note(first + k, f"n{first + k}", 'dur="16"') for k in range(2, 8))
            upper += f'<rest dur="8"/><beam>{sixteenths}</beam>'
            held = f"n{first + 1}"
            tenor += '<rest dur="16"/>' + note(first + 1, held, 'dur="8" dots="1"')
            tenor += note(first + 1, f"{held}-tied", 'dur="4"')
            ties += f'<tie startid="#{held}" endid="#{held}-tied"/>'
            bass += note(first, f"n{first}", 'dur="2"')
        lower = f'<layer n="1">{tenor}</layer><layer n="2">{bass}</layer>'
        staves = f'<staff n="1"><layer n="1">{upper}</layer></staff><staff n="2">{lower}</staff>'
        bars.append(f'<measure n="{bar + 1}">{staves}{ties}</measure>')
    clefs = '<staffDef n="1" lines="5" clef.shape="G" clef.line="2"/>'
    clefs += '<staffDef n="2" lines="5" clef.shape="F" clef.line="4"/>'
    group = f'<staffGrp symbol="brace" bar.thru="true">{clefs}</staffGrp>'
    definition = f'<scoreDef meter.count="4" meter.unit="4">{group}</scoreDef>'
    music = f"<music><body><mdiv><score>{definition}<section>{''.join(bars)}</section></score></mdiv></body></music>"
    head = "<meiHead><fileDesc><titleStmt><title>Prelude</title></titleStmt><pubStmt/></fileDesc></meiHead>"
    return (
        f'<?xml version="1.0"?><mei xmlns="http://www.music-encoding.org/ns/mei" meiversion="5.0">{head}{music}</mei>'
    )


def drawn() -> list[str]:
    """Pages without an engraver, built as Verovio builds them: two systems of two bars on each."""
    pages = []
    for page in range(BARS // 4):
        systems = ""
        for system in range(2):
            heads = ""
            for i in range(32 * (2 * page + system), 32 * (2 * page + system) + 32):
                for k, name in enumerate(prelude_notes()[i]["ids"]):
                    x, y = 40 + 30 * (i % 32) + 12 * k, 60 + 240 * system + 3 * (84 - prelude_notes()[i]["pitch"])
                    head = f'<ellipse cx="{x}" cy="{y}" rx="7" ry="5"/>'
                    heads += f'<g id="{name}" class="note"><g class="notehead">{head}</g></g>'
            systems += f'<g class="system"><rect x="20" y="{40 + 240 * system}" width="1000" height="1"/>{heads}</g>'
        pages.append(
            f'<svg xmlns="http://www.w3.org/2000/svg" width="1040px" height="520px" fill="black">{systems}</svg>'
        )
    return pages


def pages() -> list[str]:
    try:
        return score()
    except pytest.skip.Exception:
        return drawn()


def recording(seconds: float) -> bytes:
    """A WAV file of a sine."""
    rate = 8000
    sine = (8000 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate)).astype("<i2")
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(sine.tobytes())
    return stream.getvalue()


NOTE = {"ids": ["a"], "pitch": 60, "velocity": 80, "onset": 0.0, "duration": 1.0, "staff": 1}


# ---- what is in the file


def data(page: str) -> Any:
    (found,) = re.findall(r'<script type="application/json">(.*?)</script>', page, flags=re.DOTALL)
    return json.loads(found)


def test_the_page_holds_the_notes_and_pages_to_the_bit() -> None:
    notes = prelude_notes()
    held = data(player_page("Prelude", notes, drawn(), passages=PASSAGES))
    assert held["notes"] == list(notes)
    assert held["pages"] == drawn()
    assert [passage["transposition"] for passage in held["passages"]] == [0, -5]


EVIL = "</script><script>alert(1)</script><!-- \" onload='x' & {{body}} \u2028"


def test_no_text_breaks_out_of_its_place() -> None:
    passage = {"start": 0, "end": 1, "source": EVIL}
    note = NOTE | {"ids": [EVIL]}
    player = Player(title=EVIL, subtitle=EVIL, notes=[note], pages=[f"<svg>{EVIL}</svg>"], passages=[passage])
    section = Section(
        heading=EVIL,
        text=EVIL,
        images=[Image(uri="data:image/png;base64,AA" + EVIL, text=EVIL, caption=EVIL)],
        tables=[Table(columns=[EVIL], rows=[[EVIL]], caption=EVIL)],
        players=[player],
    )
    page = gallery_page(EVIL, [section])
    assert "<script>alert" not in page
    assert page.count("<script") == 2
    assert page.count("</script>") == 2
    assert page.count("{{body}}") > 0  # as text
    assert data(page)["passages"][0]["source"] == EVIL
    assert data(page)["notes"][0]["ids"] == [EVIL]
    one = player_page(EVIL, [note], passages=[passage], subtitle=EVIL)
    assert one.count("<script") == 2


def test_the_page_needs_nothing_from_anywhere() -> None:
    page = player_page("Prelude", prelude_notes(), drawn(), recording(0.1), PASSAGES)
    addresses = set(re.findall(r"[a-z]+://[^\s\"'\\<>)]*", page))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert not re.findall(r"\b(?:src|href)=", re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL))
    assert "@import" not in page


def test_the_policy_allows_our_script_and_no_network() -> None:
    page = player_page("Prelude", [NOTE])
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert re.fullmatch(r"'sha256-[A-Za-z0-9+/=]{44}'", rules["script-src"])
    assert "http" not in policy
    # Before anything that it is about.
    assert page.index("Content-Security-Policy") < page.index("<style>")


def test_the_same_piece_gives_the_same_bytes() -> None:
    first = player_page("Prelude", prelude_notes(), drawn(), recording(0.1), PASSAGES)
    assert first == player_page("Prelude", list(prelude_notes()), drawn(), recording(0.1), PASSAGES)


def test_numbers_of_numpy_and_notes_out_of_order_are_taken() -> None:
    later = NOTE | {"pitch": np.uint8(64), "onset": np.float64(2.5)}
    assert [note["pitch"] for note in data(player_page("x", [later, NOTE]))["notes"]] == [60, 64]


@pytest.mark.parametrize(
    ("change", "message"),
    [({"onset": math.nan}, "not finite"), ({"pitch": None}, "no number"), ({"pitch": "c"}, "no number")],
)
def test_a_note_that_cannot_be_played_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ComposerError, match=message):
        player_page("x", [NOTE | change])
    with pytest.raises(ComposerError, match="lacks 'duration'"):
        player_page("x", [{key: value for key, value in NOTE.items() if key != "duration"}])


def test_the_kind_of_audio_is_told_by_its_first_bytes() -> None:
    kinds = {b"RIFF": "wav", b"OggS": "ogg", b"fLaC": "flac", b"ID3": "mpeg", b"\xff\xfb": "mpeg"}
    for start, kind in kinds.items():
        assert data(player_page("x", [NOTE], audio=start + b"..."))["audio"].startswith(f"data:audio/{kind};base64,")
    with pytest.raises(ComposerError, match="not WAV, OGG, FLAC or MP3"):
        player_page("x", [NOTE], audio=b"MThd")


def test_an_image_has_to_be_inside_the_page() -> None:
    with pytest.raises(ComposerError, match="data:image/"):
        gallery_page("x", [Section(heading="y", images=[Image(uri="https://example.org/a.png", text="z")])])


def test_a_link_leads_to_a_file_beside_the_page_only() -> None:
    page = gallery_page("x", [Section(heading="y", link=("<the run>", "run & co.html"))])
    assert '<a href="run &amp; co.html">&lt;the run&gt;</a>' in page
    for name in ("https://example.org", "javascript:alert(1)", "../x.html"):
        with pytest.raises(ComposerError, match="only to a file in the same folder"):
            gallery_page("x", [Section(heading="y", link=("z", name))])


# ---- what it does in a browser


DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}


@pytest.fixture
def show(browser: Any, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Opens a page from disk; at the end nothing may have been complained of, or fetched."""
    complaints: list[str] = []
    fetched: list[str] = []
    contexts = []

    def open_page(html: str, viewport: dict[str, int] = DESKTOP, **options: Any) -> Any:
        path = tmp_path / "page.html"
        path.write_text(html, encoding="utf-8")
        touch = viewport["width"] < 500
        context = browser.new_context(viewport=viewport, has_touch=touch, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text))
        page.on("request", lambda request: fetched.append(request.url))
        page.goto(path.as_uri())
        wait_until(page, "players.every((p) => p.root.getBoundingClientRect().top > 1400 || p.roll.shown)")
        page.wait_for_timeout(100)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []
    assert [url for url in fetched if not url.startswith(("file:", "blob:", "data:"))] == []


@pytest.fixture
def page(show: Callable[..., Any]) -> Any:
    title = "J. S. Bach: Prelude in C major, BWV 846"
    return show(player_page(title, prelude_notes(), pages(), passages=PASSAGES, subtitle="The first eight bars"))


def time(page: Any) -> float:
    return page.evaluate("players[0].time")


@in_browser
def test_it_plays_in_time_with_the_audio_clock_and_pauses(page: Any) -> None:
    page.get_by_role("button", name="Play").click()
    wait_until(page, "players[0].time > 0.5")
    assert page.evaluate("Sound.shared().context.state") == "running"
    # Both read in one go, so that the machine's load does not matter.
    read = "[players[0].time, Sound.shared().context.currentTime]"
    (first, began), _, (second, ended) = page.evaluate(read), page.wait_for_timeout(1000), page.evaluate(read)
    assert second - first == pytest.approx(ended - began, abs=0.1)
    assert second - first > 0.5
    page.get_by_role("button", name="Pause").click()
    stopped = time(page)
    page.wait_for_timeout(300)
    assert time(page) == stopped
    assert page.evaluate("Sound.shared().voices.size") == 0


@in_browser
def test_sound_comes_out_while_it_plays_and_none_after_pause(page: Any) -> None:
    page.evaluate(
        """() => {
            const sound = Sound.shared(), ear = new AnalyserNode(sound.context, { fftSize: 4096 });
            sound.last.connect(ear);
            window.loudness = () => {
                const wave = new Float32Array(4096);
                ear.getFloatTimeDomainData(wave);
                return Math.sqrt(wave.reduce((sum, x) => sum + x * x, 0) / 4096);
            };
        }"""
    )
    assert page.evaluate("loudness()") == 0
    page.keyboard.press("Space")
    wait_until(page, "players[0].time > 0.3 && loudness() > 0.005")
    page.keyboard.press("m")
    wait_until(page, "loudness() < 1e-4")
    assert page.evaluate("players[0].playing")
    page.keyboard.press("m")
    wait_until(page, "loudness() > 0.005")
    page.keyboard.press("Space")
    wait_until(page, "loudness() < 1e-4")


def rendered(page: Any, start: float, seconds: float, speed: float = 1.0) -> np.ndarray:
    """The left channel, without the tenth of a second before the start."""
    page.evaluate(f"players[0].setSpeed({speed})")
    samples = page.evaluate(
        f"""async () => {{
            const buffer = await Synthesis.render(players[0], {start}, {seconds}, 22050);
            return Array.from(buffer.getChannelData(0));
        }}"""
    )
    return np.array(samples)[2205:]


def rms(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(samples**2)))


def strongest(samples: np.ndarray, low: float, high: float) -> float:
    """The frequency, in hertz, with the most power between two."""
    power = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), 1 << 18))
    frequencies = np.fft.rfftfreq(1 << 18, 1 / 22050)
    inside = (frequencies > low) & (frequencies < high)
    return float(frequencies[inside][np.argmax(power[inside])])


@in_browser
def test_what_sounds_is_what_is_written(show: Callable[..., Any]) -> None:
    notes = [
        NOTE | {"pitch": 57, "onset": 0.5, "duration": 0.5},
        NOTE | {"pitch": 69, "onset": 2.5, "duration": 1.0, "velocity": 30},
        NOTE | {"pitch": 69, "onset": 5.0, "duration": 1.0, "velocity": 110},
    ]
    page = show(player_page("Three notes", notes))
    rate = 22050
    sound = rendered(page, 0, 7)
    assert rms(sound[: int(0.49 * rate)]) < 1e-4  # a rest
    assert rms(sound[int(0.5 * rate) : rate]) > 0.01
    assert rms(sound[int(1.9 * rate) : int(2.45 * rate)]) < 3e-4  # a rest again
    assert strongest(sound[int(0.55 * rate) : rate], 150, 300) == pytest.approx(220, abs=1.5)
    assert strongest(sound[int(2.55 * rate) : int(3.4 * rate)], 300, 600) == pytest.approx(440, abs=1.5)
    soft, loud = sound[int(2.5 * rate) : int(3.4 * rate)], sound[int(5.0 * rate) : int(5.9 * rate)]
    assert rms(loud) > 2.5 * rms(soft)

    def brightness(samples: np.ndarray) -> float:
        power = np.abs(np.fft.rfft(samples)) ** 2
        return float(np.sum(power * np.fft.rfftfreq(len(samples), 1 / rate)) / np.sum(power))

    assert brightness(loud) > 1.1 * brightness(soft)


@in_browser
def test_half_speed_lasts_twice_as_long_at_the_same_pitch(show: Callable[..., Any]) -> None:
    page = show(player_page("A note", [NOTE | {"pitch": 69, "onset": 1.0, "duration": 1.0}]))
    rate = 22050
    slow, quick = rendered(page, 0, 2, 0.5), rendered(page, 0, 2, 2)
    for sound, speed in ((slow, 0.5), (quick, 2)):
        begin = np.argmax(np.abs(sound) > 1e-3) / rate
        assert begin == pytest.approx(1 / speed, abs=0.02)
        inside = sound[int((begin + 0.02) * rate) : int((begin + 0.4) * rate)]
        assert strongest(inside, 300, 600) == pytest.approx(440, abs=3)


@in_browser
def test_a_note_begun_in_its_middle_sounds_as_it_would_by_then(show: Callable[..., Any]) -> None:
    page = show(player_page("A note", [NOTE | {"duration": 4.0}]))
    whole, rest = rendered(page, 0, 4), rendered(page, 1.5, 2.5)
    tail = whole[int(1.5 * 22050) :]
    part = slice(2205, 22050)
    # The room's answer to what came before is all that is missing.
    assert rms(rest[part]) == pytest.approx(rms(tail[part]), rel=0.15)
    # It fades in: no click.
    steps = np.abs(np.diff(rest))
    assert steps[:300].max() <= 1.5 * steps[2205:].max()


@in_browser
def test_a_loud_chord_of_ten_notes_stays_below_full_scale(show: Callable[..., Any]) -> None:
    chord = [NOTE | {"pitch": pitch, "velocity": 127, "duration": 2.0} for pitch in range(36, 96, 6)]
    sound = rendered(show(player_page("A chord", chord)), 0, 2)
    assert 0.2 < np.abs(sound).max() < 1.0


def of_class(page: Any, name: str) -> list[str]:
    """Ids of the score's elements that have a class."""
    found = f"[...h.shadowRoot.querySelectorAll('.{name}')].map((e) => e.id)"
    return page.evaluate(f"players[0].score.hosts.flatMap((h) => {found}).sort()")


@in_browser
def test_marked_notes_are_those_that_sound(page: Any) -> None:
    notes = prelude_notes()
    edges = [note["onset"] for note in notes[:40]] + [note["onset"] + note["duration"] for note in notes[:40]]
    draw = random.Random(1)
    times = [*edges, *(draw.uniform(0, END) for _ in range(200))]
    for t in times:
        assert page.evaluate(f"players[0].soundingAt({t!r})") == sounding(notes, t)
        page.evaluate(f"players[0].seek({t!r})")
        assert page.evaluate("players[0].markedIds") == ids(notes, t)
        assert page.evaluate("players[0].markedNotes") == sounding(notes, t)
        marked = of_class(page, "sounding")
        assert marked == ids(notes, t)


@in_browser
def test_marks_stay_right_while_it_plays(page: Any) -> None:
    notes = prelude_notes()
    page.keyboard.press("Space")
    for _ in range(20):
        page.wait_for_timeout(70)
        t, marked, rolled = page.evaluate("[players[0].time, players[0].markedIds, players[0].markedNotes]")
        assert marked == ids(notes, t)
        assert rolled == sounding(notes, t)
    assert t > 0.5


def pixel(page: Any, note: int, share: float = 0.5) -> list[int]:
    """The colour of the piano roll inside a note."""
    return page.evaluate(
        f"""() => {{
            const roll = players[0].roll, note = players[0].notes.list[{note}], ratio = devicePixelRatio;
            const x = roll.x(note.onset + {share} * note.duration), y = roll.y(note.pitch) + roll.row() / 2;
            const one = new OffscreenCanvas(1, 1).getContext("2d", {{ willReadFrequently: true }});
            one.drawImage(roll.canvas, -Math.floor(x * ratio), -Math.floor(y * ratio));
            return [...one.getImageData(0, 0, 1, 1).data].slice(0, 3);
        }}"""
    )


@in_browser
def test_the_piano_roll_shows_velocity_passage_and_what_sounds(page: Any) -> None:
    notes = prelude_notes()
    page.evaluate("players[0].seek(0.01)")
    # The page's --mark.
    assert pixel(page, 0) == [0xB3, 0x26, 0x1E]
    assert pixel(page, 2) != [0xB3, 0x26, 0x1E]
    copied = next(i for i, note in enumerate(notes) if note["onset"] >= PASSAGES[0]["start"])
    red, green, blue = pixel(page, copied)
    assert green > red
    red, green, blue = pixel(page, 2)
    assert blue > red
    light = page.evaluate("[20, 60, 100, 127].map((v) => players[0].roll.colour(v, -1))")
    assert len(set(light)) == 4


@in_browser
def test_seeking_by_keyboard_slider_roll_and_score(page: Any) -> None:
    page.keyboard.press("ArrowRight")
    assert time(page) == pytest.approx(2)
    page.keyboard.press("Shift+ArrowRight")
    assert time(page) == pytest.approx(12)
    page.keyboard.press("ArrowLeft")
    assert time(page) == pytest.approx(10)
    page.keyboard.press("End")
    assert time(page) == pytest.approx(END)
    page.keyboard.press("Home")
    assert time(page) == 0
    slider = page.get_by_role("slider", name="Position")
    slider.fill("13.5")
    assert time(page) == pytest.approx(13.5)
    slider.focus()
    page.keyboard.press("ArrowLeft")
    assert time(page) == pytest.approx(11.5)
    assert slider.get_attribute("aria-valuetext") == "0:11 of 0:26"
    page.get_by_role("button", name="Back to start").click()
    assert time(page) == 0

    canvas = page.locator(".roll canvas:not(.keyboard)")
    at = page.evaluate("players[0].roll.x(3.25)")
    canvas.click(position={"x": at, "y": 60})
    assert time(page) == pytest.approx(3.25, abs=0.05)
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + at, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + at + 200, box["y"] + 80, steps=4)
    page.mouse.up()
    assert time(page) == pytest.approx(page.evaluate(f"players[0].roll.time({{offsetX: {at} + 200}})"), abs=0.05)

    page.evaluate("players[0].seek(0)")
    page.locator("#n70 .notehead").first.click()
    assert time(page) == pytest.approx(prelude_notes()[70]["onset"])
    # A little beside the note: a finger is wider.
    page.evaluate("players[0].seek(0)")
    box = page.locator("#n20 .notehead").first.bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] + 4)
    assert time(page) == pytest.approx(prelude_notes()[20]["onset"])


@in_browser
def test_seeking_while_it_plays_goes_on_from_there(page: Any) -> None:
    page.keyboard.press("Space")
    wait_until(page, "players[0].time > 0.2")
    page.evaluate("players[0].seek(10)")
    wait_until(page, "players[0].time > 10.3")
    assert time(page) < 14
    assert page.evaluate("players[0].playing")


@in_browser
def test_speed_by_keyboard_and_menu(page: Any) -> None:
    menu = page.get_by_role("combobox", name="Tempo")
    for _ in range(3):
        page.keyboard.press("]")
    assert menu.input_value() == "1.5"
    page.keyboard.press("[")
    assert page.evaluate("players[0].speed") == 1.25
    menu.select_option("2")
    page.get_by_role("button", name="Play").click()
    wait_until(page, "players[0].engine.running && players[0].time > 0.5")
    read = "[players[0].time, Sound.shared().context.currentTime]"
    (first, began), _, (second, ended) = page.evaluate(read), page.wait_for_timeout(800), page.evaluate(read)
    assert second - first == pytest.approx(2 * (ended - began), abs=0.2)
    page.evaluate("players[0].setSpeed(0.1)")
    assert page.evaluate("players[0].speed") == 0.25


@in_browser
def test_it_ends_and_begins_again(page: Any) -> None:
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Space")
    wait_until(page, "!players[0].playing")
    assert time(page) == pytest.approx(END)
    assert page.evaluate("players[0].markedIds") == []
    assert page.get_by_role("button", name="Play").is_visible()
    page.keyboard.press("Space")
    wait_until(page, "players[0].playing && players[0].time > 0.1 && players[0].time < 5")


@in_browser
def test_a_loop_returns_on_time(page: Any) -> None:
    page.evaluate("players[0].seek(1)")
    page.keyboard.press("l")
    page.evaluate("players[0].seek(1.5)")
    page.keyboard.press("l")
    assert page.evaluate("players[0].loop") == {"start": 1, "end": 1.5}
    page.evaluate("players[0].seek(1)")
    page.keyboard.press("Space")
    wait_until(page, "players[0].engine.running")
    seen = []
    for _ in range(25):
        page.wait_for_timeout(60)
        seen.append(time(page))
    assert all(1 <= t <= 1.5 for t in seen)
    assert sum(later < earlier for earlier, later in itertools.pairwise(seen)) >= 2
    anchors = page.evaluate("players[0].engine.anchors.map((a) => a.time)")
    assert np.diff(anchors) == pytest.approx([0.5] * (len(anchors) - 1), abs=1e-6)
    page.keyboard.press("l")
    assert page.evaluate("players[0].loop") is None


@in_browser
def test_keys_do_not_get_in_the_way_of_what_has_the_focus(page: Any) -> None:
    page.get_by_role("button", name="Follow").click()
    page.keyboard.press("Space")  # after a click: plays
    assert page.evaluate("players[0].playing")
    page.keyboard.press("Space")
    assert not page.evaluate("players[0].playing")
    page.get_by_role("button", name="Loop").focus()
    page.keyboard.press("Tab")
    assert page.get_by_role("button", name="Follow").evaluate("(e) => e === document.activeElement")
    page.keyboard.press("Space")  # by keyboard: presses the button
    assert not page.evaluate("players[0].playing")
    assert page.get_by_role("button", name="Follow").get_attribute("aria-pressed") == "true"
    page.keyboard.press("?")
    assert page.get_by_role("dialog").is_visible()
    page.screenshot(path=ARTEFACTS / "help.png")
    page.keyboard.press("Space")  # closes it: its button has the focus
    assert not page.get_by_role("dialog").is_visible()
    assert not page.evaluate("players[0].playing")
    before = page.evaluate("players[0].level")
    page.keyboard.press("ArrowDown")
    assert page.evaluate("players[0].level") == pytest.approx(before - 0.05)


@in_browser
def test_the_playing_system_is_kept_in_view(page: Any) -> None:
    page.emulate_media(reduced_motion="reduce")
    inside = """() => {
        const box = players[0].score.box.getBoundingClientRect();
        const place = players[0].score.elements.get(players[0].markedIds[0])[0].getBoundingClientRect();
        return place.top >= box.top && place.bottom <= box.bottom;
    }"""
    for t in (0.1, 8.0, 16.0, 24.0, 1.0):
        page.evaluate(f"players[0].seek({t})")
        page.wait_for_timeout(50)
        assert page.evaluate(inside), t
    page.keyboard.press("f")
    page.evaluate("players[0].seek(25)")
    page.wait_for_timeout(50)
    assert not page.evaluate(inside)


@in_browser
def test_passages_have_a_legend_that_leads_to_them(page: Any) -> None:
    copied = [note for note in prelude_notes() if any(p["start"] <= note["onset"] < p["end"] for p in PASSAGES)]
    names = sorted(name for note in copied for name in note["ids"])
    found = of_class(page, "copied")
    assert found == names
    entry = page.get_by_role("button", name="1:05 of krebs.mid")
    assert "5 semitones lower" in entry.inner_text()
    assert entry.get_attribute("aria-current") != "true"
    entry.click()
    assert entry.get_attribute("aria-current") == "true"
    assert time(page) == pytest.approx(PASSAGES[1]["start"])


@in_browser
def test_a_recording_plays_seeks_and_changes_speed(show: Callable[..., Any]) -> None:
    page = show(player_page("A recording", [NOTE | {"duration": 3.0}], audio=recording(4)))
    page.get_by_role("button", name="Play").click()
    wait_until(page, "players[0].engine.running && players[0].time > 0.3")
    assert page.evaluate("players[0].duration") == pytest.approx(4)
    heard = """async () => {
        const context = new AudioContext(), ear = new AnalyserNode(context);
        context.createMediaStreamSource(players[0].engine.element.captureStream()).connect(ear);
        await new Promise((done) => setTimeout(done, 300));
        const wave = new Float32Array(ear.fftSize);
        ear.getFloatTimeDomainData(wave);
        return Math.max(...wave);
    }"""
    assert page.evaluate(heard) > 0.1
    page.evaluate("players[0].setSpeed(0.5)")
    page.evaluate("players[0].seek(2)")
    wait_until(page, "players[0].engine.running && players[0].time > 2.1")
    assert page.evaluate("players[0].engine.element.playbackRate") == 0.5
    assert page.evaluate("players[0].engine.element.preservesPitch")
    page.keyboard.press("Space")
    assert page.evaluate("players[0].engine.element.paused")
    page.evaluate("players[0].setSpeed(2)")
    page.keyboard.press("Space")
    wait_until(page, "!players[0].playing")
    assert time(page) == pytest.approx(4)


@in_browser
def test_a_hostile_title_and_score_run_nothing(show: Callable[..., Any], browser: Any) -> None:
    attack = "<img src=x onerror='document.title=1'>" + EVIL
    passage = {"start": 0, "end": 1, "source": attack}
    page = show(player_page(attack, [NOTE], passages=[passage], subtitle=attack))
    assert page.title() == attack.replace("\u2028", "\u2028")
    assert page.locator("h1").inner_text().startswith("<img src=x")


def gallery() -> str:
    notes = prelude_notes()
    higher = [note | {"pitch": note["pitch"] + 4} for note in notes]
    pixels = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGNgYGAAAAAEAAH2FzhVAAAAAElFTkSuQmCC"
    table = Table(
        columns=["arm", "loss/test", "accuracy/test", "copied"],
        rows=[["regularizer=none", "5.026", "0.673", "31 %"], ["regularizer=l1", "4.871", "0.690", "12 %"]],
        caption="Means of five seeds",
    )
    first = Player(title="Without L1", notes=notes, pages=pages(), passages=PASSAGES, subtitle="seed 0, temperature 1")
    second = Player(title="With L1", notes=higher, pages=pages(), subtitle="seed 0, temperature 1")
    many = [Player(title=f"Seed {seed}", notes=notes) for seed in range(12)]
    return gallery_page(
        "Two arms: without and with L1",
        [
            Section(heading="Figures", text="What was measured.\n\nOn the test block.", tables=[table]),
            Section(
                heading="Pieces",
                images=[Image(uri=f"data:image/png;base64,{pixels}", text="A black pixel", caption="A figure")],
                players=[first, second],
            ),
            Section(heading="All seeds", players=many),
        ],
        subtitle="outputs/l1",
    )


@in_browser
def test_one_player_of_a_gallery_sounds_at_a_time(show: Callable[..., Any]) -> None:
    page = show(gallery())
    notes = prelude_notes()
    assert page.evaluate("players.length") == 14
    page.evaluate("players[0].play()")
    wait_until(page, "players[0].engine.running && players[0].time > 0.3")
    page.evaluate("players[1].play()")
    wait_until(page, "players[1].engine.running && players[1].time > 0.2")
    assert page.evaluate("players.filter((p) => p.playing).length") == 1
    assert page.evaluate("players[0].engine.running") is False
    # The same ids stand in both scores, and each marks its own.
    page.evaluate("players[1].pause(); players[1].root.scrollIntoView({behavior: 'instant', block: 'center'})")
    wait_until(page, "players[0].score.shown && players[1].score.shown")
    page.evaluate("players[0].seek(0.01); players[1].seek(10)")
    assert page.evaluate("players[0].markedIds") == ids(notes, 0.01)
    assert page.evaluate("players[1].markedIds") == ids(notes, 10)


@in_browser
def test_keys_of_a_gallery_go_to_the_player_that_has_the_focus(show: Callable[..., Any]) -> None:
    page = show(gallery())
    page.keyboard.press("Space")  # scrolls the page, as ever
    assert page.evaluate("players.some((p) => p.playing)") is False
    page.get_by_role("heading", name="With L1", exact=True).click()
    page.keyboard.press("Space")
    assert page.evaluate("players.map((p) => p.playing).indexOf(true)") == 1


@in_browser
def test_what_is_out_of_view_in_a_gallery_is_not_drawn(show: Callable[..., Any]) -> None:
    page = show(gallery())
    assert page.evaluate("players.at(-1).roll.shown") is False
    assert page.evaluate("players.at(-1).roll.canvas.width * players.at(-1).roll.canvas.height") in (0, 300 * 150)
    page.evaluate("players.at(-1).root.scrollIntoView({behavior: 'instant'})")
    wait_until(page, "players.at(-1).roll.shown && players.at(-1).roll.canvas.width > 300 && !players[0].roll.shown")
    assert page.evaluate("players[0].score.hosts.every((h) => h.shadowRoot.childNodes.length === 0)")
    # What plays on out of view is dropped when it stops.
    page.evaluate("players.at(-1).play(); players[0].root.scrollIntoView({behavior: 'instant'})")
    wait_until(page, "players[0].score.shown && players.at(-1).roll.shown")
    page.evaluate("players.at(-1).pause()")
    assert not page.evaluate("players.at(-1).roll.shown")
    page.evaluate("players[0].root.scrollIntoView({behavior: 'instant'})")
    wait_until(page, "players[0].score.shown")
    assert page.evaluate("players[0].markedIds") == ids(prelude_notes(), 0)


# ---- how it looks


LOOKS = [
    (f"{size}-{scheme}", viewport, scheme)
    for size, viewport in (("desktop", DESKTOP), ("phone", PHONE))
    for scheme in ("light", "dark")
]


@in_browser
@pytest.mark.parametrize(("name", "viewport", "scheme"), LOOKS, ids=[name for name, *_ in LOOKS])
def test_screenshots(show: Callable[..., Any], name: str, viewport: dict[str, int], scheme: str) -> None:
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    options = {"color_scheme": scheme, "reduced_motion": "reduce", "device_scale_factor": 2 if viewport is PHONE else 1}
    title = "J. S. Bach: Prelude in C major, BWV 846"
    full = player_page(title, prelude_notes(), pages(), passages=PASSAGES, subtitle="epoch 145, temperature 1, seed 0")
    for kind, html, t in (
        ("player", full, 4.3),
        ("roll", player_page(title, prelude_notes()), 4.3),
        ("gallery", gallery(), 0.5),
    ):
        page = show(html, viewport, **options)
        page.evaluate(f"players[0].seek({t})")
        page.wait_for_timeout(300)
        page.screenshot(path=ARTEFACTS / f"{kind}-{name}.png")
        # Nothing is wider than the screen.
        assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]


TARGETS = """() => [...document.querySelectorAll("button, select, input")].filter((e) => e.checkVisibility())
    .map((e) => [e.getAttribute("aria-label") ?? e.textContent, e.getBoundingClientRect()])
    .filter(([name, box]) => box.width < 44 || box.height < 44).map(([name, box]) => [name, box.width, box.height])"""


@in_browser
@pytest.mark.parametrize("width", [360, 390, 768, 1280])
def test_it_fits_and_its_targets_are_wide_enough_for_a_finger(show: Callable[..., Any], width: int) -> None:
    page = show(player_page("Prelude", prelude_notes(), pages(), passages=PASSAGES), {"width": width, "height": 780})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(TARGETS) == []


@in_browser
def test_a_tap_on_the_roll_seeks(show: Callable[..., Any]) -> None:
    page = show(player_page("Prelude", prelude_notes(), pages()), PHONE)
    canvas = page.locator(".roll canvas:not(.keyboard)")
    at = page.evaluate("players[0].roll.x(2)")
    canvas.tap(position={"x": at, "y": 60})
    assert time(page) == pytest.approx(2, abs=0.05)


@in_browser
def test_everything_that_acts_has_a_name(page: Any) -> None:
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("button, select, input, canvas, [role=region], [role=group]")]
            .filter((e) => !(e.getAttribute("aria-label") || e.textContent.trim())).map((e) => e.outerHTML)"""
    )
    assert nameless == []
    page.keyboard.press("Tab")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"


CONTRAST = """() => {
    const g = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
    const style = getComputedStyle(document.documentElement);
    const light = (colour) => {
        g.fillStyle = colour;
        g.fillRect(0, 0, 1, 1);
        const parts = [...g.getImageData(0, 0, 1, 1).data].slice(0, 3).map((v) => v / 255);
        const [r, gr, b] = parts.map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * gr + 0.0722 * b;
    };
    const of = (name) => style.getPropertyValue(name).trim();
    const ratio = (a, b) => {
        const [low, high] = [light(a), light(b)].sort((x, y) => x - y);
        return (high + 0.05) / (low + 0.05);
    };
    const found = {};
    const texts = [["--ink", "--ground"], ["--ink", "--paper"], ["--quiet", "--ground"], ["--quiet", "--paper"],
        ["--accent", "--ground"], ["--accent", "--on-accent"], ["--mark", "--ground"], ["--mark", "--paper"],
        ...[0, 1, 2, 3, 4, 5].flatMap((i) => [[`--copy-${i}`, "--paper"], [`--copy-${i}`, "--on-copy"]])];
    for (const [a, b] of texts) found[`text ${a} on ${b}`] = ratio(of(a), of(b)) / 4.5;
    for (const [a, b] of [["--line", "--paper"], ["--line", "--ground"], ["--mark", "--halo"]])
        found[`shape ${a} on ${b}`] = ratio(of(a), of(b)) / 3;
    for (const passage of [-1, 0, 1, 2, 3, 4, 5])
        for (const velocity of [1, 64, 127])
            for (const behind of ["--paper", "--key"])
                found[`note ${velocity} of ${passage} on ${behind}`] =
                    ratio(players[0].roll.colour(velocity, passage), of(behind)) / 3;
    return found;
}"""


@in_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(show: Callable[..., Any], scheme: str) -> None:
    page = show(player_page("x", [NOTE]), color_scheme=scheme)
    ratios = page.evaluate(CONTRAST)
    assert {name: round(ratio, 2) for name, ratio in ratios.items() if ratio < 1} == {}


@in_browser
def test_velocity_is_read_in_grey(page: Any) -> None:
    lights = page.evaluate(
        """[1, 32, 64, 96, 127].map((v) => {
            const g = new OffscreenCanvas(1, 1).getContext("2d");
            g.filter = "grayscale(1)";
            g.fillStyle = players[0].roll.colour(v, -1);
            g.fillRect(0, 0, 1, 1);
            return g.getImageData(0, 0, 1, 1).data[0];
        })"""
    )
    assert all(louder < softer - 8 for softer, louder in itertools.pairwise(lights))


@in_browser
def test_a_file_is_played_as_it_is_written(show: Callable[..., Any], tmp_path: Path) -> None:
    """From the MIDI file through composer render into the page: what is marked is what mido says sounds."""
    path = tmp_path / "prelude.mid"
    write_midi(path, prelude_piece(TimeUnit.seconds))
    assert cli.run("render", [str(path), f"output={tmp_path / 'made'}", "synth=none"]) == 0
    page = show((tmp_path / "made" / "player.html").read_text(encoding="utf-8"))
    now, begun, written = 0.0, dict[int, float](), []
    for message in mido.MidiFile(path):
        now += message.time
        if message.type == "note_on":
            if message.note in begun:
                written.append((message.note, begun.pop(message.note), now))
            if message.velocity:
                begun[message.note] = now
    assert not begun
    draw = random.Random(2)
    for t in (draw.uniform(0, now) for _ in range(150)):
        page.evaluate(f"players[0].seek({t!r})")
        marked = page.evaluate("players[0].markedNotes.map((i) => players[0].notes.list[i].pitch)")
        expected = sorted(pitch for pitch, begin, end in written if begin <= t < end)
        assert sorted(marked) == expected, t


@in_browser
def test_on_paper_every_player_is_drawn(show: Callable[..., Any]) -> None:
    players = [Player(title=f"Piece {k}", notes=prelude_notes(), pages=drawn()) for k in range(6)]
    page = show(gallery_page("Six pieces", [Section(heading="All", players=players)]))
    shown = "players.filter((player) => player.roll.shown).length"
    assert page.evaluate(shown) < 6
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate(shown) == 6


@in_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 768, 390])
def test_axe_finds_nothing_to_complain_of(width: int, scheme: str, show: Callable[..., Any]) -> None:
    size = {"width": width, "height": 900}
    for html in (player_page("Prelude", prelude_notes(), pages(), passages=PASSAGES), gallery()):
        assert axe_violations(show(html, size, color_scheme=scheme)) == []


@in_browser
def test_a_bar_of_the_score_tells_its_notes(page: Any) -> None:
    if not page.evaluate("players[0].score.hosts[0].shadowRoot.querySelector('.measure') !== null"):
        pytest.skip("no Verovio")
    first = page.evaluate("players[0].score.hosts[0].shadowRoot.querySelector('.measure').getAttribute('aria-label')")
    assert first.startswith("Bar 1: C4, E4, G4, C5, E5")


@in_browser
def test_the_original_plays_on_at_the_same_place(show: Callable[..., Any]) -> None:
    other = Player(title="Prelude", notes=[NOTE | {"duration": 20.0}], name="Original")
    page = show(piece_page(Player(title="Prelude", notes=prelude_notes(), name="Composed", others=[other])))
    page.evaluate("players[0].seek(7); players[0].play()")
    wait_until(page, "players[0].time > 7.1")
    page.get_by_role("button", name="Original").click()
    assert page.evaluate("players[0].notes.list.length") == 1
    wait_until(page, "players[0].engine.running && players[0].time > 7.4")
    assert page.evaluate("players[0].playing")
    assert page.evaluate("players[0].time") < 12
    page.get_by_role("button", name="Composed").click()
    assert page.evaluate("players[0].notes.list.length") == len(prelude_notes())


@in_browser
def test_a_drag_in_the_time_axis_chooses_a_loop(page: Any) -> None:
    box = page.locator(".roll canvas:not(.keyboard)").bounding_box()
    page.mouse.move(box["x"] + 200, box["y"] + 8)
    page.mouse.down()
    page.mouse.move(box["x"] + 400, box["y"] + 8, steps=5)
    page.mouse.up()
    start, end = page.evaluate("[players[0].loop.start, players[0].loop.end]")
    assert start == pytest.approx(page.evaluate("players[0].roll.time({offsetX: 200})"), abs=0.05)
    assert end == pytest.approx(page.evaluate("players[0].roll.time({offsetX: 400})"), abs=0.05)


@in_browser
def test_the_score_for_a_phone_is_set_anew(show: Callable[..., Any]) -> None:
    player = Player(title="Prelude", notes=prelude_notes(), pages=drawn(), narrow=[*drawn(), *drawn()])
    assert show(piece_page(player)).evaluate("players[0].score.hosts.length") == len(drawn())
    phone = show(piece_page(player), PHONE)
    wait_until(phone, "players[0].score.pages === players[0].score.narrow")
    assert phone.evaluate("players[0].score.hosts.length") == 2 * len(drawn())
    # Turned sideways, it is the wide one again.
    phone.set_viewport_size({"width": 900, "height": 390})
    wait_until(phone, "players[0].score.pages === players[0].score.wide")


@in_browser
def test_a_click_on_the_keyboard_sounds_and_names_show(page: Any) -> None:
    page.locator(".keyboard").click()
    wait_until(page, "Sound.shared().voices.size === 1")
    page.keyboard.press("n")
    assert page.get_by_role("button", name="Names").get_attribute("aria-pressed") == "true"


@in_browser
def test_on_paper_no_page_is_almost_empty(show: Callable[..., Any], tmp_path: Path) -> None:
    if shutil.which("pdftoppm") is None:
        pytest.skip("no pdftoppm (apt install poppler-utils)")
    page = show(gallery())
    page.pdf(path=tmp_path / "page.pdf", format="A4")
    subprocess.run(["pdftoppm", "-r", "20", "-gray", tmp_path / "page.pdf", tmp_path / "p"], check=True)
    shares = []
    for path in sorted(tmp_path.glob("p-*.pgm")):
        header, width, height, _, pixels = re.match(
            rb"(P5)\s(\d+)\s(\d+)\s(\d+)\s(.*)", path.read_bytes(), re.DOTALL
        ).groups()
        ink = np.frombuffer(pixels, np.uint8).reshape(int(height), int(width)) < 200
        shares.append(float(np.flatnonzero(ink.any(1)).max(initial=0)) / int(height))
    # The last page ends where the contents end.
    assert len(shares) > 1
    assert np.mean(shares[:-1]) > 0.6
    assert min(shares[:-1]) > 0.2
