"""``make release``, but for what it fetches: builds in this environment, and tries the wheel beside its packages."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, needs

from kindling import __version__


@pytest.mark.slow
@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="what is released is compared with what git has")
def test_what_is_released_is_whole_and_works_without_the_source_tree() -> None:
    needs("SimpleNet", "SyntheticTabular")
    command = [sys.executable, str(ROOT / "scripts/release.py"), "--offline"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.fullmatch(
        rf"kindling {__version__} would be in dist/: kindling-{__version__}.tar.gz \((\d+) files\), "
        rf"kindling-{__version__}-py3-none-any.whl; test/acc (0\.\d+|1\.0); .+\n",
        done.stdout,
    )
    assert found
    assert int(found[1]) > 200
    assert float(found[2]) > 0.7


def test_the_changelog_begins_with_the_version_of_the_package() -> None:
    for file, content in (("scripts/release.py", None), ("src/kindling/__init__.py", None), ("CHANGELOG.md", "## 9.9")):
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Path(file).write_text(content or (ROOT / file).read_text(encoding="utf-8"), encoding="utf-8")
    done = subprocess.run([sys.executable, "scripts/release.py"], capture_output=True, text=True, check=False)
    line = f"the package has the version {__version__}, and CHANGELOG.md begins with 9.9: make them the same\n"
    assert (done.returncode, done.stderr) == (1, line)
