"""The database of a sweep: a file in its folder, or a PostgreSQL server that several machines share."""

import hashlib
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import optuna
from sqlalchemy import create_engine, text
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from kindling.errors import RunError, UsageError

FORM = "postgresql://USER:PASSWORD@HOST/NAME"
# seconds: each end notices after 20 + 3 * 10 that the other has lost its power or its network
KEEPALIVE = {"keepalives_idle": 20, "keepalives_interval": 10, "keepalives_count": 3}
CONNECT = {"connect_timeout": 10, **KEEPALIVE}
LONGEST_WAIT = "90s"  # for a lock: by then it has been noticed that its owner has gone


def address(given: str) -> URL:
    """
    Raises:
        UsageError: It is no address of a PostgreSQL database.
    """
    try:
        url = make_url(given)
    except (ArgumentError, ValueError):
        url = URL.create("none")
    if url.get_backend_name() not in ("postgresql", "postgres") or not url.database:
        raise UsageError(f"--storage: a database that several machines share is typed as  {FORM}")
    if "@" in (url.host or ""):
        raise UsageError("--storage: an @ in the password is typed as %40, and a / as %2F")
    return url.set(drivername="postgresql+psycopg")


def shown(given: str) -> str:
    """An address without its password; the same where it has none."""
    url = make_url(given)
    if secret := {key: "***" for key in url.query if "password" in key}:
        url = url.update_query_dict(secret)
    return url.render_as_string(hide_password=True).replace("%2A%2A%2A", "***")


@contextmanager
def answered(given: str) -> Iterator[None]:
    """
    Raises:
        RunError: The database can't be used.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    except ImportError as error:
        raise RunError("--storage: PostgreSQL needs psycopg: pip install -e '.[postgres]'") from error
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError, RuntimeError, ValueError) as error:
        raise RunError(f"--storage {shown(given)}: {_explain(error, make_url(given))}") from error


def reason(error: BaseException) -> str:
    """What a database says, without where it was said."""
    while (cause := getattr(error, "orig", None) or error.__cause__) is not None:
        error = cause
    line = str(error).strip().partition("\n")[0]
    return re.sub(r".*failed: |FATAL: +", "", line)


def _explain(error: Exception, url: URL) -> str:
    why = reason(error)
    if "table schema" in why:
        return "its tables were made by another version of Optuna: give the sweep a database of its own"
    if "permission denied" in why:
        return f"{why}: its owner permits it with  GRANT CREATE ON SCHEMA public TO {url.username}"
    if "does not exist" in why and "database" in why:
        return f"{why}: make it with  createdb {url.database}"
    if url.get_backend_name() == "sqlite":
        return f"{why}: it is not the database of a sweep of this version"
    return f"{why}: check the address, {FORM}, and that the server is running"


class Server:
    """A machine's place among those that share a sweep.

    The machine holds a lock of the server's, on a connection of its own. When the process ends, however it ends, the
    server frees the lock, by which the others know. No clock and no heartbeat is needed for that.

    Args:
        given: The address, as typed.
        sweep: Name of the sweep.
        machine: By which the others know this machine.

    Raises:
        RunError: The server can't be reached or used.
    """

    def __init__(self, given: str, sweep: str, machine: str) -> None:
        self.machine, self._sweep = machine, sweep
        url = address(given)
        with answered(given), ExitStack() as opened:
            self._engine = create_engine(url, pool_pre_ping=True, connect_args={**CONNECT})
            opened.callback(self._engine.dispose)
            self._connection = self._connect()
            opened.callback(lambda: self._connection.close())
            with self.turn("tables"):
                whole = url.render_as_string(hide_password=False).replace("{", "%7B")
                self.storage = optuna.storages.RDBStorage(whole, {"pool": self._engine.pool})
            self.close = opened.pop_all().close

    def _connect(self) -> Connection:
        connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        for name, seconds in KEEPALIVE.items():
            connection.execute(text(f"SET tcp_{name} = {seconds}"))
        connection.execute(text(f"SET lock_timeout = '{LONGEST_WAIT}'"))
        if not _call(connection, "pg_try_advisory_lock", self.machine):
            print("Waiting until the server has noticed that this sweep's earlier process has gone", flush=True)
            _call(connection, "pg_advisory_lock", self.machine)
        return connection

    @contextmanager
    def turn(self, what: str = "") -> Iterator[None]:
        """Within it, no other machine of the sweep begins, takes over or ends a trial."""
        what = what or f"sweep {self._sweep}"
        try:
            _call(self._connection, "pg_advisory_lock", what)
        except SQLAlchemyError:
            if not self._connection.invalidated:
                raise
            self._connection.close()
            self._connection = self._connect()  # the server was restarted, or a firewall has cut a line that was idle
            _call(self._connection, "pg_advisory_lock", what)
        try:
            yield
        finally:
            with suppress(SQLAlchemyError):  # without a connection there is no lock either
                _call(self._connection, "pg_advisory_unlock", what)

    def has_gone(self, machine: str) -> bool:
        """Whether another machine of the sweep doesn't live any more."""
        if not _call(self._connection, "pg_try_advisory_lock", machine):
            return False
        _call(self._connection, "pg_advisory_unlock", machine)
        return True


def _call(connection: Connection, function: str, what: str) -> bool:
    """Call a function of PostgreSQL for the lock of that name."""
    digest = hashlib.sha256(f"kindling {what}".encode()).digest()
    key = int.from_bytes(digest[:8], "big", signed=True)
    return connection.execute(text(f"SELECT {function}(:key)"), {"key": key}).scalar() is True
