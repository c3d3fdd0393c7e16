"""A training that lasts: memory, open files and the run's folder stay as they are."""

import os
import statistics
import time
from pathlib import Path

import processes
import pytest
from conftest import RUN, rows

EPOCHS = 1000


def memory(pid: int) -> int:
    """Resident bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def open_files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


@pytest.mark.slow
def test_a_thousand_epochs() -> None:
    process = processes.start("fit", "--model=SimpleNet", f"--trainer.max_epochs={EPOCHS}")
    assert process.pid is not None
    seen: list[tuple[int, int, int, int]] = []  # epoch, memory, open files, files in the folder
    while process.is_alive() and (not seen or seen[-1][0] < EPOCHS - 20):
        time.sleep(0.05)
        epoch = len(rows(RUN / "metrics.csv")) if (RUN / "metrics.csv").is_file() else 0
        if epoch > (seen[-1][0] if seen else 100):
            kept = [f.name for f in RUN.rglob("*") if f.is_file() and not f.name.endswith((".part", "new.ckpt"))]
            folder = len(kept)  # without what is there while a file is being written
            seen.append((epoch, memory(process.pid), open_files(process.pid), folder))
    assert processes.finish(process) == [0]
    times = [float(row["epoch_time"]) for row in rows(RUN / "metrics.csv")]
    early, late = seen[: len(seen) // 4], seen[-len(seen) // 4 :]
    grown = statistics.median(s[1] for s in late) - statistics.median(s[1] for s in early)
    print(f"{len(seen)} looks; memory {early[0][1] / 2**20:.0f} MiB, grown by {grown / 2**20:.2f} MiB; open files "
          f"{early[0][2]} to {late[-1][2]}; epoch time of epochs 100 to 300 {statistics.median(times[100:300]):.4f} s, "
          f"of the last 200 {statistics.median(times[-200:]):.4f} s")  # fmt: skip
    assert grown < 4 * 2**20
    assert max(s[2] for s in late) <= max(s[2] for s in early)
    assert max(s[3] for s in late) <= max(s[3] for s in early)
    assert {file.name for file in (RUN / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
