"""The run log's figures as one table, `metrics.parquet`: for pandas, Polars, DuckDB and whatever else reads columns.

One row a step and one a validation, all figures of `oarlock_api.metrics` as columns, null where a row has none. The table is
made anew from the log, which stays the record; it is complete or absent. Only rank 0 writes it.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import compute, json, parquet

from oarlock_api.metrics import METRICS

TABLE_NAME = "metrics.parquet"
SHARE_FOR_WRITING = 0.01
"""Share of the time that writing it while the run goes on may take."""
_FACTS = (("kind", pa.string()), ("step", pa.int64()), ("epoch", pa.float64()), ("time", pa.float64()))


def write_metrics_table(log: Path, target: Path) -> int:
    """Write the figures of the run log `log` to the file `target`; return the number of rows.

    `time` is in seconds since 1970; that of a step lies between those of the reports before and after it.

    Raises:
        OSError: if the volume refuses.
    """
    table = _read_log(log)
    unfinished = target.with_name(target.name + ".partial")
    parquet.write_table(table, unfinished, compression="zstd")
    unfinished.replace(target)
    return int(table.num_rows)


def _read_log(log: Path) -> pa.Table:
    schema = pa.schema([*_FACTS, *((metric.name, pa.float64()) for metric in METRICS)])
    if log.stat().st_size == 0:
        return schema.empty_table()
    options = json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    table = json.read_json(log, parse_options=options)
    table = _fill_times(table)
    rows = compute.is_in(table["kind"], value_set=pa.array(["step", "validation", "pace"]))
    return table.filter(rows)


def _fill_times(table: pa.Table) -> pa.Table:
    """Give each row a time: the log tells those of reports and events alone, since steps are many."""
    steps = table["step"].to_numpy()
    times = table["time"].to_numpy(zero_copy_only=False)
    known = ~np.isnan(times)
    if not known.any():
        return table
    filled = np.where(known, times, np.interp(steps, steps[known], times[known]))
    return table.set_column(table.schema.get_field_index("time"), "time", pa.array(filled))
