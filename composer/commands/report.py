"""`composer report`: a page that shows and plays a run, or the arms of a sweep.

Longer than other commands: each section of the page is a function of its own.
"""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from composer.commands import compare as command
from composer.commands.copying import of_run
from composer.compare import table_formats as typeset
from composer.compare.account import title, trained
from composer.compare.captions import figure_captions
from composer.compare.conclusions import count
from composer.compare.curve_figures import learning
from composer.compare.figures import pictures
from composer.compare.reading import read_run
from composer.compare.runs import COMPLETED, Run, shown_value
from composer.composing.composer import Composer, Composition
from composer.composing.page_network import MAX_PARAMETERS, page_network
from composer.composing.setting import Setting
from composer.config.commands import CompareConfig, ReportConfig
from composer.config.data import DataConfig
from composer.corpus.corpus import read_pieces
from composer.errors import ComposerError
from composer.evaluation import legend
from composer.evaluation.copying import LEAST
from composer.files import display_path, user_path, write_text
from composer.music.events import Piece, title_of
from composer.music.markings import Markings
from composer.music.midi import find_files, read_piece
from composer.music.notes import Performance, from_file, from_piece
from composer.progress import say, working
from composer.render.listening import player
from composer.render.pianoroll import draw
from composer.render.player import Image, Player, Section, Table, gallery_page
from composer.reporting.run_tables import accuracy_rows, result_rows
from composer.runs.layout import CHECKPOINTS, CONFIG, METRICS, PRETRAINED, SAMPLES, SWEEP, is_pretrained, run_path

# What a piece quotes, as players colour it.
Quoted = Callable[[Piece], list[dict[str, Any]]]
PAGE = "report.html"
_COLOURED = f"Coloured passages, of {LEAST} notes or more, occur in the training music, transposed or not."
# Pieces of the training that are shown, the first and the last among them.
_MAX_SAMPLES = 6
# Figures that are named as the farthest from human music.
_FARTHEST = 3
# Of the piece that was trained on.
_ORIGINAL_EVENTS = 600


def run(config: ReportConfig) -> Path:
    """Write the page of a run or of a sweep and print its path; return the path.

    Raises:
        ComposerError: there is no run, or it has not begun.
    """
    folder = newest(Path("outputs")) if config.folder is None else run_path(config.folder)
    one = (folder / CONFIG).is_file()
    page = run_page(folder, config) if one else sweep_page(folder, config)
    path = user_path(config.output) if config.output else _page_of(folder)
    write_text(path, page)
    say(f"{'page':<13}{display_path(path)}")
    return path


def _page_of(folder: Path) -> Path:
    """Return where the page of a run or sweep is written: into its folder, but never into the package."""
    return Path("outputs") / "report" / f"{PRETRAINED}.html" if is_pretrained(folder) else folder / PAGE


def newest(outputs: Path) -> Path:
    """Return the run or sweep whose record was written last.

    Raises:
        ComposerError: there is none.
    """
    records = [path for path in outputs.glob(f"*/*/{METRICS}")] + [path for path in outputs.glob(f"*/*/{SWEEP}")]
    if not records:
        raise ComposerError(f"{outputs}: contains no run yet; start one with composer train, or give its folder")
    return max(records, key=lambda path: path.stat().st_mtime).parent


# ---- one run


def run_page(folder: Path, config: ReportConfig) -> str:
    """Return the HTML of one run: description, figures, curves, composed pieces and config."""
    with working("reading the run"):
        run, composer = read_run(folder), _composer(folder)
    # The music first; what it was made of comes after it.
    sections = []
    with working("reading the training music of the run"):
        quoted = _quoted(folder) if composer is not None else _nothing
    network = None
    if composer is not None:
        with working("packing the network for the page"):
            network = page_network(composer)
        sections += _temperatures(composer, config, quoted, network is not None)
    sections += _samples(folder, quoted)
    sections.append(_figures(run))
    if run.curves:
        with working("drawing the curves"):
            image = _picture(learning(run.curves, str(run.summary.get("split", "val"))), "Loss and accuracy by epoch")
        sections.append(Section(heading="Curves", images=[image]))
    sections += _music(run)
    sections += [_about(run, composer), Section(heading="Config", tables=[_settings(run)])]
    return gallery_page(f"{run.config.get('name', 'run')}: {folder.name}", sections, _state(run), network)


def _composer(folder: Path) -> Composer | None:
    """Return the run's network with the lowest validation loss; None before the first checkpoint."""
    for name in ("best", "last"):
        if (folder / CHECKPOINTS / f"{name}.ckpt").is_file():
            return Composer.load(folder, name)
    return None


def _quoted(folder: Path) -> Quoted:
    """Return what pieces quote from the run's training music; nothing where that is gone."""
    try:
        return of_run(folder)[0].passages
    except ComposerError:
        return _nothing


def _nothing(piece: Piece) -> list[dict[str, Any]]:
    return []


def _state(run: Run) -> str:
    if not run.summary:
        return "in training, or stopped without a record"
    return f"{run.status} after {run.summary.get('epochs', 0)} epochs" + (f": {run.error}" if run.error else "")


def _about(run: Run, composer: Composer | None) -> Section:
    s, data = run.summary, run.manifest.get("data", {})
    names = data.get("pieces", [])
    rows = [
        ["music", names[0] if len(names) == 1 else f"{len(names)} pieces"],
        ["events", _number(data.get("events"))],
        ["windows", ", ".join(f"{_number(s.get(f'windows_{part}'))} {part}" for part in ("train", "val", "test"))],
        ["split", str(s.get("split", "-"))],
    ]
    rows += [
        [title, f"{s[key]:.1%}"]
        for key, title in (
            ("leak_rate", "validation targets that also occur in training windows"),
            ("leak_rate_content", "validation windows that occur in training note for note"),
            ("leak_rate_transposed", "the same, transposed"),
        )
        if isinstance(s.get(key), float)
    ]
    if composer is not None:
        size = sum(parameter.numel() for parameter in composer.model.parameters())
        rows.append(["network", f"{run.config.get('model.name', '')}, {size:,} parameters".strip(", ")])
    rows += [
        [
            "regularizer",
            "none"
            if run.config.get("regularizer.name") == "none"
            else f"{run.config.get('regularizer.name', '-')} {shown_value(run.config.get('regularizer.weight'))}",
        ],
        ["trained", f"{s.get('epochs', 0)} epochs, {s.get('steps', 0):,} steps, {s.get('seconds', 0):.0f} s"],
        ["seed", str(run.seed)],
        ["device", str(run.manifest.get("device", "-"))],
        ["code", _commit(run.manifest)],
    ]
    return Section(
        heading="What was trained",
        tables=[Table(columns=["what", "value"], rows=rows, caption="The run", listing=True)],
    )


def _commit(manifest: dict[str, Any]) -> str:
    git = manifest.get("git")
    if not isinstance(git, dict) or not git.get("commit"):
        return f"SHA-256 {str(manifest.get('code_sha256', '-'))[:12]}"
    return f"commit {str(git['commit'])[:12]}" + (", with changes" if git.get("dirty") else "")


def _figures(run: Run) -> Section:
    s = run.summary
    if run.status != COMPLETED:
        return Section(heading="Figures", text="The run is not complete, so it has no final figures.")
    columns, rows = accuracy_rows(result_rows(str(s["split"]), s), s.get("baselines", {}))
    return Section(
        heading="Figures",
        text="Loss in nats per event. Accuracy is the mean of the three channels; joint counts events that are right "
        "in all three. Skill places the accuracy between the best predictor without a network (0) and perfect (1).",
        tables=[Table(columns=columns, rows=rows, caption="Accuracy by split, and the baselines without a network")],
    )


def _music(run: Run) -> list[Section]:
    """Return copying and quality of the final pieces, compared with human music."""
    copying, quality = run.summary.get("copying"), run.summary.get("quality")
    if not isinstance(copying, dict) or not isinstance(quality, dict):
        return []
    copies = [copying.get("composed") or {}, copying.get("held_out") or {}]
    music = [quality.get(kind) or {} for kind in ("composed", "training", "held_out")]
    overlaps = [(quality.get("overlap") or {}).get("composed") or {}, quality.get("overlap_held_out") or {}]
    # A row of `legend.rows` for each figure that some music has.
    shown = [key for key in legend.QUALITY if any(key in figures for figures in music)]
    figures = [
        [*row, *(_percent(values.get(key)) for values in overlaps)]
        for key, row in zip(shown, legend.rows(legend.QUALITY, music), strict=True)
    ]
    paragraphs = [
        *(f"{warning[0].upper()}{warning[1:]}." for warning in legend.warnings(quality)),
        _distance(quality),
        "Human music is cut into excerpts as long as the composed pieces. Compare each figure with that of human "
        "music: nearer is better, higher is not.",
    ]
    return [
        Section(
            heading="Copying and quality",
            text="\n\n".join(paragraph for paragraph in paragraphs if paragraph),
            tables=[
                Table(
                    columns=["copied", "composed", "held-out music"],
                    rows=legend.rows(legend.COPYING, copies),
                    caption="What the final pieces copy from the training music",
                ),
                Table(
                    columns=[
                        *("figure", "composed", "training", "held-out"),
                        *("overlap, training", "overlap, held-out"),
                    ],
                    rows=figures,
                    caption="What the final pieces are like; overlap of the distributions: 100 is the same",
                ),
            ],
        )
    ]


def _distance(quality: dict[str, Any]) -> str:
    """Return the distance and its largest contributions in words; empty for older runs."""
    sentence = legend.distance_sentence(quality)
    by_figure = quality.get("distance_by_figure") or {}
    known = {**legend.QUALITY, **legend.COPYING}
    farthest = sorted((key for key in by_figure if key in known), key=lambda key: -by_figure[key])[:_FARTHEST]
    named = "; ".join(f"{known[key].title}, {by_figure[key]:.1f}" for key in farthest)
    unit = "In standard deviations of human excerpts, a mean over the figures."
    return f"{sentence[0].upper()}{sentence[1:]}. {unit} Farthest: {named}." if sentence else ""


def _percent(value: Any) -> str:
    return f"{value:.0%}".rstrip("%") if isinstance(value, (int, float)) else "-"


def _settings(run: Run) -> Table:
    rows = [[key, shown_value(value)] for key, value in sorted(run.config.items())]
    return Table(columns=["key", "value"], rows=rows, caption="Every key of the run", listing=True)


def _temperatures(composer: Composer, config: ReportConfig, quoted: Quoted, composes: bool) -> list[Section]:
    """Return what the run composes, the training music at a switch, and both as piano rolls."""
    players: list[Player] = []
    own = composer.setting
    with working("reading the original"):
        original = _original(composer)
    settings = list(dict.fromkeys([own, *(Setting(value, own.top_p) for value in config.temperatures)]))
    for number, setting in enumerate(settings, start=1):
        with working(f"composing piece {number} of {len(settings)}"):
            piece = _compose(composer, config, setting)
        title = f"{_setting_title(setting)} (the run's own)" if setting == own else _setting_title(setting)
        subtitle = f"seed {config.seed}, {_length(piece)}"
        with working(f"engraving piece {number} of {len(settings)}"):
            others = [player(original[1], original[0].name, name="Original")] if original and not players else []
            players.append(_player(piece.written, title, subtitle, quoted(piece.written), others))
        if len(players) == 1:
            first = piece.written
    said = [
        f"Each player continues the same primer, which is not played, with {config.events} events. A low temperature "
        "favours the likeliest events, a high one gives rare events more weight; top_p leaves the unlikeliest out. "
        + _COLOURED,
        f"The first player has the training music ({title_of(original[0].name)}) at a switch." if original else "",
        "Go on composes with the run's network, in this page: from the position, from the end of the piece, or from a "
        "MIDI file that is opened or dropped on the player."
        if composes
        else "This page cannot compose: it holds networks of the kinds lstm and gru of up to "
        f"{MAX_PARAMETERS:,} weights.",
    ]
    sections = [Section(heading="What it composes", players=players, below="\n\n".join(text for text in said if text))]
    if original is None:
        return sections
    rolls = [
        from_piece(one, title=title)
        for one, title in ((_beginning(original[0], config.events), original[0].name), (first, f"composed, {own}"))
        if bool((one.events.velocity > 0).any())
    ]
    with working("drawing the piano rolls"):
        image = _picture(draw(rolls, ("png",))["png"], "Piano rolls of the original and of a composed piece")
    return [*sections, Section(heading="Beside the original", images=[image])]


def _setting_title(setting: Setting) -> str:
    return f"Temperature {setting.temperature:g}" + ("" if setting.top_p == 1 else f", top_p {setting.top_p:g}")


def _compose(composer: Composer, config: ReportConfig, setting: Setting, primer: Any = None) -> Composition:
    return composer.generate(
        events=config.events,
        temperature=setting.temperature,
        top_p=setting.top_p,
        seed=config.seed,
        primer=primer,
    )


def _length(composition: Composition) -> str:
    return f"{composition.written.seconds()[-1]:.1f} s"


def _player(
    piece: Piece | Performance,
    title: str,
    subtitle: str,
    passages: Sequence[dict[str, Any]] = (),
    others: Sequence[Player] = (),
) -> Player:
    """Return the player of a piece, or a note that it is silent, as an untrained network may compose."""
    if isinstance(piece, Piece) and not bool((piece.events.velocity > 0).any()):
        return Player(title=title, notes=[], subtitle=f"{subtitle}; it plays no note", name="Composed", others=others)
    return player(piece, title, subtitle, passages, name="Composed", others=others)


def _original(composer: Composer) -> tuple[Piece, Piece | Performance] | None:
    """Return the piece of the primer, and its beginning to be shown; None where it cannot be read any more."""
    try:
        pieces, sha256, _ = read_pieces(composer.config.data, composer.encoding)
    except ComposerError:
        return None
    names = pieces.names
    if sha256 != composer.origin.data_sha256 or composer.origin.piece not in names:
        return None
    piece = pieces[names.index(composer.origin.piece)]
    return piece, _as_written(composer.config.data, piece) or _beginning(piece, _ORIGINAL_EVENTS)


def as_shown(composer: Composer) -> Piece | Performance | None:
    """Return the beginning of the piece of a run's primer; None where it cannot be read any more."""
    found = _original(composer)
    return None if found is None else found[1]


def _as_written(data: DataConfig, piece: Piece) -> Performance | None:
    """Return the beginning of the file of a piece, each part with its own notes, as `composer render` reads it.

    None where there is no file, or several of its name.
    """
    if data.source != "midi" or data.path is None:
        return None
    root = user_path(data.path)
    paths = [path for path in find_files(root) if path.name == piece.name]
    if len(paths) != 1:
        return None
    whole = from_file(paths[0], part=data.part, drums=data.drums, clip=data.clip, title=title_of(piece.name))
    return dataclasses.replace(whole, notes=whole.notes[: _ORIGINAL_EVENTS // 2])


def _beginning(piece: Piece, events: int) -> Piece:
    return dataclasses.replace(piece, events=piece.events[:events])


def _samples(folder: Path, quoted: Quoted) -> list[Section]:
    """Return pieces that were composed during the training, spread evenly."""
    paths = sorted((folder / SAMPLES).glob("epoch-*.mid"))
    if len(paths) > _MAX_SAMPLES:
        places = [round(k * (len(paths) - 1) / (_MAX_SAMPLES - 1)) for k in range(_MAX_SAMPLES)]
        paths = [paths[place] for place in places]
    players = []
    for path in paths:
        title = f"Epoch {int(path.stem.removeprefix('epoch-'))}"
        try:
            with working(f"engraving the sample of {title.lower()}"):
                players.append(player(from_file(path), title, path.name, quoted(read_piece(path))))
        except ComposerError as error:
            players.append(Player(title=title, notes=[], subtitle=str(error)))
    text = "The same primer and the same random numbers each time: only the weights differ."
    return [Section(heading="How it learned", text=text, players=players)] if players else []


# ---- a sweep


def sweep_page(folder: Path, config: ReportConfig) -> str:
    """Return the HTML of a sweep: conclusions, tables, figures, and a piece per arm after the same primer.

    Raises:
        ComposerError: the folder holds no runs that can be compared.
    """
    asked = CompareConfig(
        sweep=str(folder), baseline=None, metric="accuracy/val", weights="final", resamples=10_000, figures=True,
        output=None,
    )  # fmt: skip
    with working("reading and comparing the runs"):
        c = command.compare(asked)
        made = command.all_tables(c, asked.resamples)
    facts = [[name, value] for name, value in trained(c)]
    sections = [
        Section(
            heading="What was trained",
            tables=[Table(columns=["what", "value"], rows=facts, caption="The runs", listing=True)],
        ),
        Section(heading="What the numbers support", text="\n\n".join(command.conclusions(c)), tables=[_table(made[0])]),
    ]
    seeds = [{run.seed for run in arm.counted} for arm in c.sweep.arms if arm.counted]
    common = set.intersection(*seeds) if seeds else set()
    players: list[Player] = []
    primer: Piece | None = None
    for arm in c.sweep.arms:
        found = sorted(arm.counted, key=lambda run: (run.seed not in common, run.seed or 0))
        with working(f"reading the network of {arm.label}"):
            composer = _composer(found[0].folder) if found else None
        if composer is None:
            continue
        begun = composer.vocabulary.decode(composer.origin.primer.numpy())
        if primer is None:
            place = composer.origin.place
            markings = Markings() if place is None else place.repeated()[0]
            timing = composer.timing(place)
            primer = Piece(composer.origin.piece, begun, timing, composer.origin.program, markings)
        with working(f"composing with {arm.label}"):
            piece = _compose(composer, config, Setting(), _shared_primer(composer, primer))
        with working(f"measuring what {arm.label} copies"):
            passages = _quoted(found[0].folder)(piece.written)
        quoted = count(len(passages), "copied passage") if passages else "nothing copied"
        subtitle = f"seed {found[0].seed} of the sweep, {_length(piece)}, {quoted}"
        with working(f"engraving the piece of {arm.label}"):
            players.append(_player(piece.written, arm.label, subtitle, passages))
    text = (
        "Every arm continues the same primer, which is not played, with the same random numbers, at temperature 1 "
        "without a cut. " + _COLOURED
    )
    sections.append(Section(heading="The arms side by side", text=text, players=players, beside=True))
    captions = figure_captions(c)
    with working("drawing the figures"):
        drawn = pictures(c).items()
    images = [_picture(png, name, captions[name.partition("-")[0]]) for name, png in drawn]
    sections.append(Section(heading="Figures", images=images))
    sections.append(Section(heading="Tables", tables=[_table(table) for table in made[1:]]))
    if c.sweep.notes:
        sections.append(Section(heading="Other differences between the runs", text="\n\n".join(c.sweep.notes)))
    return gallery_page(title(c), sections, str(display_path(folder)))


def _shared_primer(composer: Composer, primer: Piece) -> Any:
    """Return the primer in this network's classes; None, for its own primer, where its window is longer."""
    try:
        return composer.primed_by(primer)
    except ComposerError:
        return None


def _table(table: typeset.Table) -> Table:
    return Table(columns=table.header, rows=table.rows, caption=typeset.sentences([table.caption, *table.notes]))


def _picture(png: bytes, text: str, caption: str = "") -> Image:
    return Image(uri=f"data:image/png;base64,{base64.b64encode(png).decode()}", text=text, caption=caption)


def _number(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else "-"
