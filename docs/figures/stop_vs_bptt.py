"""Draw docs/images/stop-vs-bptt.svg: what BPTT stores, and what STOP carries forward instead.

    python docs/figures/stop_vs_bptt.py

Uses the standard library alone. Every coordinate is derived from the sizes below.
"""

from __future__ import annotations

from pathlib import Path

OUT = Path(__file__).resolve().parents[1] / "images" / "stop-vs-bptt.svg"

BINS = 5
BOX_W, BOX_H = 74, 34
STEP_X, STEP_Y = 104, 66
LEFT, TOP = 150, 74
PANEL = 372
LAYERS = ("readout", "layer 2", "layer 1", "bin x[t]")

INK, GREY, FORWARD, ERROR, TRACE = "#222222", "#9a9a9a", "#4a4a4a", "#c0392b", "#1f6fb2"


def box(x: float, y: float, text: str, kept: bool, fill: str = "#ffffff") -> str:
    stroke, ink = (INK, INK) if kept else (GREY, GREY)
    dash = "" if kept else ' stroke-dasharray="3 3"'
    return (
        f'<rect x="{x}" y="{y}" width="{BOX_W}" height="{BOX_H}" rx="4" fill="{fill}" '
        f'stroke="{stroke}" stroke-width="1.3"{dash}/>'
        f'<text x="{x + BOX_W / 2}" y="{y + BOX_H / 2 + 4}" text-anchor="middle" fill="{ink}">'
        f"{text}</text>"
    )


def arrow(x1: float, y1: float, x2: float, y2: float, colour: str, width: float = 1.4) -> str:
    name = {FORWARD: "f", ERROR: "e", TRACE: "t", GREY: "g"}[colour]
    return (
        f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{colour}" '
        f'stroke-width="{width}" marker-end="url(#{name})"/>'
    )


def label(x: float, y: float, text: str, colour: str = INK, extra: str = "") -> str:
    return f'<text x="{x}" y="{y}" fill="{colour}"{extra}>{text}</text>'


def column(t: int) -> float:
    return LEFT + t * STEP_X


def row(panel_top: float, layer: int) -> float:
    return panel_top + layer * STEP_Y


def panel(top: float, title: str, stop: bool) -> list[str]:
    out = [label(24, top - 34, title, extra=' font-size="17" font-weight="bold"')]
    last = BINS - 1
    for layer, name in enumerate(LAYERS):
        out.append(label(24, row(top, layer) + BOX_H / 2 + 4, name))
    for t in range(BINS):
        kept = not stop or t == last
        for layer in range(len(LAYERS)):
            text = ("x[t-4]", "x[t-3]", "x[t-2]", "x[t-1]", "x[t]")[t] if layer == 3 else "s, u"
            text = "logits" if layer == 0 else text
            out.append(box(column(t), row(top, layer), text, kept))
        for layer in range(3):  # spikes upwards
            x = column(t) + BOX_W / 2 - 14
            below, above = row(top, layer + 1), row(top, layer) + BOX_H
            out.append(arrow(x, below, x, above + 2, FORWARD if kept else GREY))
        for layer in range(3):  # errors downwards, within the bin
            if not kept or layer == 2:
                continue
            x = column(t) + BOX_W / 2 + 14
            out.append(arrow(x, row(top, layer) + BOX_H, x, row(top, layer + 1) - 2, ERROR, 1.9))
    for t in range(last):
        for layer in (1, 2):
            y = row(top, layer) + BOX_H / 2
            x1, x2 = column(t) + BOX_W, column(t + 1)
            out.append(arrow(x1, y - 7, x2 - 2, y - 7, GREY if stop else FORWARD))
            if stop:  # traces forward
                out.append(arrow(x1, y + 8, x2 - 2, y + 8, TRACE, 2.4))
            else:  # errors back in time
                out.append(arrow(x2, y + 8, x1 + 2, y + 8, ERROR, 1.9))
    return out


def main() -> None:
    width = column(BINS - 1) + BOX_W + 40
    second = TOP + PANEL
    end = row(second, 3) + BOX_H
    body = panel(TOP, "BPTT: every bin is stored until the sequence ends", stop=False)
    body.append(
        label(
            LEFT,
            row(TOP, 3) + BOX_H + 28,
            "Errors go down, and back in time through every bin.",
            ERROR,
        )
    )
    body.append(label(LEFT, row(TOP, 3) + BOX_H + 47, "Memory grows with the number of bins T."))
    body += panel(second, "STOP: past bins are gone; traces carry what is needed", stop=True)
    body.append(label(LEFT, end + 28, "Traces go forward in time.", TRACE))
    body.append(label(LEFT + 196, end + 28, "Errors go down through the current bin only.", ERROR))
    body.append(
        label(LEFT, end + 47, "Memory does not depend on T. Gradient of a bin = error times trace.")
    )
    markers = "".join(
        f'<marker id="{name}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        f'markerUnits="userSpaceOnUse" orient="auto">'
        f'<path d="M0 0L8 4L0 8z" fill="{colour}"/></marker>'
        for name, colour in (("f", FORWARD), ("e", ERROR), ("t", TRACE), ("g", GREY))
    )
    height = end + 66
    OUT.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'font-family="Helvetica, Arial, sans-serif" font-size="13" role="img" '
        f'aria-label="BPTT stores every bin and sends errors back in time; STOP keeps only the '
        f'current bin and carries traces forward.">'
        f'<defs>{markers}</defs><rect width="{width}" height="{height}" fill="#ffffff"/>'
        + "\n".join(body)
        + "</svg>\n",
        encoding="utf-8",
    )
    print(OUT)


if __name__ == "__main__":
    main()
