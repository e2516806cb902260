"""HdrHistogram interval logs (``*.hlog``), which every tool of that family reads.

A line holds one second of one series. Durations are in nanoseconds, with three digits; a line's maximum is in
milliseconds, as those tools expect. The tag of a line is the parts of its series, joined by ``|``; what a tag
may not hold is percent-encoded.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from knouds_harness.files import OwnsFile, new_text_file
from knouds_harness.measures.histograms import MAX_NS, Histogram, bucket_of, highest_of, lowest_of

if TYPE_CHECKING:
    from hdrh.histogram import HdrHistogram

_DIGITS = 3
_LAST = bucket_of(MAX_NS)
_ALLOWED_IN_TAGS = "/:;?&=+*!'()[]{}@$ "
_LEGEND = '"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"'


@dataclass(frozen=True, kw_only=True)
class Interval:
    """One line of a log; ``series`` are the parts of its tag."""

    series: tuple[str, ...]
    start_unix_s: float
    length_s: float
    histogram: Histogram


class HdrLogWriter(OwnsFile):
    """Writes a log during a run: each line is complete and handed to the system once ``write`` returns."""

    _file: TextIOWrapper

    def __init__(self, path: Path, *, start_unix_s: float) -> None:
        self._file = new_text_file(path.parent, path.name)
        self._file.write("#[Histogram log format version 1.3]\n")
        self._file.write(f"#[StartTime: {start_unix_s:.3f} (seconds since epoch)]\n{_LEGEND}\n")
        # One for all lines: each has 0.3 MB in a reference cycle, more than the garbage collector sees.
        from hdrh.histogram import HdrHistogram  # noqa: PLC0415 - the part [load], which reports do without

        self._hdr = HdrHistogram(1, MAX_NS, _DIGITS)

    def write(self, interval: Interval) -> None:
        """Write one line; call it in order of time."""
        buckets = interval.histogram.counts
        max_ms = highest_of(max(buckets)) / 1e6 if buckets else 0.0
        tag = "|".join(quote(part, safe=_ALLOWED_IN_TAGS).replace(" ", "%20") for part in interval.series)
        payload = self._encoded(interval.histogram)
        self._file.write(
            f"Tag={tag},{interval.start_unix_s:.3f},{interval.length_s:.3f},{max_ms:.3f},{payload}\n"
        )

    def _encoded(self, histogram: Histogram) -> str:
        hdr = self._hdr
        counts = {min(bucket, _LAST): count for bucket, count in histogram.counts.items()}
        for bucket, count in counts.items():
            hdr.counts[bucket] = count
        hdr.total_count, hdr.max_value = sum(counts.values()), lowest_of(max(counts, default=0))
        encoded: bytes = hdr.encode()
        for bucket in counts:
            hdr.counts[bucket] = 0
        return encoded.decode("ascii")


def read_hdr_log(path: Path) -> Iterator[Interval]:
    """Yield the intervals of a log in their order; a last line that was cut short is left out."""
    from hdrh.histogram import HdrHistogram  # noqa: PLC0415 - the same
    from hdrh.log import HistogramLogReader  # noqa: PLC0415

    reader = HistogramLogReader(str(path), HdrHistogram(1, MAX_NS, _DIGITS))
    try:
        while True:
            try:
                hdr = reader.get_next_interval_histogram()
            except Exception:  # noqa: BLE001 - the library raises whatever base64, zlib or struct raise
                return
            if hdr is None:
                return
            start_s, end_s = hdr.get_start_time_stamp() / 1000, hdr.get_end_time_stamp() / 1000
            yield Interval(
                series=tuple(unquote(part) for part in (hdr.get_tag() or "").split("|")),
                start_unix_s=round(start_s, 3),
                length_s=round(end_s - start_s, 3),
                histogram=from_hdr(hdr),
            )
    finally:
        reader.close()


def from_hdr(hdr: "HdrHistogram") -> Histogram:
    """Convert the library's histogram of nanoseconds to ours; nothing is lost if it has three digits."""
    histogram = Histogram()
    if hdr.get_total_count():
        first, last = (
            hdr.get_counts_array_index(value) for value in (hdr.get_min_value(), hdr.get_max_value())
        )
        for index, count in enumerate(hdr.counts[first : last + 1], first):  # its own iterator takes 0.1 s
            if count:
                histogram.add(Histogram({bucket_of(hdr.get_value_from_index(index)): count}))
    return histogram
