//! The table of verdicts as Parquet.

use std::io::{self, Write};
use std::sync::Arc;

use parquet::basic::{Compression, LogicalType, Repetition, Type as Physical};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{Type, TypePtr};

use super::table::{Cell, Column, Kind, Row, Rows, cells, columns};

/// Rows that are in memory together.
const GROUP: usize = 8192;

/// Writes the whole table. Every column but `path` may be null.
pub(crate) fn write(labels: &[String], rows: &mut Rows<'_>, out: &mut (dyn Write + Send)) -> io::Result<()> {
    let schema = schema(&columns(labels)).map_err(io::Error::other)?;
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let mut file = SerializedFileWriter::new(out, schema, Arc::new(properties)).map_err(io::Error::other)?;
    loop {
        let group: Vec<Row> = (&mut *rows).take(GROUP).collect::<io::Result<_>>()?;
        if group.is_empty() {
            break;
        }
        write_group(&mut file, &group, labels).map_err(io::Error::other)?;
    }
    file.close().map(|_| ()).map_err(io::Error::other)
}

fn schema(columns: &[Column]) -> Result<TypePtr, ParquetError> {
    let field = |column: &Column| {
        let (physical, logical) = match column.kind {
            Kind::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
            Kind::Whole => (Physical::INT32, None),
            Kind::Flag => (Physical::BOOLEAN, None),
            Kind::Number => (Physical::FLOAT, None),
        };
        let repetition = if column.name == "path" { Repetition::REQUIRED } else { Repetition::OPTIONAL };
        let field = Type::primitive_type_builder(&column.name, physical);
        field.with_logical_type(logical).with_repetition(repetition).build().map(Arc::new)
    };
    let fields = columns.iter().map(field).collect::<Result<_, _>>()?;
    Ok(Arc::new(Type::group_type_builder("verdicts").with_fields(fields).build()?))
}

fn write_group<W: Write + Send>(
    file: &mut SerializedFileWriter<W>,
    rows: &[Row],
    labels: &[String],
) -> Result<(), ParquetError> {
    let table: Vec<Vec<Cell<'_>>> = rows.iter().map(|row| cells(row, labels)).collect();
    let mut group = file.next_row_group()?;
    let mut nth = 0;
    while let Some(mut column) = group.next_column()? {
        let cells: Vec<Cell<'_>> = table.iter().map(|row| row[nth]).collect();
        let present: Vec<i16> = cells.iter().map(|cell| i16::from(*cell != Cell::Missing)).collect();
        // A column in which nothing may be missing has no levels.
        let levels = (nth > 0).then_some(present.as_slice());
        match column.untyped() {
            ColumnWriter::ByteArrayColumnWriter(column) => {
                let text = |cell: &Cell<'_>| match cell {
                    Cell::Text(text) => Some(ByteArray::from(*text)),
                    _ => None,
                };
                column.write_batch(&cells.iter().filter_map(text).collect::<Vec<_>>(), levels, None)?;
            }
            ColumnWriter::Int32ColumnWriter(column) => {
                let number = |cell: &Cell<'_>| match cell {
                    Cell::Whole(number) => Some(*number as i32),
                    _ => None,
                };
                column.write_batch(&cells.iter().filter_map(number).collect::<Vec<_>>(), levels, None)?;
            }
            ColumnWriter::BoolColumnWriter(column) => {
                let flag = |cell: &Cell<'_>| match cell {
                    Cell::Flag(flag) => Some(*flag),
                    _ => None,
                };
                column.write_batch(&cells.iter().filter_map(flag).collect::<Vec<_>>(), levels, None)?;
            }
            ColumnWriter::FloatColumnWriter(column) => {
                let number = |cell: &Cell<'_>| match cell {
                    Cell::Number(number) => Some(*number),
                    _ => None,
                };
                column.write_batch(&cells.iter().filter_map(number).collect::<Vec<_>>(), levels, None)?;
            }
            _ => return Err(ParquetError::General(format!("column {nth} has a type that no verdict has"))),
        }
        column.close()?;
        nth += 1;
    }
    group.close().map(|_| ())
}

#[cfg(test)]
mod tests {
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::Field;

    use super::super::table::tests::{labels, rows, written};
    use super::super::table::{Format, write};
    use super::*;

    /// The names and fields of each row of a Parquet file.
    fn read(bytes: Vec<u8>) -> Vec<Vec<(String, Field)>> {
        let file = SerializedFileReader::new(parquet_bytes(bytes)).unwrap();
        let rows = file.get_row_iter(None).unwrap().map(|row| row.unwrap().into_columns());
        rows.collect()
    }

    /// A file that the reader may keep.
    fn parquet_bytes(bytes: Vec<u8>) -> std::fs::File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        file
    }

    #[test]
    fn what_is_written_is_read_again() {
        let read = read(written(Format::Parquet));
        assert_eq!(read.len(), 3);
        let names: Vec<&String> = read[0].iter().map(|(name, _)| name).collect();
        assert_eq!(names, columns(&labels()).iter().map(|column| &column.name).collect::<Vec<_>>());
        let field = |row: usize, name: &str| {
            let found = read[row].iter().find(|(column, _)| column == name);
            found.unwrap().1.clone()
        };
        assert_eq!(field(0, "path"), Field::Str("a, b.png".into()));
        assert_eq!(field(1, "path"), Field::Str("=1+1.png".into()));
        assert_eq!(field(0, "label_id"), Field::Int(16));
        assert_eq!(field(0, "flagged"), Field::Bool(true));
        assert_eq!(field(0, "weapon_related_violence"), Field::Float(0.75));
        assert_eq!(field(1, "category"), Field::Null);
        assert_eq!(field(1, "error"), Field::Null);
        // A file without a verdict is not called safe.
        for name in ["label", "label_id", "flagged", "unsafe_probability", "threshold", "safe"] {
            assert_eq!(field(2, name), Field::Null, "{name}");
        }
        assert_eq!(field(2, "error"), Field::Str("it is \"empty\"".into()));
    }

    #[test]
    fn many_rows_come_in_groups() {
        let row = rows().remove(0);
        let many = 2 * GROUP + 1;
        let mut out = Vec::new();
        write(Format::Parquet, &labels(), &mut std::iter::repeat_n(row, many).map(Ok), &mut out).unwrap();
        let file = SerializedFileReader::new(parquet_bytes(out)).unwrap();
        assert_eq!((file.num_row_groups(), file.metadata().file_metadata().num_rows()), (3, many as i64));
    }
}
