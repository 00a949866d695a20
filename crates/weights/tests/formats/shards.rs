//! Safetensors in several files: what the index decides, and folders that contradict themselves.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use safevlm_weights::{
    ADAPTER_FILE, INDEX_FILE, SINGLE_FILE, SafetensorsDir, SaveDtype, TensorSource, Tensors, WeightsError, save_tensors,
};

use crate::golden;

fn write_shards(dir: &Path, index: &str) {
    let shard = |name: &str, tensor: &str, value: f32| {
        let mut tensors = Tensors::new();
        tensors.insert(tensor, vec![1], vec![value]).unwrap();
        tensors.insert("both", vec![1], vec![value]).unwrap();
        save_tensors(&dir.join(name), &tensors, SaveDtype::F32, &BTreeMap::new()).unwrap();
    };
    shard("one.safetensors", "a", 1.);
    shard("two.safetensors", "b", 2.);
    fs::write(dir.join(INDEX_FILE), index).unwrap();
}

#[test]
fn shards_are_one_checkpoint_and_the_index_decides() {
    let dir = tempfile::tempdir().unwrap();
    let index = r#"{"metadata":{"total_size":16},"weight_map":{"a":"one.safetensors","b":"two.safetensors","both":"two.safetensors"}}"#;
    write_shards(dir.path(), index);
    let read = SafetensorsDir::open(dir.path()).unwrap();
    assert_eq!(read.names(), ["a", "b", "both"]);
    assert_eq!(read.read_f32("a").unwrap(), [1.]);
    assert_eq!(read.read_f32("both").unwrap(), [2.]);
}

#[test]
fn an_index_that_lies_or_reaches_outside_is_refused() {
    for (index, part) in [
        ("{", "EOF"),
        (r#"{"weight_map":{"a":"../one.safetensors"}}"#, "not a file name"),
        (r#"{"weight_map":{"a":"/etc/passwd"}}"#, "not a file name"),
        (r#"{"weight_map":{"a":""}}"#, "not a file name"),
        (r#"{"weight_map":{"a":".."}}"#, "not a file name"),
        (r#"{"weight_map":{"a":"one.safetensors/"}}"#, "not a file name"),
        (r#"{"weight_map":{"a":"..\\one.safetensors"}}"#, "not a file name"),
        (r#"{"weight_map":{"a":"one\u0000.safetensors"}}"#, "not a file name"),
        (r#"{"weight_map":{}}"#, "is empty"),
        (r#"{"weight_map":[]}"#, "expected an object"),
        (r#"{"weight_map":{"a":"one.safetensors","a":"two.safetensors"}}"#, "`a` occurs twice"),
        (r#"{"metadata":{}}"#, "missing field"),
        (r#"{"weight_map":{"a":"three.safetensors"}}"#, "lists this shard"),
        (r#"{"weight_map":{"x":"one.safetensors"}}"#, "no tensor `x`"),
        // `b` exists, in another shard than the index says.
        (r#"{"weight_map":{"a":"one.safetensors","b":"one.safetensors"}}"#, "no tensor `b`"),
        (r#"{"weight_map":{"a":"one.safetensors","b":"one.safetensors","both":"two.safetensors"}}"#, "no tensor `b`"),
        // Both shards hold `both`, and the index is silent.
        (r#"{"weight_map":{"a":"one.safetensors","b":"two.safetensors"}}"#, "holds `both` too"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        write_shards(dir.path(), index);
        let error = SafetensorsDir::open(dir.path()).expect_err(part).to_string();
        assert!(error.contains(part), "`{error}` does not say `{part}`");
    }
}

#[test]
fn a_folder_without_a_clear_checkpoint_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let error = SafetensorsDir::open(dir.path()).unwrap_err().to_string();
    assert!(error.contains("import the model first"), "{error}");
    fs::copy(golden("tiny_llama.safetensors"), dir.path().join("adapter.safetensors")).unwrap();
    assert_eq!(SafetensorsDir::open(dir.path()).unwrap().names().len(), 20);
    fs::copy(golden("tiny_llama.safetensors"), dir.path().join("second.safetensors")).unwrap();
    let error = SafetensorsDir::open(dir.path()).unwrap_err().to_string();
    assert!(error.contains("no index"), "{error}");
}

#[test]
fn a_shard_that_the_index_does_not_name_and_an_adapter_beside_it_are_not_opened() {
    let dir = tempfile::tempdir().unwrap();
    write_shards(dir.path(), r#"{"weight_map":{"a":"one.safetensors","both":"one.safetensors"}}"#);
    // Not even a header is read of them.
    fs::write(dir.path().join("two.safetensors"), "broken").unwrap();
    fs::write(dir.path().join(ADAPTER_FILE), "broken").unwrap();
    let read = SafetensorsDir::open(dir.path()).unwrap();
    assert_eq!(read.names(), ["a", "both"]);
    assert_eq!(read.read_f32("both").unwrap(), [1.]);
}

#[test]
fn a_truncated_shard_is_named() {
    let dir = tempfile::tempdir().unwrap();
    write_shards(
        dir.path(),
        r#"{"weight_map":{"a":"one.safetensors","b":"two.safetensors","both":"two.safetensors"}}"#,
    );
    let path = dir.path().join("two.safetensors");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    let error = SafetensorsDir::open(dir.path()).unwrap_err().to_string();
    assert!(error.contains("two.safetensors") && error.contains("cut short"), "{error}");
}

#[test]
fn two_checkpoints_in_one_folder_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    write_shards(dir.path(), r#"{"weight_map":{"a":"one.safetensors","both":"one.safetensors"}}"#);
    fs::rename(dir.path().join("two.safetensors"), dir.path().join(SINGLE_FILE)).unwrap();
    let error = SafetensorsDir::open(dir.path()).unwrap_err().to_string();
    assert!(error.contains("two checkpoints: delete one"), "{error}");
    // An index of one shard with the usual name is no contradiction.
    fs::write(dir.path().join(INDEX_FILE), r#"{"weight_map":{"b":"model.safetensors","both":"model.safetensors"}}"#)
        .unwrap();
    assert_eq!(SafetensorsDir::open(dir.path()).unwrap().names(), ["b", "both"]);
}

#[test]
fn an_adapter_beside_the_model_is_no_part_of_it() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(ADAPTER_FILE), "broken").unwrap();
    let error = SafetensorsDir::open(dir.path()).unwrap_err().to_string();
    assert!(error.contains("only an adapter"), "{error}");
    for name in ["weights.safetensors", SINGLE_FILE] {
        fs::copy(golden("tiny_llama.safetensors"), dir.path().join(name)).unwrap();
        assert_eq!(SafetensorsDir::open(dir.path()).unwrap().names().len(), 20);
    }
}

#[test]
fn pieces_are_the_whole() {
    let dir = tempfile::tempdir().unwrap();
    // More than one piece of a file that is read.
    let values: Vec<f32> = (0..300_000).map(|value| value as f32).collect();
    let mut tensors = Tensors::new();
    tensors.insert("long", vec![300_000], values.clone()).unwrap();
    tensors.insert("none", vec![0], vec![]).unwrap();
    save_tensors(&dir.path().join(SINGLE_FILE), &tensors, SaveDtype::F32, &BTreeMap::new()).unwrap();
    let source = SafetensorsDir::open(dir.path()).unwrap();
    assert_eq!(source.read_f32("long").unwrap(), values);
    let (mut pieces, mut count) = (Vec::new(), 0);
    let take = &mut |piece: &[f32]| {
        pieces.extend_from_slice(piece);
        count += 1;
        Ok(())
    };
    source.read_pieces("long", take).unwrap();
    source.read_pieces("none", take).unwrap();
    assert!(count > 1);
    assert_eq!(pieces, values);
    assert!(matches!(source.read_pieces("other", &mut |_| Ok(())), Err(WeightsError::NoTensor { .. })));
}
