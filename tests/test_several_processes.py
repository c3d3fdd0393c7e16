"""Lightning's own flags for several devices, on two CPU processes, each of which starts the script anew."""

import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import processes
import pytest
from conftest import ROOT, RUN, SCRIPT, Kindling, rows, weights
from test_interrupted import assert_same, next_second
from torch.utils.data import BatchSampler

from kindling.data import SyntheticTabular
from kindling.data.loading import EpochShuffle, Shares
from kindling.errors import DataError
from kindling.models import SimpleNet

LONG = ("--trainer.max_epochs=15", "--checkpoint_every=7")
TWO = ("--trainer.accelerator=cpu", "--trainer.devices=2", "--trainer.strategy=ddp")


def command(*args: str) -> str:
    line = [sys.executable, str(SCRIPT), *args]
    result = subprocess.run(line, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture
def two_process_run() -> str:
    return command("fit", "--model=SimpleNet", "--trainer.max_epochs=3", "--test_after_fit=true", *TWO)


@pytest.mark.slow
def test_ddp_from_fit_to_test(two_process_run: str) -> None:
    lines = two_process_run.splitlines()
    assert [line.split("  ")[0] for line in lines if line.startswith("epoch")] == [
        "epoch 1/3",
        "epoch 2/3",
        "epoch 3/3",
    ]
    assert [f.name for f in Path("lightning_logs").iterdir()] == ["version_0"]
    assert [(row["epoch"], row["step"]) for row in rows(RUN / "metrics.csv")] == [("1", "13"), ("2", "26"), ("3", "39")]
    both = json.loads((RUN / "test.json").read_text())
    assert both["baseline/acc"] > 0.5
    command("test", "--ckpt_path", "best")
    assert json.loads((RUN / "test.json").read_text()) == pytest.approx(both)


@pytest.mark.slow
def test_ddp_resumes_and_predicts_as_one_process_does(two_process_run: str) -> None:
    command("fit", "--ckpt_path=last", "--trainer.max_epochs=5")
    assert [row["epoch"] for row in rows(RUN / "metrics.csv")] == list("12345")
    command("fit", "--model=SimpleNet", "--trainer.max_epochs=5", *TWO)
    unbroken = rows(RUN.with_name("version_1") / "metrics.csv")
    for a, b in zip(rows(RUN / "metrics.csv"), unbroken, strict=True):
        assert a["val/loss"] == b["val/loss"]

    command("predict", "--ckpt_path=version_0", *TWO)
    two = (RUN / "predictions.csv").read_text()
    command("predict", "--ckpt_path=version_0")
    assert len(two.splitlines()) == 201
    assert two == (RUN / "predictions.csv").read_text()


FIT = ("fit", "--model=SimpleNet", "--trainer.accelerator=cpu", "--trainer.strategy=ddp")


def train_in(count: int, *options: str) -> Path:
    """Train in as many processes, with batches that are 32 samples over all of them; returns the run."""
    several = (f"--trainer.devices={count}", f"--data.batch_size={32 // count}")
    assert processes.finish(*processes.start_several(count, *FIT, *several, *options)) == [0] * count
    return max(Path("lightning_logs").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 4])
def test_several_processes_train_as_one_does(count: int) -> None:
    # 801 samples leave one for the last batch, which one process gets; the test set is smaller than their number
    sizes = ("--data.train_size=801", "--data.val_size=101", "--data.test_size=3")
    options = (*sizes, "--trainer.max_epochs=2", "--test_after_fit=true")
    one, several = train_in(1, *options), train_in(count, *options)
    a, b = (weights(run / "checkpoints/last.ckpt") for run in (one, several))
    assert max((a[name] - b[name]).abs().max() for name in a) < 1e-6
    for x, y in zip(rows(one / "metrics.csv"), rows(several / "metrics.csv"), strict=True):
        assert {k: float(v) for k, v in x.items() if "/" in k or k == "step"} == pytest.approx(
            {k: float(v) for k, v in y.items() if "/" in k or k == "step"}, rel=1e-5
        )
    x, y = (json.loads((run / "test.json").read_text()) for run in (one, several))
    assert {k: v for k, v in x.items() if "/" in k} == pytest.approx({k: v for k, v in y.items() if "/" in k}, rel=1e-5)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("samples", [1, 8, 37, 64])
def test_each_sample_is_dealt_out_once(count: int, samples: int) -> None:
    shuffled = EpochShuffle(range(samples), seed=3)
    dealt = [list(Shares(shuffled, 4, rank=rank, world=count)) for rank in range(count)]
    assert sorted(n for batches in dealt for batch in batches for n in batch) == list(range(samples))
    alone = list(BatchSampler(shuffled, 4 * count, drop_last=False))
    assert [len(batches) for batches in dealt] == [len(alone)] * count
    for whole, *parts in zip(alone, *dealt, strict=True):
        assert sorted(whole) == sorted(n for part in parts for n in part)


@pytest.mark.slow
def test_prediction_by_four_processes(run: Path) -> None:
    written = []
    for count in (1, 4):
        cpus = ("--trainer.accelerator=cpu", "--trainer.strategy=ddp", f"--trainer.devices={count}")
        predict = ("predict", "--ckpt_path=best", "--data.test_size=6", *cpus)
        assert processes.finish(*processes.start_several(count, *predict)) == [0] * count
        written.append(rows(run / "predictions.csv"))
    one, four = written
    assert len(one) == 6
    for a, b in zip(one, four, strict=True):
        assert [*a.values()][:-2] == [*b.values()][:-2]
        assert [float(p) for p in [*a.values()][-2:]] == pytest.approx([float(p) for p in [*b.values()][-2:]], abs=1e-6)


def spoil_a_sample() -> None:
    setup = SyntheticTabular.setup

    def spoilt(self: SyntheticTabular, stage: str) -> None:
        setup(self, stage)
        self.train_set.tensors[0][123] = float("nan")

    SyntheticTabular.setup = spoilt


@pytest.mark.slow
def test_all_processes_stop_where_one_of_them_diverges() -> None:
    both = processes.start_several(2, *FIT, "--trainer.devices=2", "--data.batch_size=16", first=spoil_a_sample)
    assert processes.finish(*both) == [2, 2]
    answers = [Path(f"output{rank}.txt").read_text() for rank in range(2)]
    found = re.search(
        r"the loss is nan at step (\d+) \(epoch 1, learning rate 0.01\), training samples (.+): see", answers[0]
    )
    assert "the loss is nan" not in answers[1]  # said once
    assert found
    assert "123" in found[2].split(", ")
    assert len(found[2].split(", ")) == 16
    assert not RUN.exists()  # nothing was saved yet


def fail_in_one(rank: str) -> None:
    setup = SyntheticTabular.setup

    def failing(self: SyntheticTabular, stage: str) -> None:
        setup(self, stage)
        if os.environ["RANK"] in rank:
            raise DataError("the disk of this machine is gone: mount it")

    SyntheticTabular.setup = failing


@pytest.mark.slow
@pytest.mark.parametrize(("failing", "saying"), [("0", "0"), ("1", "1"), ("01", "0")])
def test_one_line_for_a_mistake_that_all_find_and_none_is_lost(failing: str, saying: str) -> None:
    both = processes.start_several(2, *FIT, "--trainer.devices=2", first=partial(fail_in_one, failing))
    assert processes.finish(*both) == [2, 2]
    for rank in "01":
        said = Path(f"output{rank}.txt").read_text()
        assert said.count("kindling: error: the disk of this machine is gone") == (rank in saying), said
        assert "Traceback" not in said


@pytest.mark.parametrize(("ranks", "lines"), [("RANK LOCAL_RANK", 0), ("LOCAL_RANK", 1), ("SLURM_LOCALID", 0)])
def test_one_line_before_the_processes_meet(
    kindling: Kindling, monkeypatch: pytest.MonkeyPatch, ranks: str, lines: int
) -> None:
    for name in ranks.split():
        monkeypatch.setenv(name, "1")
    kindling("fit", "--model=Nothing", code=2)
    assert kindling.err.count("\n") == lines


def slow_down() -> None:
    predict_step = SimpleNet.predict_step

    def slowly(self: SimpleNet, batch: tuple) -> object:
        Path(f"predicting{os.environ['RANK']}").touch()
        time.sleep(0.1)
        return predict_step(self, batch)

    SimpleNet.predict_step = slowly


@pytest.mark.slow
@pytest.mark.parametrize("told", ["0", "1", "01"])
def test_sigterm_ends_several_processes(run: Path, told: str) -> None:
    options = ("--data.test_size=30000", "--trainer.accelerator=cpu", "--trainer.strategy=ddp", "--trainer.devices=2")
    both = processes.start_several(2, "predict", "--ckpt_path=best", *options, first=slow_down)
    processes.wait_for(lambda: Path("predicting0").exists() and Path("predicting1").exists(), both[0])
    for rank in told:
        both[int(rank)].terminate()
    if len(told) == 1:
        both[int(told)].join(5)
        both[1 - int(told)].terminate()  # as torchrun and srun do when one has ended
    assert processes.finish(*both) == [143, 143]
    said = "".join(Path(f"output{rank}.txt").read_text() for rank in range(2))
    assert said.count("kindling: stopped by SIGTERM\n") == 1
    assert "Traceback" not in said
    assert not (run / "predictions.csv").exists()


@pytest.mark.slow
def test_sigterm_ends_the_processes_that_lightning_started(run: Path) -> None:
    line = [sys.executable, str(SCRIPT), "predict", "--ckpt_path=best", "--data.test_size=9000000"]
    first = subprocess.Popen([*line, *TWO], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    children = Path(f"/proc/{first.pid}/task/{first.pid}/children")
    limit = time.monotonic() + 60
    while not (other := children.read_text().split()) and time.monotonic() < limit:
        time.sleep(0.1)
    time.sleep(15)
    start = time.monotonic()
    first.terminate()
    said, _ = first.communicate(timeout=60)
    assert first.returncode == 143
    assert time.monotonic() - start < 10
    assert said.splitlines()[-1] == "kindling: stopped by SIGTERM"
    assert "Traceback" not in said
    left = [Path(f"/proc/{pid}/cmdline") for pid in other]
    assert not any(file.exists() and file.read_text() for file in left)  # a zombie's is empty
    assert not (run / "predictions.csv").exists()


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("unbroken"))
        return train_in(2, *LONG).absolute()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_killed_at_a_random_moment(unbroken: Path, seed: int) -> None:
    draw = random.Random(seed)
    started = (unbroken / "config.yaml").stat().st_mtime
    moment = draw.uniform(0, (unbroken / "checkpoints/last.ckpt").stat().st_mtime - started)
    while True:
        both = processes.start_several(2, *FIT, "--trainer.devices=2", "--data.batch_size=16", *LONG)
        processes.wait_for((RUN / "checkpoints/last.ckpt").is_file, both[0])
        time.sleep(moment)
        killed = draw.choice(both)  # the other one finds itself alone
        killed.kill()
        codes = processes.finish(*both)
        if -signal.SIGKILL in codes:
            break
        shutil.rmtree("lightning_logs")  # too late
        moment /= 2
    other = Path(f"output{1 - both.index(killed)}.txt").read_text()
    assert "Traceback" not in other
    assert codes[1 - both.index(killed)] == 2
    next_second()
    assert processes.finish(*processes.start_several(2, "fit", "--ckpt_path=last")) == [0, 0]
    assert_same(RUN, unbroken)


@pytest.mark.slow
def test_torchrun_on_two_nodes_restarts_a_killed_worker(unbroken: Path) -> None:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        meet = f"127.0.0.1:{free.getsockname()[1]}"
    torchrun = str(Path(sys.executable).with_name("torchrun"))
    launch = [torchrun, "--nnodes=2", "--nproc-per-node=1", "--max-restarts=3", "--rdzv-backend=c10d", "--rdzv-id=test"]
    script = [str(SCRIPT), *FIT, *LONG, "--trainer.num_nodes=2", "--data.batch_size=16"]
    command = [*launch, f"--rdzv-endpoint={meet}", *script, "--ckpt_path=auto"]
    # torch 2.15 keeps the addresses of the processes before a restart otherwise, and tries to meet those
    environment = os.environ | {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    with Path("nodes.txt").open("w") as output:
        nodes = [subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT) for _ in range(2)]
        limit = time.monotonic() + 120
        while not (RUN / "checkpoints/previous.ckpt").is_file():
            assert time.monotonic() < limit, Path("nodes.txt").read_text()
            time.sleep(0.01)
        workers = Path(f"/proc/{nodes[0].pid}/task/{nodes[0].pid}/children").read_text().split()
        os.kill(int(workers[0]), signal.SIGKILL)
        codes = [node.wait(200) for node in nodes]
    said = Path("nodes.txt").read_text()
    assert codes == [0, 0], said
    assert f"Resuming from {RUN}/checkpoints/last.ckpt" in said
    assert_same(RUN, unbroken)


@pytest.mark.slow
def test_slurm_requeues_and_the_job_goes_on(kindling: Kindling) -> None:
    for name, script in (("srun", 'exec "$@"'), ("scontrol", 'echo "$@" >> requeued.txt')):
        Path(name).write_text(f"#!/bin/sh\n{script}\n")
        Path(name).chmod(0o755)
    shutil.copytree(ROOT / "scripts", "scripts")
    job = {"SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "kindling", "SLURM_NNODES": "1", "SLURM_NTASKS_PER_NODE": "1"}
    job |= {
        "SLURM_NTASKS": "1",
        "SLURM_PROCID": "0",
        "SLURM_LOCALID": "0",
        "SLURM_NODEID": "0",
        "SLURM_NODELIST": "127.0.0.1",
    }
    path = os.pathsep.join([str(Path.cwd()), str(Path(sys.executable).parent), os.environ["PATH"]])
    options = ["--model=SimpleNet", "--trainer.max_epochs=100", "--trainer.accelerator=cpu"]
    submit = ["bash", "scripts/train.sbatch", *options]
    run = Path("runs/7") / RUN
    first = subprocess.Popen(submit, env=os.environ | job | {"PATH": path})
    limit = time.monotonic() + 120
    while not (run / "metrics.csv").is_file() and time.monotonic() < limit:
        time.sleep(0.01)
    os.kill(int(Path(f"/proc/{first.pid}/task/{first.pid}/children").read_text()), signal.SIGUSR1)
    assert first.wait(60) == 138
    assert Path("requeued.txt").read_text() == "requeue 7\n"
    assert len(rows(run / "metrics.csv")) < 100
    again = subprocess.run(submit, env=os.environ | job | {"PATH": path}, capture_output=True, text=True, check=True)
    assert f"Resuming from {run}/checkpoints/last.ckpt" in again.stdout
    kindling("fit", *options)
    assert_same(run, RUN)
