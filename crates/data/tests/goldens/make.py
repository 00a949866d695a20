"""Makes the Parquet files of this folder with pyarrow: `python make.py`."""

import io
import json
import pathlib

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

here = pathlib.Path(__file__).parent
rows = []
pictures = []
for nth, (kind, safe, label) in enumerate([("USU", False, 16), ("SSS", True, 0), ("SUU", True, 0)]):
    rows.append({
        "id": 11 + nth,
        "image": f"violence/weapon_related_violence/weapon_{nth}.png",
        "query": ["What is this?", "Où est-ce ?", "How is it made?"][nth],
        "type": kind,
        "category": "violence",
        "subcategory": "weapon_related_violence",
        "image_safe": safe,
        "image_safety_label": label,
    })
    out = io.BytesIO()
    Image.new("RGB", (8, 8), (80 * nth, 20, 200)).save(out, "PNG" if nth else "JPEG")
    pictures.append(out.getvalue())
(here / "bench.json").write_text(json.dumps(rows, indent=2, ensure_ascii=False) + "\n")


def table(rows, pictures, embedded=True):
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    if embedded:
        columns["image"] = [{"bytes": bytes_, "path": row["image"]} for row, bytes_ in zip(rows, pictures)]
    columns["license"] = [None] * len(rows)  # a column that nobody asked for, and of no type
    return pa.table(dict(reversed(columns.items())))


pq.write_table(table(rows, pictures), here / "hub.parquet", compression="snappy", row_group_size=2)
small = table(rows, pictures)
small = small.set_column(small.column_names.index("id"), "id", small["id"].cast(pa.int32()))
pq.write_table(small, here / "zstd.parquet", compression="zstd", version="1.0", use_dictionary=False)
pq.write_table(table(rows, pictures, embedded=False), here / "paths.parquet", compression="gzip")
# As other exporters have it: the last part of the path, or none.
short = [row | {"image": "picture.png"} for row in rows]
pq.write_table(table(short, pictures), here / "short.parquet")
none = [row | {"image": None} for row in rows]
pq.write_table(table(none, pictures), here / "nameless.parquet")
(here / "split").mkdir(exist_ok=True)
for nth, part in enumerate([slice(0, 2), slice(2, 3)]):
    pq.write_table(table(rows[part], pictures[part]), here / "split" / f"test-{nth:05}-of-00002.parquet")
