"""``sweep --storage``: machines that share a sweep on a real PostgreSQL server, which the tests start on loopback."""

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

import psycopg
import pytest
import yaml
from conftest import ROOT, Kindling, rows
from test_sweep import definition, start

from kindling.errors import RunError
from kindling.sweep.storage import Server
from kindling.sweep.study import Definition, Study, Trial

PROGRAMS = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)  # of Debian's package
T = TypeVar("T")
SWEEP, OTHER = Path("lightning_logs/sweep_0"), Path("lightning_logs/sweep_1")


class Postgres:
    """A server with the user ``me``, whose password is ``s3cr&t``."""

    def __init__(self, folder: Path) -> None:
        assert PROGRAMS is not None
        self.folder, self.user = folder, "postgres" if os.getuid() == 0 else None  # which refuses to run as root
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        if self.user:
            shutil.chown(folder, self.user)
        init = [str(PROGRAMS / "initdb"), "-D", f"{folder}/data", "-U", "postgres", "-N", "--locale=C", "-E", "UTF8"]
        subprocess.run(init, user=self.user, check=True, capture_output=True, cwd=folder)
        lines = ["host all postgres 127.0.0.1/32 trust", "host all all 127.0.0.1/32 scram-sha-256"]
        (folder / "data/pg_hba.conf").write_text("\n".join(lines) + "\n")
        self.start()
        self.ask("CREATE ROLE me LOGIN PASSWORD 's3cr&t'")

    def start(self) -> None:
        assert PROGRAMS is not None
        options = ["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-k", str(self.folder)]
        with (self.folder / "log").open("ab") as log:
            command = [str(PROGRAMS / "postgres"), "-D", f"{self.folder}/data", "-p", str(self.port), *options]
            self.process = subprocess.Popen(command, user=self.user, stderr=log, cwd=self.folder)
        for _ in range(200):
            try:
                self.ask("SELECT 1")
            except psycopg.OperationalError:
                time.sleep(0.05)
            else:
                return
        raise TimeoutError((self.folder / "log").read_text())

    def stop(self) -> None:
        self.process.send_signal(signal.SIGQUIT)  # at once
        self.process.wait()

    def ask(self, query: str) -> list[tuple[object, ...]]:
        with psycopg.connect(host="127.0.0.1", port=self.port, user="postgres", autocommit=True) as connection:
            answer = connection.execute(query.encode())
            return answer.fetchall() if answer.description else []

    def address(self, database: str, password: str = "s3cr&t") -> str:
        return f"postgresql://me:{password}@127.0.0.1:{self.port}/{database}"

    def database(self, name: str) -> str:
        """The address of a new one."""
        self.ask(f"CREATE DATABASE {name} OWNER me")
        return self.address(name)


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    if PROGRAMS is None and "CI" not in os.environ:
        pytest.skip("there is no PostgreSQL server here: apt-get install postgresql")
    with tempfile.TemporaryDirectory(prefix="kindling-") as folder:  # pytest's own is for this user alone
        server = Postgres(Path(folder))
        try:
            yield server
        finally:
            server.stop()


def at_once(*calls: Callable[[], T]) -> list[T]:
    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]


@pytest.mark.slow
def test_machines_share_the_trials_of_one_sweep(postgres: Postgres) -> None:
    url = postgres.database("shared")

    def join(machine: str) -> Study:
        return Study(url, "sweep", definition(), Server(url, "sweep", machine))

    def server(study: Study) -> Server:
        assert study.server is not None
        return study.server

    def train(study: Study, limit: int) -> list[Trial]:
        """All that there are, and leave them under way."""
        return list(iter(lambda: study.next(limit), None))

    one, two, three = at_once(*(partial(join, name) for name in ("one", "two", "three")))
    begun = at_once(lambda: train(one, 9), lambda: train(two, 9), lambda: train(three, 9))
    numbers = [{trial.number for trial in trials} for trials in begun]
    assert sorted(number for part in numbers for number in part) == list(range(9))
    assert len({trial.values["lr"] for trial in one.trials()}) == 9
    mine = [{t.number for t in one.trials() if t.attrs["owner"] == name} for name in ("one", "two", "three")]
    assert mine == numbers

    assert two.take_up(numbers[1]) == []  # all live
    server(one).close()
    found = at_once(lambda: two.take_up(numbers[1]), lambda: three.take_up(numbers[2]))
    given_back = [{trial.number for trial in trials} for trials in found]
    assert given_back[0] | given_back[1] == numbers[0]
    assert not given_back[0] & given_back[1]

    # the lost machine comes back: what it tells of its trials counts no more
    one = join("one")
    lost = min(numbers[0])
    assert not one.tell(lost, {"val/loss": 0.0})
    assert one.trial(lost).state == "running"
    owner = two if lost in given_back[0] else three
    assert owner.tell(lost, {"val/loss": 1.0})
    assert not one.tell(lost, {"val/loss": 0.0})
    assert one.report(lost, 1, 0.5)  # it is to end
    one.note(lost, machine="one")
    assert (one.trial(lost).scores, one.trial(lost).attrs.get("machine")) == ({"val/loss": 1.0}, None)

    # a connection that a firewall cuts while it is idle is made anew
    postgres.ask("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'me'")
    kept = min({trial.number for trial in two.trials() if trial.attrs["owner"] == "two"} - {lost})
    assert two.tell(kept, {"val/loss": 2.0})
    assert three.next(9) is None
    assert two.take_up(range(9)) == one.take_up(range(9)) == []
    with pytest.raises(RunError, match=r"me:\*\*\*@127.0.0.1.* was begun with other seed: type another --name"):
        Study(url, "sweep", definition(seed=2), two.server)
    Study(url, "other", definition(seed=2), server(two))
    for study in (one, two, three):
        server(study).close()


def documented() -> list[list[str]]:
    """The commands of docs/growing.md that need a server, one of them of a job array, shortened."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "docs/growing.md").read_text(encoding="utf-8"), re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines() if "--storage" in line]
    words = [shlex.split(line) for line in lines]
    return [
        [*line[line.index("scripts/main.py") + 1 : line.index("--trials")], "--trials=6", "--epochs=4", "--pruner=Nop"]
        for line in words
    ]


def ended(process: subprocess.Popen[bytes], code: int) -> str:
    assert process.wait(120) == code, Path("output.txt").read_text()
    return Path("output.txt").read_text()


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_a_machine_that_is_killed_gives_its_trials_back(
    kindling: Kindling, postgres: Postgres, request: pytest.FixtureRequest
) -> None:
    storage = f"--storage={postgres.database('killed')}"
    first, second = documented()
    assert first == second

    def until(happened: Callable[[], object]) -> None:
        limit = time.monotonic() + 60
        while not happened():
            assert time.monotonic() < limit, Path("output.txt").read_text()
            time.sleep(0.01)

    def trained(folder: Path) -> int:
        """Trials with at least one epoch."""
        return len(list(folder.glob("trial_*/metrics.csv")))

    victim = start(*first, storage)
    until(SWEEP.is_dir)
    survivor = start(*second, storage)
    for process in (victim, survivor):
        request.addfinalizer(process.kill)
    until(lambda: trained(OTHER))
    begun = trained(SWEEP)
    until(lambda: trained(SWEEP) > begun)
    for pid in [victim.pid, *children(victim.pid)]:
        os.kill(pid, signal.SIGKILL)
    victim.wait()
    until(lambda: "has gone; it is trained here from its beginning" in Path("output.txt").read_text())
    begun = trained(OTHER)
    until(lambda: trained(OTHER) > begun)
    postgres.stop()
    out = ended(survivor, 2)
    error = out[out.index("kindling: error: ") :]
    assert error.count("\n") == 1
    assert "killed can't be used any more (" in error
    assert f"go on with python scripts/main.py sweep --ckpt_path {OTHER}\n" in error
    postgres.start()

    assert "type --storage again" in kindling.fails("sweep", "--ckpt_path=last")
    whole = Definition(**yaml.safe_load((OTHER / "sweep.yaml").read_text())["definition"])
    url = storage.removeprefix("--storage=")
    third = Study(url, "sweep", whole, Server(url, "sweep", "third"), is_begun=True)  # trains one trial all the time
    assert third.next(7) is not None
    out = ended(start("sweep", "--ckpt_path=last", "--trials=7", storage), 0)
    assert "still train 1 of 7 trials; afterwards python scripts/main.py sweep --ckpt_path" in out
    assert third.server is not None
    third.server.close()
    found = rows(OTHER / "sweep.csv")
    assert sorted(int(row["trial"]) for row in found) == list(range(7))
    assert sorted(row["state"] for row in found) == ["complete"] * 6 + ["running"]
    assert len({row["optimizer.lr"] for row in found}) == 7
    assert "Resuming from" in (OTHER / "worker_0.log").read_text()  # its own trial, not from the beginning
    texts = [file.read_bytes() for file in Path().rglob("*") if file.is_file()]
    assert not any(b"s3cr" in text for text in texts)


@pytest.mark.slow
def test_a_database_that_can_not_be_used_is_one_line(kindling: Kindling, postgres: Postgres) -> None:
    def fails(address: str, says: str) -> None:
        error = kindling.fails("sweep", "--model=SimpleNet", "--vary.lr=0.1..0.2", "--storage", address)
        assert f"@127.0.0.1:{postgres.port}/" in error
        assert says in error
        assert "s3cr" not in error

    fails(postgres.address("x", "wrong"), 'password authentication failed for user "me": check the address, postgresql')
    fails(postgres.address("nowhere"), 'database "nowhere" does not exist: make it with createdb nowhere')
    closed = postgres.database("closed")
    postgres.ask("ALTER DATABASE closed OWNER TO postgres")
    with psycopg.connect(host="127.0.0.1", port=postgres.port, user="postgres", dbname="closed") as connection:
        connection.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    fails(closed, "permission denied for schema public: its owner permits it with GRANT CREATE ON SCHEMA public TO me")
    older = postgres.database("older")
    Server(older, "sweep", "one").close()
    with psycopg.connect(host="127.0.0.1", port=postgres.port, user="postgres", dbname="older") as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'v2.4.0.a'")
    fails(older, "made by another version of Optuna: give the sweep a database of its own")
    others = postgres.database("others")
    with psycopg.connect(host="127.0.0.1", port=postgres.port, user="postgres", dbname="others") as connection:
        connection.execute("CREATE TABLE version_info (a int)")
    fails(others, "version_info")
    server = Server(postgres.database("empty"), "sweep", "one")
    with pytest.raises(RunError, match="the sweep 'sweep' is not there any more: begin another"):
        Study(postgres.address("empty"), "sweep", definition(), server, is_begun=True)
    server.close()
