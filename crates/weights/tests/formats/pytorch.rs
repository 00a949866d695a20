//! PyTorch state dicts (xtask/goldens/state_dict.py).

use std::fs;

use safevlm_weights::{StateDict, StoredDtype, TensorSource, WeightsError};

use crate::{file, golden};

const RAMP: [f32; 6] = [0., 0.25, 0.5, 0.75, 1., 1.25];

#[test]
fn every_type_and_layout_is_read() {
    let state = StateDict::open(&golden("state_dict.pth")).unwrap();
    for (name, dtype) in
        [("f32", StoredDtype::F32), ("f16", StoredDtype::F16), ("bf16", StoredDtype::BF16), ("f64", StoredDtype::F64)]
    {
        let info = state.info(name).unwrap();
        assert_eq!((info.shape.as_slice(), info.dtype), ([2, 3].as_slice(), dtype));
        assert_eq!(state.read_f32(name).unwrap(), RAMP, "{name}");
    }
    assert_eq!(state.info("transposed").unwrap().shape, [3, 2]);
    assert_eq!(state.read_f32("transposed").unwrap(), [0., 0.75, 0.25, 1., 0.5, 1.25]);
    assert_eq!(state.read_f32("view").unwrap(), [4., 5., 6., 7.]);
    assert_eq!(state.read_f32("steps").unwrap(), [7.]);
    assert_eq!(state.read_f32("flags").unwrap(), [1., 0.]);
    assert!(matches!(state.read_f32("nothing"), Err(WeightsError::NoTensor { .. })));
}

#[test]
fn nested_dictionaries_of_the_old_container_become_dotted_names() {
    let state = StateDict::open(&golden("nested.pth")).unwrap();
    assert_eq!(state.names(), ["state_dict.fc.weight"]);
    assert_eq!(state.read_f32("state_dict.fc.weight").unwrap(), RAMP);
}

#[test]
fn shards_are_merged_and_a_tensor_in_two_of_them_is_refused() {
    let files = [golden("state_dict.pth"), golden("nested.pth")];
    let state = StateDict::open_shards(&files[0], &files).unwrap();
    assert_eq!(state.names().len(), 9);
    let twice = [golden("nested.pth"), golden("nested.pth")];
    let error = StateDict::open_shards(&twice[0], &twice).unwrap_err().to_string();
    assert!(error.contains("another shard"), "{error}");
}

#[test]
fn damaged_files_are_typed_errors_and_never_panics() {
    for name in ["state_dict.pth", "nested.pth"] {
        let whole = fs::read(golden(name)).unwrap();
        for length in (0..whole.len()).step_by(13) {
            let (_dir, path) = file(name, &whole[..length]);
            if let Ok(state) = StateDict::open(&path) {
                // A cut in the data of the old container shows when that tensor is read.
                let reads: Vec<_> = state.names().iter().map(|name| state.read_f32(name)).collect();
                assert!(reads.iter().any(Result::is_err), "{name} cut at {length}");
            }
        }
        for at in (0..whole.len()).step_by(3) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0xff;
            let (_dir, path) = file(name, &bytes);
            if let Ok(state) = StateDict::open(&path) {
                for name in state.names() {
                    let _ = state.read_f32(&name);
                }
            }
        }
    }
    let (_dir, path) = file("text.pth", b"not a checkpoint");
    let error = StateDict::open(&path).unwrap_err();
    assert!(error.is_bad_input());
    assert!(error.to_string().contains("text.pth"), "{error}");
    let absent = StateDict::open(&path.with_file_name("absent.pth")).unwrap_err().to_string();
    assert!(absent.contains("absent.pth") && absent.contains("check the path"), "{absent}");
}
