"""The terminal view: shows the newest snapshot ten times per second and sends what keys ask for.

Guarantees:

- It reads snapshots and sends commands, and does nothing else: a view that hangs costs the run
  nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.events import Resize
from textual.screen import ModalScreen
from textual.widgets import Input, Label, OptionList, Static
from textual.widgets.option_list import Option

from streamstop.live.terminal import panels
from streamstop.pipeline.snapshot import Command, Snapshot

EVERY_S = 0.1
ENDED_S = 1.0
"""How long the end is shown."""
WIDTH, HEIGHT = 80, 24
"""Room that all panels need."""

HELP = """\
1-9     teach this class from now on; the same key again ends it
tab     choose among all classes
n       name a new class
space   pause learning, and resume it
f       freeze the picture, and go on
b       begin a new segment of the class that is taught
u       mark the last label as a mistake (what was learned from it stays)
c       save the weights now
w       open the view in a browser
q       end the run, and show its report

A label counts from the next bin on. What is predicted before a label is
given is what is scored. labels.csv in the run's folder keeps all labels."""


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
    open_web : callable, optional
        Opens the view in a browser and returns its address.
    """

    CSS = """
    Screen { layout: vertical; }
    #header { height: 1; background: $panel; }
    #body { height: 1fr; }
    #left { width: 1fr; }
    #picture { height: 1fr; }
    #guess { height: 4; }
    #band { height: 1; }
    #right { width: 44; padding: 0 1; }
    #bars { height: auto; max-height: 10; margin: 0 0 1 0; }
    #accuracy { height: auto; margin: 0 0 1 0; }
    #layers { height: auto; }
    #health { height: auto; }
    #message { height: 1; }
    .narrow #right { display: none; }
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
        Binding("w", "web", show=False),
        Binding("question_mark", "help", show=False),
        Binding("q", "end", show=False),
        Binding("ctrl+c", "end", show=False, priority=True),
    ]

    def __init__(
        self,
        read: Callable[[], Snapshot | None],
        send: Callable[[Command], None],
        open_web: Callable[[], str] | None = None,
    ) -> None:
        super().__init__()
        self._read, self._ask, self._open_web = read, send, open_web
        self.snapshot = Snapshot()
        self._frozen: Snapshot | None = None
        self._note = ""

    def compose(self) -> ComposeResult:
        """The panels."""
        yield Static(id="header")
        with Horizontal(id="body"):
            with Vertical(id="left"):
                yield Static(id="picture")
                yield Static(id="guess")
                yield Static(id="band")
            with Vertical(id="right"):
                for name in ("bars", "accuracy", "layers", "health"):
                    yield Static(id=name)
        yield Static(id="message")

    def on_mount(self) -> None:
        """Begin to show."""
        self.set_interval(EVERY_S, self.refresh_now)
        self.refresh_now()

    def on_resize(self, _: Resize) -> None:
        """Hide what has no room."""
        self.screen_stack[0].set_class(self.size.width < WIDTH, "narrow")
        self.call_after_refresh(self._draw)

    def refresh_now(self) -> None:
        """Show the newest snapshot, if there is a new one."""
        found = self._read()
        if found is None:
            return
        self.snapshot = found
        if found.message:
            self._note = ""
        self._draw()
        if found.state == "ended":
            self.set_timer(ENDED_S, self.exit)

    def _draw(self) -> None:
        now = self.snapshot
        base = self.screen_stack[0]
        shown = self._frozen or now

        def put(name: str, content: Text) -> None:
            base.query_one(f"#{name}", Static).update(content)

        room = base.query_one("#picture").size
        left = max(room.width, 10)
        put("header", panels.header(now, self.size.width))
        put("picture", panels.picture(shown, left, max(room.height, 2)))
        put("guess", panels.prediction(now, left))
        put("band", panels.label_band(now, left))
        put("bars", panels.probabilities(now, 42, 9 if self.size.height >= 30 else 5))
        put("accuracy", panels.accuracy(now, 42))
        put("layers", panels.layers(now, 8 if self.size.height >= 30 else 3))
        put("health", panels.health(now))
        note = self._note or ("the picture is frozen; f goes on" if self._frozen else "")
        if self.size.width < WIDTH and not note:
            note = f"bars and health need {WIDTH} columns; ? shows the keys"
        line = replace(now, message=note) if note and not now.message else now
        put("message", panels.message(line, self.size.width))

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

        self.push_screen(_Picker(self.snapshot.classes), chosen)

    def action_new_class(self) -> None:
        """Ask for a name, and teach it."""

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

    def action_web(self) -> None:
        """Open the page, and show its address."""
        if self._open_web is None:
            self._say("there is no page: pip install 'streamstop[live]'")
            return
        self._say(f"open {self._open_web()}")

    def action_help(self) -> None:
        """Show the keys."""
        self.push_screen(_Help())

    def action_end(self) -> None:
        """End the run; the view closes when it has ended."""
        self._ask(Command("end"))
        self._say("ending; the report is being written")

    def _say(self, text: str) -> None:
        self._note = text
        self._draw()
