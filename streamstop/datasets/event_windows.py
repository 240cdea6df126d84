"""Labelled recordings as samples: a fixed number of time bins of each recording, or of each window.

All bins have the width that the recipe sets, as they would in a stream.

Guarantees:

- A sample holds events of one recording alone.
- A window that would straddle the cut between training and test is in neither.
- The test part of a set does not change the training part.

Does not: make frames of equal event count, which some papers use.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Literal

import numpy as np
import torch

from streamstop.config.sections import BinningConfig
from streamstop.datasets.samples import MAX_CACHE_BYTES, Samples
from streamstop.errors import UsageError
from streamstop.events.binning import Binner
from streamstop.events.labels import Segment
from streamstop.sources.folder import FolderSource
from streamstop.sources.open import open_source


def load_event_windows(
    uri: str,
    binning: BinningConfig,
    steps: int,
    limit: int = 0,
    *,
    window_us: int = 0,
    test_fraction: float = 0.0,
    part: Literal["all", "train", "test"] = "all",
) -> Samples:
    """A folder of labelled recordings, the first `steps` bins of each; shorter ones end in silence.

    uri : the folder, or a set by its name: `dvs-gesture:ROOT?split=train`.
    limit : no more samples than this of the part, classes alternating; 0 for all.
    window_us : cut each recording, or labelled interval of one, into windows of this length, the
        rest left out, and take the first bins of each; 0 for none.
    test_fraction : with windows, those in the last part of each recording's time are the test
        set; without, the last recordings of each class are, in the order of names (numbers in
        them by value).
    part : "all", or the "train" or "test" windows or recordings.

    Raises SourceError or UsageError as `open_source`, DamageError where a recording is damaged,
    UsageError where a part is empty or would take more than MAX_CACHE_BYTES.
    """
    source = open_source(
        uri,
        length_us=window_us,
        order="round-robin",
        limit=0 if test_fraction else limit,
        align_us=binning.bin_us,
        strict=True,
    )
    track = source.labels
    if track is None or not isinstance(source, FolderSource):
        raise UsageError(f"a training needs a folder of labelled recordings, not one file: {uri}")
    segments = list(track)
    chosen = list(range(len(segments)))
    if test_fraction:
        in_test = (
            _late(segments, window_us, test_fraction)
            if window_us
            else _last(segments, test_fraction)
        )
        chosen = [i for i in chosen if in_test[i] is (part == "test")]
        chosen = _in_turn(segments, chosen)[: limit or None]
        if not chosen:
            raise UsageError(
                f"data.test_fraction = {test_fraction} of {len(segments)} samples leaves none in "
                f"the {part} part: {uri}"
            )
    shape = (len(chosen), steps, 2, binning.height, binning.width)
    if math.prod(shape) > MAX_CACHE_BYTES:
        raise UsageError(
            f"{len(chosen)} samples of {steps} bins take {math.prod(shape)} bytes, more than "
            f"{MAX_CACHE_BYTES}; choose fewer data.time_steps or a smaller grid: {uri}"
        )
    counts = np.zeros(shape, np.uint8)
    row = {which: i for i, which in enumerate(chosen)}
    end_us = max(segments[i].end_us for i in chosen)
    starts = [segment.start_us for segment in segments]
    binner = Binner(source.sensor, **asdict(binning), origin_us=source.origin_us)
    for packet in source:
        bins = list(binner.push(packet.events))
        if packet.until_us is not None:
            bins += binner.advance(packet.until_us)
        for one in bins:
            i = bisect_right(starts, one.start_us) - 1
            step = (one.start_us - starts[i]) // binning.bin_us
            if step < steps and i in row:
                counts[row[i], step] = np.minimum(one.counts, 255)
        if bins and bins[-1].end_us >= end_us:
            break
    y = torch.tensor([segments[i].label for i in chosen], dtype=torch.int64)
    return Samples(torch.from_numpy(counts), y, track.classes, source.simulated)


def _in_turn(segments: Sequence[Segment], chosen: Sequence[int]) -> list[int]:
    """The first of each class, then the second of each, and so on."""
    often: Counter[int] = Counter()
    turns = []
    for i in chosen:
        label = segments[i].label
        turns.append((often[label], label, i))
        often[label] += 1
    return [i for _, _, i in sorted(turns)]


def _late(windows: Sequence[Segment], window_us: int, fraction: float) -> list[bool | None]:
    """Whether each window lies in the last fraction of its recording; None where it straddles.

    A recording is taken to last until its last window is over.
    """
    lengths: dict[str, int] = {}
    for one in windows:
        end_us = one.recording_us + window_us
        lengths[one.recording] = max(lengths.get(one.recording, 0), end_us)
    late: list[bool | None] = []
    for one in windows:
        cut_us = round((1.0 - fraction) * lengths[one.recording])
        before = False if one.recording_us + window_us <= cut_us else None
        late.append(True if one.recording_us >= cut_us else before)
    return late


def _last(recordings: Sequence[Segment], fraction: float) -> list[bool | None]:
    """Whether each sample is one of the last of its class, in the order of recordings' names."""

    def by_name(i: int) -> tuple[list[tuple[int, int, str]], int]:
        words = re.split(r"(\d+)", recordings[i].recording)
        named = [(1, int(word), "") if word.isdecimal() else (0, 0, word) for word in words]
        return named, recordings[i].recording_us

    last: list[bool | None] = [False] * len(recordings)
    for label in {one.label for one in recordings}:
        own = sorted((i for i, one in enumerate(recordings) if one.label == label), key=by_name)
        for i in own[len(own) - int(len(own) * fraction + 1e-9) :]:
            last[i] = True
    return last
