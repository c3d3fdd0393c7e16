"""Windows and macOS, as far as that can be told without them: what they lack, and how they start processes."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT, needs
from windows import is_lacking, lacking

SOURCES = [*sorted((ROOT / "src").rglob("*.py")), *sorted((ROOT / "scripts").glob("*.py"))]
OTHERS = ("win32", "darwin")


def foreign(file: Path) -> Iterator[str]:
    """What a file uses of the standard library that is not on all platforms, and without having looked."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    guards: dict[ast.AST, str] = {}  # the conditions around each node

    def walk(node: ast.AST, conditions: str) -> None:
        guards[node] = conditions
        if isinstance(node, ast.If | ast.IfExp):
            conditions += f" {ast.unparse(node.test)}"
        elif isinstance(node, ast.BoolOp | ast.comprehension):
            conditions += f" {ast.unparse(node)}"
        for child in ast.iter_child_nodes(node):
            walk(child, conditions)

    walk(tree, "")
    for node, conditions in guards.items():
        if "sys.platform" in conditions:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if any(is_lacking(alias.name, one) for one in OTHERS))
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {alias.name for alias in node.names}
            yield from (f"{node.module}.{name}" for one in OTHERS for name in names & lacking(node.module, one))
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module, name = node.value.id, node.attr
            looked = f"hasattr({module}, '{name}')" in conditions
            if not looked and any(name in lacking(module, one) for one in (*OTHERS, "linux")):
                yield f"{module}.{name}"


def test_what_other_systems_lack_is_used_only_where_it_was_looked_for(tmp_path: Path) -> None:
    assert {"SIGKILL", "SIGUSR1", "pthread_kill"} <= lacking("signal", "win32")
    assert {"fork", "sched_getaffinity", "getpgid", "sysconf", "mkfifo"} <= lacking("os", "win32")
    assert not {"open", "replace", "truncate", "execv", "dup2"} & lacking("os", "win32")
    assert lacking("signal", "linux") >= {"CTRL_BREAK_EVENT", "SIGBREAK"}
    assert "sched_getaffinity" in lacking("os", "darwin")
    assert [
        name for name in ("fcntl", "pwd", "termios", "resource", "os", "sys", "json") if is_lacking(name, "win32")
    ] == [*("fcntl", "pwd", "termios", "resource")]
    example = tmp_path / "example.py"
    example.write_text(
        "import fcntl, os, signal\nfrom os import fork\nos.kill(1, signal.SIGKILL)\n"
        "if hasattr(os, 'nice'): os.nice(1)\nif sys.platform != 'win32': os.getuid()\n",
        encoding="utf-8",
    )
    assert sorted(foreign(example)) == ["fcntl", "os.fork", "signal.SIGKILL"]
    assert {str(file.relative_to(ROOT)): found for file in SOURCES if (found := [*foreign(file)])} == {}


SPAWNED = """
import multiprocessing

import torch
from torch.utils.data import Dataset

import kindling
from kindling.data import FromDatasets


class Points(Dataset):
    def __len__(self):
        return 60

    def __getitem__(self, index):
        return torch.rand(3) + index % 2, index % 2


def trained(num_workers):
    data = FromDatasets(Points(), Points(), Points(), class_names=["a", "b"], batch_size=10, num_workers=num_workers)
    run = kindling.fit(kindling.models.SimpleNet, data, max_epochs=2, accelerator="cpu")
    return kindling.load(run.folder, data=data)[0].state_dict()


if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    alone, helped = trained(0), trained(1)
    assert all(torch.equal(alone[name], helped[name]) for name in alone)
    print("the same")
"""


@pytest.mark.slow
def test_worker_processes_that_start_anew_read_the_same(tmp_path: Path) -> None:
    """As they do on Windows and macOS; on Linux they are copies of the one that trains."""
    needs("SimpleNet")
    Path("mine.py").write_text(SPAWNED, encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        [sys.executable, "mine.py"], env=environment, capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("the same\n")


AS_ON_WINDOWS = """
import importlib, os, pkgutil, shutil, signal, sys, threading, time, urllib.request
from pathlib import Path

import windows
windows.pretend()

import kindling
from kindling.cli import main, sweeping
from kindling.runs import atomic
from kindling.runs.folder import Run

sys.argv = ["scripts/main.py"]

def run(code, *args):
    assert main(list(args)) == code, args

for module in pkgutil.walk_packages(kindling.__path__, "kindling."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
assert atomic.sys.platform == "win32" and not hasattr(atomic.os, "fork")

short = ("--trainer.max_epochs", "2", "--data.train_size", "200", "--data.val_size", "50", "--data.test_size", "50")
run(0, "fit", "--model", "SimpleNet", *short)
run(0, "fit", "--ckpt_path", "last", "--trainer.max_epochs", "3", "--test_after_fit", "true")
run(0, "test", "--ckpt_path", "best")
run(0, "predict", "--ckpt_path", "best")
run(0, "export", "--ckpt_path", "best", "--format", "weights")
run(0, "export", "--ckpt_path", "best", "--format", "onnx")
run(2, "fit", "--model", "SimpleNet", *short, "--data.batch_size", "201")
assert [folder.name for folder in Path("lightning_logs").glob("*")] == ["version_0"]
left = {file.name for file in Path("lightning_logs/version_0").rglob("*") if file.suffix in (".part", ".lock")}
assert left <= {".lock", ".writing.lock"}, left  # which the lock of Windows removes itself

# a sweep, whose processes are started anew as on Windows, and which Ctrl-Break ends with all saved
sweeping.CODE = f"import windows; windows.pretend(); {sweeping.CODE}"
swept = ("sweep", "--model", "SimpleNet", "--vary.lr", "[0.01, 0.02]", "--trials", "2")
run(0, *swept, *short)

sent = []

def send(number, when):
    def wait():
        while not when():
            time.sleep(0.02)
        sent.append(time.time())
        os.kill(os.getpid(), number)
    threading.Thread(target=wait).start()

trial = Path("lightning_logs/sweep_2/trial_0")
send(signal.SIGUSR2, lambda: (trial / "metrics.csv").is_file() and len(Run(trial).metrics()) > 1)
run(128 + signal.SIGUSR2, *swept, "--trainer.max_epochs", "100000")
assert Run(trial).last.stat().st_mtime > sent[0]

# a server without uvloop
def asked():
    try:
        with urllib.request.urlopen("http://127.0.0.1:8765/health") as answer:
            return answer.status == 200
    except OSError:
        return False
send(signal.SIGTERM, asked)
run(143, "serve", "--export", "lightning_logs/version_0/export", "--port", "8765")

# a file that another program reads for a moment, and then for long
Path("old").write_text("old")
part = Path("part")
part.write_text("new")
reader = open("old")
threading.Timer(0.3, reader.close).start()
atomic.replace(part, Path("old"))
assert Path("old").read_text() == "new"
part.write_text("newer")
atomic.IN_USE = 0.2
with open("old") as reader:
    try:
        atomic.replace(part, Path("old"))
    except PermissionError:
        print("refused")
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="it makes Windows of a Linux")
def test_commands_run_on_a_linux_that_lacks_what_windows_lacks() -> None:
    needs("SimpleNet", "SyntheticTabular")
    path = os.pathsep.join([str(ROOT / "tests"), str(ROOT / "src")])
    environment = os.environ | {"PYTHONPATH": path, "PYTHONWARNINGS": "default"}
    done = subprocess.run(
        [sys.executable, "-c", AS_ON_WINDOWS], env=environment, capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("refused\n")
