//! Safetensors: round trips, shards, and files that are cut short or lie.

use std::collections::BTreeMap;
use std::fs;

use safevlm_weights::{
    SINGLE_FILE, SafetensorsDir, SafetensorsWriter, SaveDtype, TensorSource, Tensors, WeightsError, save_tensors,
};

use crate::{file, golden};

fn some() -> Tensors {
    let mut tensors = Tensors::new();
    tensors.insert("a", vec![2, 3], vec![0., 1., -2., 0.5, 1e-3, 60_000.]).unwrap();
    tensors.insert("b.weight", vec![2], vec![3., 4.]).unwrap();
    tensors.insert("empty", vec![0, 7], vec![]).unwrap();
    tensors.insert("scalar", vec![], vec![9.]).unwrap();
    tensors
}

/// A file with this header and so many bytes of data.
fn raw(header: &str, data: usize) -> Vec<u8> {
    let length = (header.len() as u64).to_le_bytes();
    [length.as_slice(), header.as_bytes(), &vec![0; data]].concat()
}

fn open(bytes: &[u8]) -> Result<SafetensorsDir, WeightsError> {
    let (_dir, path) = file("hostile.safetensors", bytes);
    SafetensorsDir::open(&path)
}

#[test]
fn what_is_written_is_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(SINGLE_FILE);
    let metadata = BTreeMap::from([("step".to_string(), "12".to_string())]);
    save_tensors(&path, &some(), SaveDtype::F32, &metadata).unwrap();
    let read = SafetensorsDir::open(dir.path()).unwrap();
    assert_eq!(read.metadata("step"), Some("12"));
    assert_eq!(read.names(), some().names());
    for (name, shape, values) in some().iter() {
        assert_eq!(read.info(name).unwrap().shape, shape);
        assert_eq!(read.read_f32(name).unwrap(), values);
    }
    // Aligned data, as readers that map the file want it.
    let header = u64::from_le_bytes(fs::read(&path).unwrap()[..8].try_into().unwrap());
    assert_eq!(header % 8, 0);
}

#[test]
fn half_precision_halves_the_file_and_refuses_what_it_cannot_hold() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("half.safetensors");
    for dtype in [SaveDtype::F16, SaveDtype::BF16] {
        save_tensors(&path, &some(), dtype, &BTreeMap::new()).unwrap();
        let read = SafetensorsDir::open(&path).unwrap();
        assert_eq!(SaveDtype::exact_for(&read), dtype);
        for (a, b) in read.read_f32("a").unwrap().iter().zip(some().get("a").unwrap().1) {
            assert!((a - b).abs() <= b.abs() / 128., "{a} {b}");
        }
    }
    let mut large = Tensors::new();
    large.insert("large", vec![1], vec![70_000.]).unwrap();
    let error = save_tensors(&path, &large, SaveDtype::F16, &BTreeMap::new()).unwrap_err();
    assert!(error.to_string().contains("`large` holds 70000"), "{error}");
    // The file that was there is still there.
    assert!(SafetensorsDir::open(&path).unwrap().info("a").is_some());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn the_writer_insists_on_what_was_declared() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.safetensors");
    let create = |tensors: &[(&str, &[usize])]| {
        let tensors: Vec<_> = tensors.iter().map(|(n, s)| (n.to_string(), s.to_vec())).collect();
        SafetensorsWriter::create(&path, &tensors, SaveDtype::F32, &BTreeMap::new())
    };
    assert!(create(&[("a", &[1]), ("a", &[1])]).is_err());
    assert!(create(&[("a", &[usize::MAX, 2])]).is_err());
    let two = || create(&[("a", &[2]), ("b", &[1])]).unwrap();
    assert!(two().write("b", &[1.]).is_err());
    assert!(two().write("a", &[1.]).is_err());
    let mut writer = two();
    writer.write("a", &[1., 2.]).unwrap();
    let error = writer.finish().unwrap_err().to_string();
    assert!(error.contains("`b` was not written"), "{error}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn lying_headers_are_refused_with_the_reason() {
    let tensor = |shape: &str, from: u64, to: u64| {
        format!(r#"{{"t":{{"dtype":"F32","shape":{shape},"data_offsets":[{from},{to}]}}}}"#)
    };
    let two = |second_from: u64, second_to: u64| {
        format!(
            r#"{{"a":{{"dtype":"F32","shape":[4],"data_offsets":[0,16]}},
                 "b":{{"dtype":"F32","shape":[4],"data_offsets":[{second_from},{second_to}]}}}}"#
        )
    };
    let cases = [
        (vec![], "only 0 bytes"),
        (vec![1, 2, 3], "only 3 bytes"),
        (u64::MAX.to_le_bytes().to_vec(), "format allows"),
        (100_000_001u64.to_le_bytes().to_vec(), "format allows"),
        (99u64.to_le_bytes().to_vec(), "cut short"),
        (raw("", 0), "not valid"),
        (raw("[1]", 0), "not valid"),
        (raw(&"[".repeat(5000), 0), "not valid"),
        (raw(r#"{"t":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}"#, 4), "not valid"),
        (raw(r#"{"t":{"dtype":"F32","shape":[1.5],"data_offsets":[0,4]}}"#, 4), "not valid"),
        (raw(r#"{"t":{"dtype":"F32","shape":[1]}}"#, 4), "not valid"),
        (raw(r#"{"t":{"dtype":"F8_E4M3","shape":[1],"data_offsets":[0,1]}}"#, 1), "F8_E4M3"),
        (raw(&format!("{}{}", tensor("[1]", 0, 4), tensor("[1]", 0, 4)), 4), "not valid"),
        (
            raw(
                r#"{"t":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"t":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#,
                4,
            ),
            "occurs twice",
        ),
        (raw(&tensor("[4]", 0, 16), 15), "cut short"),
        (raw(&tensor("[4]", 0, u64::MAX), 16), "cut short"),
        (raw(&tensor("[4]", 16, 0), 16), "cut short"),
        (raw(&tensor("[5]", 0, 16), 16), "not the shape"),
        (raw(&tensor("[4294967296,4294967296]", 0, 0), 0), "not the shape"),
        (raw(&tensor("[18446744073709551615]", 0, 16), 16), "not the shape"),
        (raw(&tensor("[4]", 0, 16), 17), "end at byte 16"),
        (raw(&tensor("[3]", 4, 16), 16), "leaves a gap"),
        (raw(&two(8, 24), 24), "overlaps"),
        (raw(&two(0, 16), 16), "overlaps"),
        (raw(&two(20, 36), 36), "leaves a gap"),
    ];
    for (bytes, part) in cases {
        let error = open(&bytes).expect_err(part);
        assert!(matches!(error, WeightsError::Malformed { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains(part) && text.contains("hostile.safetensors"), "`{text}` does not say `{part}`");
    }
}

#[test]
fn a_file_cut_anywhere_is_an_error() {
    let whole = fs::read(golden("tiny_llama.safetensors")).unwrap();
    for length in (0..whole.len()).step_by(501) {
        assert!(open(&whole[..length]).is_err(), "cut at {length}");
    }
}

#[test]
fn flipped_header_bytes_never_panic() {
    let whole = fs::read(golden("tiny_llama.safetensors")).unwrap();
    for at in 0..400 {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x11;
        let _ = open(&bytes);
    }
}
