//! A benchmark's rows from Parquet, as the hub's viewer exports them.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::reader::RowIter;
use parquet::record::{Field, Row};
use parquet::schema::types::Type;
use serde_json::{Map, Value};

use crate::error::DataError;
use crate::images::PICTURE_LIMIT;
use crate::record::Record;

/// The columns that are read: the fields of [`Record`], in any order, beside any others.
const COLUMNS: [&str; 10] = [
    "id",
    "image",
    "query",
    "type",
    "category",
    "subcategory",
    "image_safe",
    "image_safety_label",
    "answer",
    "subject",
];

/// Rows that are decoded together: pictures are large.
const BATCH: usize = 8;

/// A row as it is, and the picture if it is embedded.
type ParquetRow = (Record, Option<Vec<u8>>);

/// Reads one file. The column `image` is a path, or a group of `bytes`, the encoded picture, and `path`.
pub(crate) struct ParquetRows {
    path: PathBuf,
    /// None behind the end.
    rows: Option<RowIter<'static>>,
    row: usize,
}

impl std::fmt::Debug for ParquetRows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ParquetRows").field("path", &self.path).field("row", &self.row).finish_non_exhaustive()
    }
}

impl ParquetRows {
    pub(crate) fn open(path: &Path) -> Result<Self, DataError> {
        let file = File::open(path).map_err(DataError::io("read", path))?;
        let opened = fenced(|| {
            let reader = SerializedFileReader::new(file).map_err(|error| error.to_string())?;
            let schema = reader.metadata().file_metadata().schema_descr_ptr();
            let root = schema.root_schema();
            let wanted = root.get_fields().iter().filter(|field| COLUMNS.contains(&field.name())).cloned().collect();
            let projection = Type::group_type_builder(root.name()).with_fields(wanted).build();
            let projection = projection.map_err(|error| error.to_string())?;
            let rows = RowIter::from_file_into(Box::new(reader)).project(Some(projection));
            Ok(rows.map_err(|error| error.to_string())?.with_batch_size(BATCH))
        });
        let bad = |reason| DataError::BadFile { path: path.to_path_buf(), row: 0, reason };
        let rows = opened.map_err(|reason| bad(format!("it is not a whole Parquet file ({reason})")))?;
        Ok(Self { path: path.to_path_buf(), rows: Some(rows), row: 0 })
    }

    pub(crate) fn read(&mut self) -> Option<Result<ParquetRow, DataError>> {
        let rows = self.rows.as_mut()?;
        let next = fenced(|| rows.next().transpose().map_err(|error| error.to_string()));
        self.row += 1;
        match next {
            Ok(Some(row)) => Some(record(row).map_err(|reason| DataError::BadRecord {
                path: self.path.clone(),
                row: self.row,
                reason,
            })),
            Ok(None) => {
                self.rows = None;
                None
            }
            Err(reason) => {
                self.rows = None;
                let reason = format!("it cannot be read ({reason})");
                Some(Err(DataError::BadFile { path: self.path.clone(), row: self.row, reason }))
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The row that was read last, counted from 1.
    pub(crate) fn row(&self) -> usize {
        self.row
    }
}

/// Turns a panic of the decoder into an error: the format's own checks leave room for files that make it
/// reach for what is not there.
fn fenced<T>(read: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| Err("it is damaged".to_owned()))
}

fn record(row: Row) -> Result<ParquetRow, String> {
    let mut fields = Map::new();
    let mut embedded = None;
    for (name, field) in row.into_columns() {
        match (name.as_str(), field) {
            (_, Field::Null) => {}
            ("image", Field::Group(group)) => {
                for (name, field) in group.into_columns() {
                    match (name.as_str(), field) {
                        ("bytes", Field::Bytes(bytes)) if bytes.len() as u64 > PICTURE_LIMIT => {
                            return Err(format!("`image` has more than {PICTURE_LIMIT} bytes"));
                        }
                        ("bytes", Field::Bytes(bytes)) => embedded = Some(bytes.data().to_vec()),
                        ("path", Field::Str(path)) => {
                            fields.insert("image".to_owned(), path.into());
                        }
                        _ => {}
                    }
                }
            }
            (_, field) => {
                fields.insert(name, plain(field)?);
            }
        }
    }
    // An embedded picture needs no name, but a row has one.
    if embedded.is_some()
        && !fields.contains_key("image")
        && let Some(id) = fields.get("id")
    {
        fields.insert("image".to_owned(), id.to_string().into());
    }
    let record = serde_json::from_value(Value::Object(fields)).map_err(|error| error.to_string())?;
    Ok((record, embedded))
}

fn plain(field: Field) -> Result<Value, String> {
    Ok(match field {
        Field::Bool(value) => value.into(),
        Field::Byte(value) => value.into(),
        Field::Short(value) => value.into(),
        Field::Int(value) => value.into(),
        Field::Long(value) => value.into(),
        Field::UByte(value) => value.into(),
        Field::UShort(value) => value.into(),
        Field::UInt(value) => value.into(),
        Field::ULong(value) => value.into(),
        Field::Str(value) => value.into(),
        Field::Bytes(value) => value.as_utf8().map_err(|_| "a text is not UTF-8".to_owned())?.into(),
        other => return Err(format!("a column has the type of {other}, which no field has")),
    })
}
