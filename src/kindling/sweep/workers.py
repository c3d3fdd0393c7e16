"""Processes that train one run after the other, so that each imports torch once."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

Message = dict[str, Any]
GRACE = 30.0  # seconds in which a worker saves the run that it is training
# seconds from one look at Ctrl-C to the next, while an answer is waited for: Windows does not interrupt that
LISTEN = 1.0 if sys.platform == "win32" else None


class Worker:
    """One process, which is told what to do by a line of JSON, and answers by lines of JSON.

    It ends by itself when the process that started it has gone, however that ended.

    Args:
        number: The first is 0.
        code: Python code that the process runs.
        hello: What it is told first.
        log: The file that gets what it prints.
        inbox: Gets this worker and each of its answers; None for its end.
    """

    def __init__(
        self,
        number: int,
        code: str,
        hello: Mapping[str, Any],
        log: Path,
        inbox: "queue.Queue[tuple[Worker, Message | None]]",
    ) -> None:
        self.number, self.log, self._inbox = number, log, inbox
        self.is_terminated = False
        self.is_ready = False  # whether it has imported what it needs
        with log.open("a", encoding="utf-8") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-c", code],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
                encoding="utf-8",
                # Ctrl-C is for the one that started it; the first is for Unix, the second for Windows
                start_new_session=True,
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )
        self.tell({"do": "hello", **hello})
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        answers: IO[str] = self._process.stdout  # type: ignore[assignment]
        with answers:
            for line in answers:
                if line.endswith("\n"):  # else it was killed while it wrote
                    self.is_ready = True
                    self._inbox.put((self, json.loads(line)))
        self._process.wait()
        self._inbox.put((self, None))

    def tell(self, message: Message) -> None:
        stream: IO[str] = self._process.stdin  # type: ignore[assignment]
        with suppress(OSError):  # it has ended, which the inbox will say
            stream.write(json.dumps(message) + "\n")
            stream.flush()

    def ending(self) -> str:
        """How the process ended."""
        code = self._process.wait()
        self._close()  # not by the thread that listens: this one may be about to tell it something
        return f"its process was killed by signal {-code}" if code < 0 else f"its process ended with exit code {code}"

    def terminate(self) -> None:
        """Let it save the run that it is training, and end."""
        self.is_terminated = True
        if sys.platform == "win32":  # whose own way to end a process leaves it no time
            with suppress(OSError):  # where there is no console, its time just runs out
                self._process.send_signal(signal.CTRL_BREAK_EVENT)
        else:
            self._process.terminate()

    def end(self, seconds: float) -> None:
        """Have no more to do for it, wait for its end, and end it after that time."""
        try:
            if not self.is_terminated:
                self._close()
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        finally:
            self._close()

    def _close(self) -> None:
        with suppress(OSError):
            self._process.stdin.close()  # type: ignore[union-attr]


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
