"""Fonts of this machine for letters that matplotlib's own font lacks, such as Chinese ones."""

from collections.abc import Iterable
from contextlib import suppress

# of fonts that have as many of the letters the first of these, whose Chinese letters are of the form used in China
PREFERRED = (
    *("Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "Source Han Sans CN", "Microsoft YaHei", "PingFang SC"),
    *("Hiragino Sans GB", "Heiti SC", "STHeiti", "WenQuanYi Zen Hei", "WenQuanYi Micro Hei", "SimHei"),
)


def families_with(letters: Iterable[str]) -> list[str]:
    """The families, as few as can be, that have all of the letters which any font here has; matplotlib knows them then.

    It looks into every font, which takes 0.3 s where there are 400, and a second where matplotlib knew none of them.
    """
    from matplotlib.font_manager import findSystemFonts, fontManager
    from matplotlib.ft2font import FT2Font

    unreadable = OSError, RuntimeError, ValueError  # what FreeType and matplotlib raise for a font
    known = {font.fname for font in fontManager.ttflist}  # when matplotlib last looked for fonts
    for file in sorted({*findSystemFonts()} - known):
        with suppress(*unreadable):
            fontManager.addfont(file)
    wanted, has = set(letters), dict[str, set[str]]()
    for font in fontManager.ttflist:
        with suppress(*unreadable):
            face = FT2Font(font.fname, face_index=font.index)
            if not font.name.startswith("Last Resort"):  # which has a box for everything
                has.setdefault(font.name, set()).update(letter for letter in wanted if face.get_char_index(ord(letter)))
    order = sorted(has, key=lambda name: (PREFERRED.index(name) if name in PREFERRED else len(PREFERRED), name))
    found = []
    while order and has[best := max(order, key=lambda name: len(has[name] & wanted))] & wanted:
        found.append(best)
        wanted -= has[best]
    return found
