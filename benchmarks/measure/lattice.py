"""How much of the lattice of patches is left in maps made of tokens; `benchmarks.tokens` draws it.

A smooth field is sampled to tokens of 14 or 16 pixels and brought to 1/4 of the image, bilinearly and by
`recon4d.masks.d2mif.feed`. **Lattice energy** is the energy of the error (result minus field) at frequencies within the
field's band around the lattice frequency, one cycle per patch, and around twice that, along either axis: there the
field itself has nothing, so whatever is there is an image of the lattice. The error is windowed (Hann) against the
borders. Higher harmonics fold onto the field where a patch has 14 pixels, and are left out.

Numbers here that name no source were set by hand.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float64

from recon4d.masks.d2mif.feed import resample

Field = Float64[np.ndarray, "rows cols"]
How = Literal["mean", "centre"]

SCALE = 4
"""Pixels of the image per sample of the maps."""
WAVES = 40
"""Plane waves of a random field."""
BAND = 0.35
"""Highest frequency of a field along any direction, cycles per token; tokens could tell up to 0.5."""
HARMONICS = (1, 2)
"""Cycles per patch at which the lattice shows."""
TOKENS = {14: 36, 16: 32}
"""Tokens along both axes by pixels per patch: images of 504 and 512 pixels."""


@dataclass(frozen=True)
class RandomField:
    """A sum of plane waves; smooth, and known everywhere."""

    waves: Float64[np.ndarray, "waves 2"]
    """Radians per pixel along u and v."""
    phases: Float64[np.ndarray, " waves"]

    @classmethod
    def make(cls, rng: np.random.Generator, patch_px: int) -> "RandomField":
        """Draw one; its waves are uniform over the disc of frequencies up to `BAND`."""
        frequency = BAND * np.sqrt(rng.random(WAVES)) / patch_px
        angle, phases = 2 * np.pi * rng.random((2, WAVES))
        directions = np.stack((np.cos(angle), np.sin(angle)), axis=1)
        return cls(2 * np.pi * frequency[:, None] * directions, phases)

    def at(self, step_px: float, count: int) -> Field:
        """Values at the centres of `count` x `count` squares with sides of `step_px`."""
        place = (np.arange(count) + 0.5) * step_px
        across = np.exp(1j * (place[:, None] * self.waves[:, 0] + self.phases))
        down = np.exp(1j * place[:, None] * self.waves[:, 1])
        return np.asarray((down @ across.T).real / np.sqrt(WAVES / 2))

    def tokens(self, patch_px: int, how: How) -> Field:
        """Values of the tokens: the field at the centre of each patch, or its mean over the patch's pixels."""
        count = TOKENS[patch_px]
        if how == "centre":
            return self.at(patch_px, count)
        pixels = self.at(1, count * patch_px)
        return np.asarray(pixels.reshape(count, patch_px, count, patch_px).mean((1, 3)))


@dataclass(frozen=True)
class Compared:
    """One field at `SCALE`, as it is and from its tokens."""

    patch_px: int
    tokens: Field
    truth: Field
    bilinear: Field
    ours: Field


def compare(field: RandomField, patch_px: int, how: How) -> Compared:
    """Sample a field to tokens and bring them to `SCALE` in both ways."""
    tokens = field.tokens(patch_px, how)
    length = TOKENS[patch_px] * patch_px
    maps = torch.from_numpy(tokens)[None, None]
    spread = resample(maps, patch_px, (length, length), SCALE)[0, 0].numpy()
    truth = field.at(SCALE, length // SCALE)
    return Compared(patch_px, tokens, truth, bilinear(tokens, patch_px), spread)


def bilinear(tokens: Field, patch_px: int) -> Field:
    """Tokens at `SCALE` by linear interpolation along both axes, centres aligned; constant beyond the last centres."""
    count = len(tokens)
    centres = (np.arange(count) + 0.5) * patch_px
    samples = (np.arange(count * patch_px // SCALE) + 0.5) * SCALE
    weights = np.stack([np.interp(samples, centres, one) for one in np.eye(count)], axis=1)
    return np.asarray(weights @ tokens @ weights.T)


def spectrum(values: Field) -> Field:
    """Energy by frequency, 0 in the middle, of values under a Hann window; sums to their (windowed) mean square."""
    window = np.hanning(len(values) + 2)[1:-1]
    tapered = values * np.outer(window, window) / (window**2).mean()
    energy = np.abs(np.fft.fft2(tapered)) ** 2 / values.size**2
    return np.asarray(np.fft.fftshift(energy))


def is_lattice(patch_px: int) -> Bool[np.ndarray, "rows cols"]:
    """Frequencies of `spectrum` that count as the lattice's."""
    count = TOKENS[patch_px] * patch_px // SCALE
    frequency = np.fft.fftshift(np.fft.fftfreq(count))  # cycles per sample
    lattice, band = SCALE / patch_px, BAND * SCALE / patch_px
    near = np.zeros(count, bool)
    for k in (*HARMONICS, *(-k for k in HARMONICS)):
        apart = frequency - k * lattice
        near |= np.abs(apart - np.round(apart)) <= band
    return np.asarray(near[:, None] | near[None, :])


def lattice_energy(result: Field, truth: Field, patch_px: int) -> float:
    """Energy of the error at the lattice's frequencies; fields have energy 1."""
    return float(spectrum(result - truth)[is_lattice(patch_px)].sum())


def table(seeds: Sequence[int]) -> list[tuple[int, How, float, float]]:
    """Lattice energies (patch, sampling, bilinear, ours), mean over random fields."""
    rows: list[tuple[int, How, float, float]] = []
    for patch_px in TOKENS:
        hows: tuple[How, How] = ("mean", "centre")
        for how in hows:
            found = []
            for seed in seeds:
                rng = np.random.default_rng(seed)
                one = compare(RandomField.make(rng, patch_px), patch_px, how)
                found.append(
                    [lattice_energy(x, one.truth, patch_px) for x in (one.bilinear, one.ours)]
                )
            linear, ours = np.mean(found, axis=0).tolist()
            rows.append((patch_px, how, linear, ours))
    return rows
