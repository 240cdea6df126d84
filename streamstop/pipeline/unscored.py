"""Says why no segment of a labelled stream was scored: such a run is not a success."""

from __future__ import annotations

from streamstop.pipeline.build import RunParts


def why_unscored(parts: RunParts) -> str:
    """Why no segment was scored, and what to do; "" where one was, or the stream has no labels."""
    track = parts.stream.source.labels
    if not track or parts.evaluator.segments:
        return ""
    config = parts.config
    bin_us, delay_us = config.binning.bin_us, config.labels.delay_us
    longest_us = max(one.end_us - one.start_us for one in track)
    first_us = min(one.start_us for one in track)
    count = "its one labelled segment" if len(track) == 1 else f"its {len(track)} labelled segments"
    text = f"labels were given, but none of {count} was scored"
    if longest_us < bin_us:
        return (
            f"{text}: none is as long as a bin, the longest {longest_us} us and binning.bin_us = "
            f"{bin_us}. Check the unit of the label times (--labels FILE?unit=s), or choose "
            "narrower bins"
        )
    if not parts.evaluator.bins or parts.evaluator.clock_us <= first_us:
        return (
            f"{text}: the stream ended at {parts.evaluator.clock_us} us, before the first of them "
            f"began ({first_us} us)"
        )
    if config.labels.arrival == "delayed":
        return (
            f"{text}: their labels arrive labels.delay_us = {delay_us} us after they begin, and "
            f"the stream ended before that, at {parts.evaluator.clock_us} us"
        )
    if longest_us < 2 * bin_us:
        return (
            f"{text}: none holds a whole bin of binning.bin_us = {bin_us} us, the longest lasts "
            f"{longest_us} us; make bins narrower"
        )
    return (
        f"{text}: no bin of binning.bin_us = {bin_us} us lies within one of them before the stream "
        f"ends, at {parts.evaluator.clock_us} us"
    )
