"""Reading a training log: what a model said about each sample in each epoch."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from potstill.pipelines import schema
from potstill.pipelines.coresets.dynamics import Dynamics, error_norm, margin, softmax
from potstill.pipelines.coresets.files import matrix, parquet_files

EPOCH, LABEL, LOGITS, PROBABILITIES, CORRECT = "epoch", "label", "logits", "probabilities", "correct"
BATCH_ROWS = 65_536


def replay(path: str, ids: np.ndarray, dynamics: Dynamics, early: int) -> int:
    """Feed the log to ``dynamics``, batch by batch. Returns how many entries are of samples not in ``ids``.

    ``ids``: sample ids as bytes, ascending (n,). Error norms count in epochs below ``early``.
    """
    unknown = 0
    for file in parquet_files(path):
        with pq.ParquetFile(file) as opened:
            columns = _columns(opened.schema_arrow.names, str(file))
            for batch in opened.iter_batches(BATCH_ROWS, columns=columns):
                unknown += _feed(pa.table(batch), ids, dynamics, early, str(file))
    return unknown


def _columns(names: list[str], file: str) -> list[str]:
    """What to read: logits before probabilities before whether the answer was right."""
    for said in ([LABEL, LOGITS], [LABEL, PROBABILITIES], [CORRECT]):
        wanted = [schema.SAMPLE_ID, EPOCH, *said]
        if set(wanted) <= set(names):
            return wanted
    raise ValueError(
        f"{file} is no training log: it needs sample_id, epoch and either label with logits or probabilities, or "
        f"correct; its columns: {', '.join(names)}"
    )


def _feed(table: pa.Table, ids: np.ndarray, dynamics: Dynamics, early: int, file: str) -> int:
    for name in table.column_names:
        if table[name].null_count:
            raise ValueError(f"{file}: {table[name].null_count} values of {name} are null; a log has none")
    at, known = _positions(table, ids)
    table = table.filter(pa.array(known))
    epochs = np.asarray(table[EPOCH])
    for epoch in np.unique(epochs).tolist():
        mine = epochs == epoch
        _epoch(table.filter(pa.array(mine)), at[known][mine], epoch, dynamics, early, file)
    return int((~known).sum())


def _positions(table: pa.Table, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Place of each entry's sample in ``ids``, and whether it is there."""
    wanted = np.array(table[schema.SAMPLE_ID].to_pylist(), ids.dtype)
    at = np.minimum(np.searchsorted(ids, wanted), max(len(ids) - 1, 0))
    return at, ids[at] == wanted if len(ids) else np.zeros(len(wanted), bool)


def _epoch(table: pa.Table, at: np.ndarray, epoch: int, dynamics: Dynamics, early: int, file: str) -> None:
    if CORRECT in table.column_names:
        dynamics.add(epoch, at, np.asarray(table[CORRECT]).astype(bool))
        return
    labels, logits = np.asarray(table[LABEL]), LOGITS in table.column_names
    outputs = matrix(table[LOGITS if logits else PROBABILITIES])
    classes = outputs.shape[1]
    if classes < 2 or labels.min() < 0 or labels.max() >= classes:
        raise ValueError(
            f"{file}: labels go from {labels.min()} to {labels.max()} and there are {classes} outputs; labels are 0 to "
            "outputs - 1, of at least 2"
        )
    dynamics.add(epoch, at, outputs.argmax(1) == labels)
    dynamics.add_margins(at, margin(outputs, labels))
    if epoch < early:
        dynamics.add_errors(at, error_norm(softmax(outputs) if logits else outputs, labels))
