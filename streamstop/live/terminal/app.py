"""The terminal view: shows the newest snapshot ten times per second and sends what keys ask for.

Guarantees:

- It reads snapshots and sends commands, and does nothing else: a view that hangs costs the run
  nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

from rich.cells import cell_len
from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.events import Resize
from textual.screen import ModalScreen
from textual.widgets import Input, Label, OptionList, Static
from textual.widgets.option_list import Option

from streamstop.live.terminal import panels
from streamstop.live.terminal.picture import EventPicture, shown_size
from streamstop.pipeline.snapshot import Command, Snapshot

EVERY_S = 0.1
ENDED_S = 1.0
"""How long the end is shown."""
NOTE_SNAPSHOTS = 150
"""For how many snapshots a message is shown, before the keys are again."""
WIDTH, HEIGHT = 80, 24
"""Room that all panels need."""
LOW, SPACED, ROOMY, LARGE = 16, 30, 34, 46
"""Rows of the screen below which letters are small, and from which on panels are apart, larger."""
RIGHT_LEAST, RIGHT_MOST = 38, 84
"""Columns of the panels."""
PANELS = ("guess", "bars", "accuracy", "layers", "health", "confusion", "labels")


@dataclass(frozen=True)
class _Room:
    """Lines of each panel."""

    guess: int
    bars: int
    curve: int
    layers: int
    confusion: int = 0
    labels: int = 0

    @classmethod
    def within(cls, height: int) -> _Room:
        """For a screen of so many rows."""
        if height >= LARGE:
            return cls(guess=7, bars=9, curve=4, layers=6, confusion=8, labels=4)
        if height >= ROOMY:
            return cls(guess=5, bars=6, curve=4, layers=4, labels=3)
        return cls(guess=4, bars=5 if height >= SPACED else 4, curve=1, layers=2)


HELP = """\
1-9     teach this class from now on; the same key again ends it
tab     choose among all classes
n       name a new class
space   pause learning, and resume it
f       freeze the picture, and go on
b       begin a new segment of the class that is taught
u       mark the last label as a mistake (what it taught stays)
c       save the weights now
q       end the run, and show its report; once more leaves the view

A label counts from the next bin on. What is predicted before a label
is given is what is scored. labels.csv in the run's folder keeps them."""


class _Help(ModalScreen[None]):
    """The keys."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(key, "dismiss", show=False) for key in ("escape", "question_mark", "q", "enter")
    ]

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Label("Keys", classes="title")
            yield Static(HELP, markup=False)


class _NewClass(ModalScreen[str | None]):
    """Asks for the name of a class."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", show=False)]

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Label("Name of the new class", classes="title")
            yield Input(max_length=80)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Hand the name back."""
        self.dismiss(event.value.strip() or None)


class _Picker(ModalScreen[str | None]):
    """Lets a person choose a class."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", show=False),
        Binding("tab", "dismiss(None)", show=False, priority=True),
    ]

    def __init__(self, classes: tuple[str, ...]) -> None:
        super().__init__()
        self._names = classes

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Label("What does the camera see?", classes="title")
            yield OptionList(
                *(Option(Text(panels.inert(one))) for one in self._names), markup=False
            )

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Hand the class back."""
        self.dismiss(self._names[event.option_index])


class TerminalView(App[None]):
    """A run on the terminal.

    Parameters
    ----------
    read : callable
        The newest snapshot, once; None where there is no new one.
    send : callable
        Takes what a person asks of the run.
    ended : callable, optional
        Whether the run is over, for one that ends without a last snapshot; the view closes then.
    """

    CSS = """
    Screen { layout: vertical; }
    #header { height: 1; background: $panel; }
    #body { height: 1fr; }
    #left { width: 1fr; }
    #picture { height: 1fr; background: black; }
    #guess-below { height: 4; display: none; }
    #right { width: 38; padding: 0 1; }
    #right Static { height: auto; }
    .roomy #right { padding: 1 1 0 1; }
    .spaced #right Static { margin: 0 0 1 0; }
    #band, #message { height: 1; }
    .narrow #right { display: none; }
    .narrow #guess-below { display: block; }
    .low #guess-below { height: 1; }
    ModalScreen { align: center middle; }
    .dialog { width: 78; max-width: 100%; height: auto; max-height: 90%; padding: 1 2;
              background: $panel; border: round $accent; }
    .title { text-style: bold; margin: 0 0 1 0; }
    """

    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(str(key), f"teach({key})", show=False) for key in range(1, 10)),
        Binding("tab", "pick", priority=True, show=False),
        Binding("n", "new_class", show=False),
        Binding("space", "pause", show=False),
        Binding("f", "freeze", show=False),
        Binding("b", "ask('boundary')", show=False),
        Binding("u", "ask('retract')", show=False),
        Binding("c", "ask('save')", show=False),
        Binding("question_mark", "help", show=False),
        Binding("q", "end", show=False),
        Binding("ctrl+c", "end", show=False, priority=True),
    ]

    def __init__(
        self,
        read: Callable[[], Snapshot | None],
        send: Callable[[Command], None],
        ended: Callable[[], bool] | None = None,
    ) -> None:
        super().__init__()
        self._read, self._ask, self._ended = read, send, ended
        self._shown: dict[str, Text] = {}
        self._leaving = self._asked_to_end = False
        self.snapshot = Snapshot()
        self._frozen: Snapshot | None = None
        self._note, self._noted = "", 0

    def compose(self) -> ComposeResult:
        """The panels."""
        yield Static(id="header")
        with Horizontal(id="body"):
            with Vertical(id="left"):
                yield EventPicture(id="picture")
                yield Static(id="guess-below")
            with Vertical(id="right"):
                for name in PANELS:
                    yield Static(id=name)
        yield Static(id="band")
        yield Static(id="message")

    def on_mount(self) -> None:
        """Begin to show."""
        self.set_interval(EVERY_S, self.refresh_now)
        self.refresh_now()

    def on_resize(self, _: Resize) -> None:
        """Hide what has no room."""
        self.call_after_refresh(self._draw)

    def refresh_now(self) -> None:
        """Show the newest snapshot, if there is a new one."""
        found = self._read()
        if found is None:
            if self._ended is not None and self._ended():
                self._leave_soon()
            return
        if found.message and found.message != self.snapshot.message:
            self._note, self._noted = found.message, found.number
        self.snapshot = found
        self._draw()
        if found.state == "ended":
            self._leave_soon()

    def _leave_soon(self) -> None:
        if not self._leaving:
            self._leaving = True
            self.set_timer(ENDED_S, self.exit)

    def _draw(self) -> None:
        now = self.snapshot
        base = self.screen_stack[0]
        width, height = self.size
        shown = self._frozen or now
        right = self._arrange(shown)

        def put(name: str, content: Text) -> None:
            self._put(name, content, right)

        base.query_one("#picture", EventPicture).show(shown.picture)
        put("header", panels.header(now, width))
        put("band", panels.label_band(now, width))
        put("message", panels.message(replace(now, message=self._line()), width))
        if width < WIDTH:
            put("guess-below", panels.prediction(now, width, 4 if height >= LOW else 1))
            return
        room = _Room.within(height)
        put("guess", panels.prediction(now, right, room.guess))
        put("bars", panels.probabilities(now, right, room.bars))
        put("accuracy", panels.accuracy(now, right, room.curve))
        put("layers", panels.layers(now, right, room.layers))
        put("health", panels.health(now, plain=self.no_color))
        put("confusion", panels.confusion(now, right, room.confusion))
        put("labels", panels.labels(now, right, room.labels))

    def _put(self, name: str, content: Text, width: int) -> None:
        """Show what changed; panels are arranged anew only where a height may have changed."""
        before = self._shown.get(name)
        if before == content and before.style == content.style:
            return
        self._shown[name] = content
        panel = self.screen_stack[0].query_one(f"#{name}", Static)
        moves = before is None or _height(before, width) != _height(content, width)
        panel.update(content, layout=moves)
        if name in PANELS and panel.display != bool(content.plain):
            panel.display = bool(content.plain)

    def _arrange(self, shown: Snapshot) -> int:
        """Give the picture the height, the panels the rest; returns the columns for these."""
        base = self.screen_stack[0]
        width, height = self.size
        base.set_class(width < WIDTH, "narrow")
        base.set_class(height < LOW, "low")
        base.set_class(height >= SPACED, "spaced")
        base.set_class(height >= ROOMY, "roomy")
        rows = max(height - 3, 1)
        picture, _ = shown_size(shown.picture.shape, width, rows)
        least = max(RIGHT_LEAST, width // 3)
        column = min(max(width - picture, least), max(RIGHT_MOST, least))
        panel = base.query_one("#right")
        if panel.styles.width is None or panel.styles.width.value != column:
            panel.styles.width = column
        return column - 2

    def _line(self) -> str:
        """What the last line says instead of the keys; "" for the keys."""
        if self._note and self.snapshot.number - self._noted < NOTE_SNAPSHOTS:
            return self._note
        if self._frozen:
            return "the picture is frozen; f goes on"
        if self.size.width < WIDTH:
            return f"bars and health need {WIDTH} columns; ? keys"
        if self.size.height < HEIGHT:
            return f"some panels need {HEIGHT} rows; ? shows the keys"
        return ""

    def action_teach(self, key: int) -> None:
        """Teach the class of a number key, or end that."""
        if key > len(self.snapshot.classes):
            self._say(f"there is no class {key} yet; n names a new one")
            return
        self._teach(self.snapshot.classes[key - 1])

    def _teach(self, name: str) -> None:
        self._ask(Command("stop") if name == self.snapshot.label else Command("label", name))

    def action_pick(self) -> None:
        """Choose among all classes."""
        if len(self.screen_stack) > 1:
            self.pop_screen()
            return

        def chosen(name: str | None) -> None:
            if name is not None:
                self._teach(name)

        if not self.snapshot.classes:
            self._say("there is no class yet; n names one")
            return
        self.push_screen(_Picker(self.snapshot.classes), chosen)

    def action_new_class(self) -> None:
        """Ask for the name of a new class."""

        def named(name: str | None) -> None:
            if name is not None:
                self._ask(Command("class", name))

        self.push_screen(_NewClass(), named)

    def action_pause(self) -> None:
        """Pause learning, or resume it."""
        self._ask(Command("pause" if self.snapshot.state != "paused" else "resume"))

    def action_freeze(self) -> None:
        """Keep the picture, or go on."""
        self._frozen = None if self._frozen else self.snapshot
        self._draw()

    def action_ask(self, action: str) -> None:
        """Ask something that needs no more words."""
        self._ask(Command(action))

    def action_help(self) -> None:
        """Show the keys."""
        self.push_screen(_Help())

    def action_end(self) -> None:
        """End the run; the view closes when it has ended."""
        if self._asked_to_end:
            self.exit()
            return
        self._asked_to_end = True
        self._ask(Command("end"))
        self._say("ending; the report is being written. q once more closes this view now")

    def _say(self, text: str) -> None:
        self._note, self._noted = text, self.snapshot.number
        self._draw()


def _height(text: Text, width: int) -> int:
    """Lines that a text takes."""
    return sum(max(-(-cell_len(line) // width), 1) for line in text.plain.split("\n"))
