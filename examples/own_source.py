"""A source of your own: what the protocol `Source` asks for, and how to check it."""

import numpy as np

import streamstop as ss


class Flicker:
    """A simulated pixel grid, one quarter of which flickers; which one is the label."""

    name, format = "flicker", "memory"
    sensor = ss.SensorSize(16, 16)
    live, simulated = False, True
    origin_us = 0  # bin 0 starts here
    notes = ("made by examples/own_source.py",)

    def __init__(self, segments: int = 60) -> None:
        classes = np.random.default_rng(0).integers(0, 4, segments)
        spans = [ss.Segment(i * 50_000, (i + 1) * 50_000, int(c)) for i, c in enumerate(classes)]
        self.labels = ss.LabelTrack(("NW", "NE", "SW", "SE"), spans)

    def __enter__(self) -> "Flicker":
        return self  # open a file or a device here ...

    def __exit__(self, *_: object) -> None:
        return None  # ... and close it here

    def __iter__(self):
        draw = np.random.default_rng(1)  # the same events each time
        for one in self.labels:
            t = np.sort(draw.integers(one.start_us, one.end_us, 200))
            x = draw.integers(0, 8, 200) + 8 * (one.label % 2)
            y = draw.integers(0, 8, 200) + 8 * (one.label // 2)
            events = ss.make_events(t, x, y, draw.random(200) < 0.5)
            yield ss.Packet(events, until_us=one.end_us)  # time has come so far


ss.check_source(Flicker)  # AssertionError with what is wrong
with Flicker() as source:
    learner = ss.build_learner(source.labels.classes, input_shape=(2, 16, 16))
    evaluator = ss.PrequentialEvaluator(learner, source.labels)
    for one in ss.iter_bins(source, bin_us=10_000, height=16, width=16):
        evaluator.step(one)
    evaluator.close()
print(f"{evaluator.segments} segments, accuracy {evaluator.accuracy()['segment']:.2f}")
