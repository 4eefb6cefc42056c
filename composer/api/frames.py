"""Tables as DataFrames where pandas is installed, which nothing else here needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def frame_of_columns(columns: dict[str, NDArray[np.float64]], index: str) -> Any:
    """Return columns as a `pandas.DataFrame`, with the column `index` as its index; without pandas as they are."""
    try:
        import pandas
    except ImportError:
        return columns
    rest = {key: column for key, column in columns.items() if key != index}
    return pandas.DataFrame(rest, index=pandas.Index(columns[index].astype(np.int64), name=index))


def frame_of_rows(rows: Sequence[dict[str, Any]], index: str) -> Any:
    """Return rows as a `pandas.DataFrame`, with the column `index` as its index; without pandas as they are."""
    try:
        import pandas
    except ImportError:
        return list(rows)
    return pandas.DataFrame(list(rows)).set_index(index)
