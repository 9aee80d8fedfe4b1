"""High dynamic range video as the standard range that the pipeline works in.

Numbers here that name no source were set by hand.
"""

from functools import cache

import av
import numpy as np
from av.video.reformatter import ColorTrc
from jaxtyping import Float32, UInt8, UInt16

KINDS = {int(ColorTrc.SMPTE2084): "PQ (HDR10)", int(ColorTrc.ARIB_STD_B67): "HLG"}
"""Transfer characteristics of high dynamic range (ITU-T H.273) and what they are called."""
WHITE_NITS = 203.0
"""Luminance of diffuse white (ITU-R BT.2408-7, section 2.1), candela per square metre: becomes white's neighbour ..."""
PEAK_NITS = 1000.0
"""... and brighter things up to this share the rest of the range. The nominal peak of HLG (ITU-R BT.2100-2)."""
TO_BT709 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32
)
"""Linear BT.2020 primaries to those of BT.709 (ITU-R BT.2087-0, annex 2)."""
HLG_GAMMA = 1.2
"""Exponent of HLG's system at that peak (ITU-R BT.2100-2, table 5)."""
_LUMINANCE = np.array([0.2627, 0.6780, 0.0593], np.float32)
"""Shares of red, green and blue in the luminance (ITU-R BT.2020-2)."""
_LEVELS = 1 << 16
"""Entries of the tables by which levels are converted: those of 16 bits, more than a video has."""


def is_hdr(frame: av.VideoFrame) -> bool:
    """Whether a decoded frame has a transfer function of high dynamic range."""
    return int(frame.color_trc) in KINDS


def standard_range(frame: av.VideoFrame) -> UInt8[np.ndarray, "height width 3"]:
    """Tone-map a frame that `is_hdr` to RGB with the transfer function of BT.709's pictures on a screen (sRGB).

    Light is made linear (ITU-R BT.2100-2, tables 4 and 5), its luminance compressed (Reinhard et al., Photographic Tone
    Reproduction for Digital Images, SIGGRAPH 2002, Eq. 4), and its primaries changed.
    """
    signal: UInt16[np.ndarray, "height width 3"] = frame.to_ndarray(format="rgb48le")
    light = _linear(int(frame.color_trc))[signal]  # 1 = diffuse white
    luminance = light @ _LUMINANCE
    if int(frame.color_trc) == int(ColorTrc.ARIB_STD_B67):
        light, luminance = _displayed(light, luminance)
    peak = PEAK_NITS / WHITE_NITS
    light *= ((1 + luminance / peak**2) / (1 + luminance))[..., None]
    shown = (light @ TO_BT709.T).clip(0, 1)
    return np.asarray(_screen()[np.round(shown * (_LEVELS - 1)).astype(np.uint16)])


@cache
def _linear(transfer: int) -> Float32[np.ndarray, " levels"]:
    """Light by level of the signal: of PQ on a display, diffuse white being 1; of HLG in the scene, its peak 1."""
    signal = np.linspace(0, 1, _LEVELS)
    if transfer == int(ColorTrc.SMPTE2084):
        m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
        root = signal ** (1 / m2)
        nits = 10_000 * (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1)
        return np.asarray(nits / WHITE_NITS, np.float32)
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
    return np.asarray(scene, np.float32)


def _displayed(
    scene: Float32[np.ndarray, "height width 3"], luminance: Float32[np.ndarray, "height width"]
) -> tuple[Float32[np.ndarray, "height width 3"], Float32[np.ndarray, "height width"]]:
    """HLG's light of a display, as part of diffuse white, and its luminance (BT.2100-2, table 5: gamma 1.2 of Y)."""
    gain = PEAK_NITS / WHITE_NITS * np.maximum(luminance, 1e-6) ** (HLG_GAMMA - 1)
    return scene * gain[..., None], luminance * gain


@cache
def _screen() -> UInt8[np.ndarray, " levels"]:
    """8-bit level by linear light (IEC 61966-2-1)."""
    light = np.linspace(0, 1, _LEVELS)
    level = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.round(255 * level).astype(np.uint8)
