"""A run directory on a local disk or any fsspec URL, with atomic writes and a lock.

Every write goes aside first: on a local disk to ``.tmp-*`` in the same folder, flushed to the disk and renamed; for an
object store it goes to a local temporary file and is put as a whole, which is atomic there. A reader sees the old file
or the new one, never a part.
"""

from __future__ import annotations

import json
import os
import posixpath
import socket
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem

from potstill.config import RequestError

LOCK = ".lock"
LOCK_SECONDS = 60.0
"""A lock on an object store whose holder has not refreshed it for this long is taken over."""

OBJECT_STORES = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "oss"})
"""Protocols without folders: making one there would make a bucket, which a misspelt name must not do."""


class DamagedFile(OSError):
    """A file of a run directory that something else than a run has changed: a run writes whole files or none."""


class RunDir:
    """Files below one root. Small and picklable: it holds the URL and opens the filesystem where it is used."""

    def __init__(self, url: str | os.PathLike[str]) -> None:
        try:
            self._fs, self._root = fsspec.url_to_fs(str(url))
        except (ValueError, ImportError) as error:
            raise RequestError(f"{url}: {error}; install that filesystem or give another directory") from error
        self.local = isinstance(self._fs, LocalFileSystem)
        self.url = self._root if self.local else str(url)

    def __reduce__(self) -> tuple[type[RunDir], tuple[str]]:
        return RunDir, (self.url,)

    def path(self, name: str) -> str:
        """Full path of a file in the directory, for the filesystem at hand."""
        return posixpath.join(self._root, name)

    def exists(self, name: str = "") -> bool:
        """Whether a file or folder is there."""
        return bool(self._fs.exists(self.path(name)))

    def list(self, folder: str) -> list[str]:
        """Sorted names of the files in a folder (no folders, no hidden or unfinished files); empty if it is missing."""
        self._fs.invalidate_cache()
        try:
            entries = self._fs.ls(self.path(folder), detail=True)
        except FileNotFoundError:
            return []
        names = (posixpath.basename(entry["name"]) for entry in entries if entry["type"] == "file")
        return sorted(name for name in names if not name.startswith("."))

    def size(self, name: str) -> int:
        """Bytes of a file."""
        return int(self._fs.size(self.path(name)))

    def open(self, name: str) -> IO[bytes]:
        """A file for reading, seekable."""
        return self._fs.open(self.path(name), "rb")

    def read_bytes(self, name: str) -> bytes:
        """The whole of a small file."""
        with self.open(name) as file:
            return file.read()

    def read_json(self, name: str) -> Any:
        """A JSON file's value."""
        return json.loads(self.read_bytes(name))

    def remove(self, name: str) -> None:
        """Delete a file; a missing one is fine."""
        if self._fs.exists(self.path(name)):
            self._fs.rm_file(self.path(name))

    def remove_tree(self, name: str) -> None:
        """Delete a folder with all in it; a missing one is fine."""
        if self._fs.exists(self.path(name)):
            self._fs.rm(self.path(name), recursive=True)

    def remove_unfinished(self) -> None:
        """Delete what killed writers left behind; only for the holder of the lock, once nothing writes."""
        for left in Path(self._root).rglob(".tmp-*") if self.local else ():
            left.unlink(missing_ok=True)

    @contextmanager
    def writing(self, name: str, *, durable: bool = True) -> Iterator[IO[bytes]]:
        """A file that appears, or replaces the old one, as a whole when the block ends; on any error the old one stays.

        ``durable`` waits until it is on the disk; without, it survives the death of processes only.
        """
        target = self.path(name)
        if not self.local:
            with tempfile.NamedTemporaryFile() as spool:
                yield spool
                spool.flush()
                if not OBJECT_STORES.intersection(_protocols(self._fs)):
                    self._fs.makedirs(posixpath.dirname(target), exist_ok=True)
                self._fs.put_file(spool.name, target)
            return
        folder = Path(target).parent
        folder.mkdir(parents=True, exist_ok=True)
        aside = folder / f".tmp-{uuid.uuid4().hex}"
        try:
            with aside.open("wb") as file:
                yield file
                file.flush()
                if durable:
                    os.fsync(file.fileno())
            aside.replace(target)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise
        if durable:
            _sync_folder(folder)

    def write(self, name: str, fill: Callable[[IO[bytes]], object], *, durable: bool = True) -> None:
        """Create or replace a file with what ``fill`` writes, atomically."""
        with self.writing(name, durable=durable) as file:
            fill(file)

    def write_bytes(self, name: str, data: bytes, *, durable: bool = True) -> None:
        """Create or replace a small file, atomically."""
        self.write(name, lambda file: file.write(data), durable=durable)

    def write_json(self, name: str, value: Any) -> None:
        """Create or replace a JSON file, atomically."""
        self.write_bytes(name, json.dumps(value, indent=2, ensure_ascii=False).encode() + b"\n")

    def write_table(self, name: str, table: pa.Table, group_rows: int | None = None) -> None:
        """Parquet, zstd, with statistics and checksums; schema metadata is kept. ``group_rows``: rows read at once."""
        options = {"compression": "zstd", "compression_level": 1, "write_page_checksum": True}
        options |= {"row_group_size": group_rows} if group_rows else {}
        self.write(name, lambda file: pq.write_table(table, file, **options))

    def read_table(self, name: str, columns: list[str] | None = None) -> pa.Table:
        """Parquet as a table; of ``columns`` those that the file has. Raises :class:`DamagedFile`."""
        with self._parquet(name) as parquet:
            have = set(parquet.schema_arrow.names)
            return parquet.read(None if columns is None else [column for column in columns if column in have])

    def read_rows(self, name: str, columns: list[str], rows: np.ndarray) -> pa.Table:
        """Some rows of a Parquet file, by number, in the order asked for; only their row groups are read."""
        with self._parquet(name) as parquet:
            counts = [parquet.metadata.row_group(group).num_rows for group in range(parquet.num_row_groups)]
            starts = np.concatenate([[0], np.cumsum(counts)])
            group = np.searchsorted(starts, rows, side="right") - 1
            wanted, at = np.unique(group, return_inverse=True)
            table = parquet.read_row_groups(wanted.tolist(), columns)
            before = np.concatenate([[0], np.cumsum(np.array(counts, np.int64)[wanted])])[at]
            return table.take(pa.array(before + rows - starts[group]))

    def read_schema(self, name: str) -> pa.Schema:
        """Schema of a Parquet file with its metadata; no data is read. Raises :class:`DamagedFile`."""
        with self._parquet(name) as parquet:
            return parquet.schema_arrow

    @contextmanager
    def _parquet(self, name: str) -> Iterator[pq.ParquetFile]:
        """A Parquet file; what Arrow finds wrong with it becomes an error that names it and says the way out."""
        with self.open(name) as file:
            try:
                with pq.ParquetFile(file, page_checksum_verification=True) as parquet:
                    yield parquet
            except (pa.ArrowException, OSError) as error:
                if isinstance(error, OSError) and error.errno is not None:
                    raise
                raise DamagedFile(
                    f"{self.path(name)} is damaged ({error}); delete it and run the same command again: "
                    "what it held is computed anew"
                ) from error

    def check_writable(self) -> None:
        """Raises :class:`RequestError` when nothing can be written here."""
        try:
            self.write_bytes(".probe", b"")
            self.remove(".probe")
        except OSError as error:
            raise RequestError(
                f"cannot write to {self.url}: {error.strerror or error}; choose another --out"
            ) from error

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the directory against a second run. Raises :class:`RequestError` that names the holder."""
        with _local_lock(self) if self.local else _remote_lock(self):
            yield


def _protocols(fs: fsspec.AbstractFileSystem) -> tuple[str, ...]:
    return (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _holder() -> dict[str, Any]:
    return {"host": socket.gethostname(), "pid": os.getpid(), "time": time.time(), "token": uuid.uuid4().hex}


def _busy(run: RunDir, holder: dict[str, Any]) -> RequestError:
    who = f"process {holder.get('pid', '?')} on {holder.get('host', '?')}"
    return RequestError(f"{run.url} is in use by {who}; wait for it, or give another --out")


@contextmanager
def _local_lock(run: RunDir) -> Iterator[None]:
    """The kernel frees an flock when its process dies, however it dies; the text only names the holder."""
    import fcntl

    with Path(run.path(LOCK)).open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise _busy(run, json.loads(file.read() or "{}")) from None
        file.truncate(0)
        file.write(json.dumps(_holder()))
        file.flush()
        yield


@contextmanager
def _remote_lock(run: RunDir) -> Iterator[None]:
    """A lease that a thread refreshes. Object stores have no lock: two runs started in one second can both win."""
    import threading

    if run.exists(LOCK):
        holder = run.read_json(LOCK)
        if time.time() - holder["time"] < LOCK_SECONDS:
            raise _busy(run, holder)
    mine = _holder()
    stop = threading.Event()

    def refresh() -> None:
        while not stop.wait(LOCK_SECONDS / 4):
            run.write_json(LOCK, {**mine, "time": time.time()})

    run.write_json(LOCK, mine)
    thread = threading.Thread(target=refresh, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        run.remove(LOCK)
