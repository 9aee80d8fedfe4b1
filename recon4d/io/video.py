"""Video files, through PyAV: true time stamps, rotation, damaged files; decoded and encoded as a stream.

Numbers here that name no source were set by hand.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import av
import numpy as np
from jaxtyping import UInt8

from recon4d.core.errors import InputError
from recon4d.core.files import writing
from recon4d.core.scene import Notice
from recon4d.io.frames import Source, SourceFrame
from recon4d.io.hdr import KINDS, is_hdr, standard_range

FALLBACK_FPS = 30.0
"""Frames per second of a stream without time stamps and rate (raw elementary streams)."""
TEXT_FORMATS = {"tty"}
"""FFmpeg renders plain text as video: never what was meant."""
MATROSKA_SLACK_S = 0.5
"""A Matroska or WebM file whose last frame is further than this before its stated end was cut off."""


class NoVideoError(InputError):
    """A file is no video."""


class _Reader:
    """Decodes one file and remembers what was wrong with it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._damaged = 0
        self._decoded = 0
        self._seen = 0
        self._repeated: list[int] = []
        self._is_cut = False
        self._rate_used: float | None = None
        self._hdr = ""

    def frames(self) -> Iterator[SourceFrame]:
        """Yield the frames whose time advances; time stamps are the file's own."""
        last_s = -np.inf
        with open_video(self._path) as container:
            stream = _pictures(container)[0]
            stream.thread_type = "AUTO"
            rate = float(stream.average_rate or FALLBACK_FPS)
            for frame in self._decode(container, stream):
                index = self._seen - 1
                time_s = frame.time
                if time_s is None:
                    self._rate_used = rate
                    time_s = index / rate
                if time_s <= last_s:
                    self._repeated.append(index)
                    continue
                last_s = time_s
                self._hdr = self._hdr or KINDS.get(int(frame.color_trc), "")
                yield SourceFrame(index, float(time_s), str(index), partial(_upright_rgb, frame))
            self._is_cut = _ends_before_its_index(self._path, stream) or (
                _stated_end_s(container, stream) > last_s + MATROSKA_SLACK_S
            )
        if self._decoded == 0:
            raise InputError(
                f"{self._path} has no frame that can be decoded; recon4d needs at least 2: convert it again, "
                "or copy it again if it was cut off"
            )
        if self._decoded - len(self._repeated) == 1 < self._decoded:
            raise InputError(
                f"{self._path} has {self._decoded} frames whose times do not advance: all are at {last_s:.6f} s or "
                "before; convert it again with times that rise, or give its frames as a folder of images with --fps"
            )

    def notices(self) -> tuple[Notice, ...]:
        """Say what was found so far."""
        found = []
        if self._damaged or self._is_cut:
            found.append(
                Notice(
                    "truncated_video",
                    f"{self._path.name} is damaged or cut off; {self._decoded} of its frames could be decoded",
                )
            )
        if self._repeated:
            found.append(
                Notice(
                    "repeated_timestamps",
                    f"{self._path.name}: {len(self._repeated)} frames do not advance in time and are left out, the "
                    f"first is frame {self._repeated[0]} of the file",
                )
            )
        if self._rate_used is not None:
            found.append(
                Notice(
                    "no_timestamps",
                    f"{self._path.name} has no time stamps; {self._rate_used:g} frames per second are assumed",
                )
            )
        if self._hdr:
            found.append(
                Notice(
                    "tone_mapped",
                    f"{self._path.name} is high dynamic range video ({self._hdr}): it is tone-mapped to the standard "
                    "range",
                )
            )
        return tuple(found)

    def _decode(
        self, container: av.container.InputContainer, stream: av.VideoStream
    ) -> Iterator[av.VideoFrame]:
        """Yield what decodes; damaged packets and frames are counted and skipped."""
        for packet in self._packets(container, stream):
            try:
                frames = stream.decode(packet)
            except av.FFmpegError:
                self._damaged += 1
                continue
            for frame in frames:
                self._seen += 1
                if frame.is_corrupt:
                    self._damaged += 1
                else:
                    self._decoded += 1
                    yield frame

    def _packets(
        self, container: av.container.InputContainer, stream: av.VideoStream
    ) -> Iterator[Any]:
        """Yield the packets up to the end or to damage of the container; an empty one or None flushes the decoder."""
        packets = container.demux(stream)
        while True:
            try:
                yield next(packets)
            except StopIteration:
                return
            except av.FFmpegError:
                self._damaged += 1
                yield None
                return


def open_video(path: Path) -> av.container.InputContainer:
    """Open a file that holds a video, and nothing but that file."""
    try:
        # playlists cannot reach the network
        container = av.open(
            _opened(path),
            "r",
            options={"protocol_whitelist": "file"},
            metadata_errors="replace",  # titles of other encodings; nobody reads them
        )
    except (av.FFmpegError, OSError) as error:
        raise NoVideoError(
            f"{path} is not a video that can be read ({error.strerror}); a complete video file was needed: check that "
            "it plays, or convert it again"
        ) from error
    if not _pictures(container) or container.format.name in TEXT_FORMATS:
        container.close()
        raise NoVideoError(f"{path} holds no video; a video file was needed: check that it plays")
    return container


def _opened(path: Path) -> str | BinaryIO:
    """What FFmpeg is given: `file:` keeps it from reading a colon in the name as a protocol."""
    try:
        str(path).encode()
    except UnicodeEncodeError:  # PyAV takes names in UTF-8 alone
        return path.open("rb")
    return f"file:{path}"


def open_video_source(path: Path) -> Source:
    """Look at a video file without decoding it."""
    with open_video(path) as container:
        stream = _pictures(container)[0]
        aspect = stream.sample_aspect_ratio
        rate = stream.average_rate
        expected = stream.frames or _frames_by_duration(container, stream)
    reader = _Reader(path)
    return Source(
        path,
        kind="video",
        is_timed=True,
        expected_frames=expected,
        frames=reader.frames,
        notices=reader.notices,
        fps=float(rate) if rate else None,
        pixel_aspect=float(aspect) if aspect else 1.0,
    )


def write_video(
    path: Path,
    frames: Iterable[UInt8[np.ndarray, "height width 3"]],
    fps: Fraction,
    options: Mapping[str, str],
) -> Path:
    """Write RGB frames as H.264 in MP4, frame i at i / fps seconds.

    Args:
        path: The file.
        frames: Of even width and height, at least one; taken one at a time.
        fps: Frames per second.
        options: Of the encoder, x264.
    """
    with writing(path), av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options=dict(options))
        stream.pix_fmt = "yuv420p"
        for index, image in enumerate(frames):
            if index == 0:
                stream.height, stream.width = image.shape[:2]
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def _pictures(container: av.container.InputContainer) -> list[av.VideoStream]:
    """Return the streams of moving pictures: cover art is a video stream with one frame."""
    cover = av.stream.Disposition.attached_pic
    return [stream for stream in container.streams.video if not stream.disposition & cover]


def _frames_by_duration(container: av.container.InputContainer, stream: av.VideoStream) -> int:
    if container.duration is None or not stream.average_rate:
        return 0
    return round(container.duration / av.time_base * float(stream.average_rate))


def _ends_before_its_index(path: Path, stream: av.VideoStream) -> bool:
    """True where the file's table of frames points behind its end (the MP4 family)."""
    size = path.stat().st_size
    return any(entry.pos + entry.size > size for entry in stream.index_entries)


def _stated_end_s(container: av.container.InputContainer, stream: av.VideoStream) -> float:
    """End of the video as a Matroska header states it (such files have no table of frames up front); else 0."""
    if "matroska" not in container.format.name:
        return 0.0
    stated = re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)", stream.metadata.get("DURATION", ""))
    if stated:  # of this track; 00:00:01.600000000
        hours, minutes, seconds = (float(part) for part in stated.groups())
        return 3600 * hours + 60 * minutes + seconds
    is_alone = len(container.streams) == 1  # else the duration may be that of the sound
    return (container.duration or 0) / av.time_base if is_alone else 0.0


def _upright_rgb(frame: av.VideoFrame) -> np.ndarray:
    """Convert to RGB and apply the rotation that the file asks of players (FFmpeg: degrees counterclockwise)."""
    pixels = standard_range(frame) if is_hdr(frame) else frame.to_ndarray(format="rgb24")
    return np.rot90(pixels, k=round(frame.rotation / 90))
