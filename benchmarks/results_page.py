"""All that was measured, on one page: `python -m benchmarks.results_page` makes `docs/RESULTS.md`.

The page is the head below and the pages that the benchmarks wrote, as they stand, their headings one level lower. A
benchmark that is run again changes its own page; then this one is made again.
"""

import posixpath
import re
from collections.abc import Iterator

from benchmarks.measure.common import PAGES, PROJECT

PAGE = PROJECT / "docs/RESULTS.md"
ORDER = (
    "readme_tables",
    "results",
    "footage",
    "worlds",
    "cameras",
    "loop",
    "ablation",
    "alignment",
    "longloop",
    "backbones",
)
"""Pages that come first, in this order; others follow by name."""
HEAD = """\
# Results

Made by `python -m benchmarks.results_page` from [benchmarks/pages](../benchmarks/pages/): change those, not this page.
Every part says which command made it, when, at which commit and on which machine; a `+` behind a commit: files had been
changed since. What falls short is in [LIMITS.md](LIMITS.md).

What these numbers are not:

* The `exact` sequences are renderings of a real kitchen, with exact truth; the `kitchen` sequences are a camera's own
  frames. People and animals are pasted into both.
* Constants of depth completion and mask evidence were set by hand while looking at these same sequences, those of the
  alignment of pairs while looking at scenes of the same generator.
* Scenes of pairs are synthetic, and the errors of their pairs independent: they compare optimizers on equal inputs and
  are no forecast for real networks.
* Seconds of "footage as people shoot it", of masks on rendered kinds and of cameras were taken while other work ran:
  up to eight times too long.
* Nothing was measured on a GPU (times of one are predictions), and no official checkpoint of another network was there.
"""


def assembled() -> str:
    """The page as the pages of the benchmarks make it."""
    names = {path.stem for path in PAGES.glob("*.md")}
    order = [*(name for name in ORDER if name in names), *sorted(names - set(ORDER))]
    texts = [(PAGES / f"{name}.md").read_text(encoding="utf-8").strip() for name in order]
    contents = "\n".join(f"* [{title}](#{anchor(title)})" for title in map(_title, texts))
    parts = [f"{HEAD}\n{contents}"]
    parts += [
        f"{lowered(text)}\n\n(From [{name}.md](../benchmarks/pages/{name}.md).)"
        for name, text in zip(order, texts, strict=True)
    ]
    return "\n\n".join(parts) + "\n"


def lowered(text: str) -> str:
    """A page with its headings one level lower and its links as they are seen from docs/."""
    return "\n".join(_relinked(line) for line in _shifted(text))


def anchor(title: str) -> str:
    """What a heading is called in links."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def _title(text: str) -> str:
    return text.splitlines()[0].removeprefix("# ")


def _shifted(text: str) -> Iterator[str]:
    in_code = False
    for line in text.splitlines():
        in_code ^= line.startswith("```")
        yield f"#{line}" if line.startswith("#") and not in_code else line


def _relinked(line: str) -> str:
    """Links to files beside a page lead there from docs/, too."""

    def seen(match: re.Match[str]) -> str:
        return f"]({posixpath.relpath(posixpath.join('benchmarks/pages', match[1]), 'docs')})"

    return re.sub(r"\]\((?!\w+:|#)([^)]+)\)", seen, line)


def main() -> None:
    """Make the page."""
    PAGE.write_text(assembled(), encoding="utf-8")
    print(f"{PAGE.relative_to(PROJECT)}: {len(assembled().splitlines())} lines")


if __name__ == "__main__":
    main()
