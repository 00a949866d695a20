//! Matrices of few bits in safetensors files: round trips, and metadata that lies.

use std::collections::BTreeMap;

use safevlm_kernels::quant::{BlockFormat, QuantizedMatrix};
use safevlm_weights::{
    FloatDtype, SafetensorsDir, SafetensorsWriter, Storage, StoredDtype, TensorInfo, TensorSource, Tensors,
    WeightsError, gguf::GgmlType, save_tensors_mixed,
};

use crate::file;

/// Values between -1 and 1 that do not repeat soon.
fn values(count: usize) -> Vec<f32> {
    (0..count).map(|n| (n as f32 * 0.37).sin()).collect()
}

fn model() -> Tensors {
    let mut tensors = Tensors::new();
    tensors.insert("lm_head.weight", vec![5, 64], values(5 * 64)).unwrap();
    tensors.insert("norm.weight", vec![64], values(64)).unwrap();
    tensors
}

fn storage(format: BlockFormat) -> impl Fn(&str, &TensorInfo) -> Storage {
    move |_, info| match info.shape.len() {
        2 => Storage::Blocks(format),
        _ => Storage::Float(FloatDtype::F32),
    }
}

#[test]
fn blocks_are_written_and_read_back_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    for (format, kind) in [
        (BlockFormat::Q8_0, GgmlType::Q8_0),
        (BlockFormat::Q4_0, GgmlType::Q4_0),
        (BlockFormat::Q4_1, GgmlType::Q4_1),
        (BlockFormat::F16, GgmlType::F16),
        (BlockFormat::BF16, GgmlType::BF16),
    ] {
        save_tensors_mixed(&path, &model(), &storage(format), &BTreeMap::new(), false).unwrap();
        let read = SafetensorsDir::open(&path).unwrap();
        let info = read.info("lm_head.weight").unwrap();
        assert_eq!((info.shape.as_slice(), info.dtype), ([5, 64].as_slice(), StoredDtype::Ggml(kind)));
        assert_eq!(info.stored_bytes(), 5 * format.row_bytes(64).unwrap() as u64);
        let expected = QuantizedMatrix::quantize(format, &values(5 * 64), 64).unwrap();
        let blocks = read.read_blocks("lm_head.weight").unwrap().unwrap();
        assert_eq!((blocks.format(), blocks.bytes()), (format, expected.bytes()));
        assert_eq!(read.read_f32("lm_head.weight").unwrap(), expected.dequantize());
        assert!(read.read_blocks("norm.weight").unwrap().is_none());
        assert_eq!(read.read_f32("norm.weight").unwrap(), values(64));
        // Copied, and not quantized a second time.
        let again = dir.path().join("again.safetensors");
        save_tensors_mixed(&again, &read, &storage(format), &BTreeMap::new(), false).unwrap();
        let again = SafetensorsDir::open(&again).unwrap();
        assert_eq!(again.read_blocks("lm_head.weight").unwrap().unwrap().bytes(), expected.bytes());
    }
}

#[test]
fn a_large_matrix_is_quantized_in_pieces_of_whole_rows() {
    // More values than the writer quantizes at once, and than the source hands over at once.
    let (rows, columns) = (1100, 1056);
    let mut tensors = Tensors::new();
    tensors.insert("lm_head.weight", vec![rows, columns], values(rows * columns)).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (plain, path) = (dir.path().join("plain.safetensors"), dir.path().join("model.safetensors"));
    save_tensors_mixed(&plain, &tensors, &|_, _| Storage::Float(FloatDtype::F32), &BTreeMap::new(), false).unwrap();
    let plain = SafetensorsDir::open(&plain).unwrap();
    save_tensors_mixed(&path, &plain, &storage(BlockFormat::Q8_0), &BTreeMap::new(), false).unwrap();
    let expected = QuantizedMatrix::quantize(BlockFormat::Q8_0, &values(rows * columns), columns).unwrap();
    let read = SafetensorsDir::open(&path).unwrap();
    assert_eq!(read.read_blocks("lm_head.weight").unwrap().unwrap().bytes(), expected.bytes());
}

#[test]
fn rows_that_are_no_whole_blocks_are_refused_before_anything_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    let error = save_tensors_mixed(&path, &model(), &storage(BlockFormat::Q4K), &BTreeMap::new(), false).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("lm_head.weight") && text.contains("rows of 64 values cannot be q4_k"), "{text}");
    let mut nan = model();
    nan.insert("lm_head.weight", vec![1, 32], vec![f32::NAN; 32]).unwrap();
    let error = save_tensors_mixed(&path, &nan, &storage(BlockFormat::Q8_0), &BTreeMap::new(), false).unwrap_err();
    assert!(error.to_string().contains("NaN"), "{error}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn the_writer_takes_only_the_blocks_that_were_declared() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    let tensor = safevlm_weights::Declared {
        name: "a".to_string(),
        shape: vec![2, 32],
        storage: Storage::Blocks(BlockFormat::Q8_0),
    };
    let mut writer = SafetensorsWriter::create_mixed(&path, vec![tensor], &BTreeMap::new()).unwrap();
    let other = QuantizedMatrix::quantize(BlockFormat::Q4_0, &values(64), 32).unwrap();
    let error = writer.write_blocks("a", &other).unwrap_err().to_string();
    assert!(error.contains("`a` is q4_0"), "{error}");
}

/// A file with one tensor of this type and shape, and this metadata.
fn open(dtype: &str, shape: &str, bytes: usize, metadata: &str) -> Result<SafetensorsDir, WeightsError> {
    let header = serde_json::json!({
        "__metadata__": { "safevlm_blocks": metadata },
        "t": { "dtype": dtype, "shape": serde_json::from_str::<serde_json::Value>(shape).unwrap(), "data_offsets": [0, bytes] },
    })
    .to_string();
    let length = (header.len() as u64).to_le_bytes();
    let (_dir, path) = file("hostile.safetensors", &[length.as_slice(), header.as_bytes(), &vec![0; bytes]].concat());
    SafetensorsDir::open(&path)
}

#[test]
fn lying_metadata_is_refused_with_the_reason() {
    assert!(open("U8", "[2, 34]", 68, r#"{"t": "q8_0"}"#).is_ok());
    for (dtype, shape, bytes, metadata, part) in [
        ("U8", "[2, 34]", 68, "nonsense", "metadata is not valid"),
        ("U8", "[2, 34]", 68, r#"{"t": 8}"#, "metadata is not valid"),
        ("U8", "[2, 34]", 68, r#"{"t": "q3_k"}"#, "`q3_k` is no weight format"),
        ("U8", "[2, 34]", 68, r#"{"u": "q8_0"}"#, "names `u`, which it lacks"),
        ("U8", "[2, 33]", 66, r#"{"t": "q8_0"}"#, "rows of 33 bytes, no blocks of 34"),
        ("U8", "[68]", 68, r#"{"t": "q8_0"}"#, "no matrix of bytes"),
        ("I8", "[2, 34]", 68, r#"{"t": "q8_0"}"#, "no matrix of bytes"),
    ] {
        let error = open(dtype, shape, bytes, metadata).unwrap_err().to_string();
        assert!(error.contains(part) && error.contains("hostile.safetensors"), "{metadata}: {error}");
    }
}

#[test]
fn a_file_that_shrinks_after_it_was_opened_is_an_error_and_no_crash() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    save_tensors_mixed(&path, &model(), &storage(BlockFormat::Q8_0), &BTreeMap::new(), false).unwrap();
    let read = SafetensorsDir::open(&path).unwrap();
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(64).unwrap();
    for error in [read.read_f32("norm.weight").unwrap_err(), read.read_blocks("lm_head.weight").unwrap_err()] {
        assert!(matches!(error, WeightsError::Io { .. }), "{error}");
    }
}
