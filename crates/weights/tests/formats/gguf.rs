//! Dequantisation against the `gguf` package's values (xtask/goldens/gguf_blocks.py).

use safevlm_weights::gguf::{GgmlType, GgufFile};
use safevlm_weights::{StoredDtype, TensorSource};

use crate::golden;

#[test]
fn every_type_dequantises_to_exactly_the_reference_s_values() {
    let file = GgufFile::open(&golden("blocks.gguf")).unwrap();
    for kind in GgmlType::ALL {
        // The expected values are the F32 case.
        if kind == GgmlType::F32 {
            continue;
        }
        let name = format!("{kind:?}");
        let info = file.info(&name).unwrap();
        assert_eq!(info.dtype, StoredDtype::Ggml(kind));
        assert_eq!(info.shape[0], 2);
        let values = file.read_f32(&name).unwrap();
        let expected = file.read_f32(&format!("{name}.expected")).unwrap();
        assert_eq!(values.len(), info.len());
        assert!(values.iter().any(|value| *value != 0.));
        let first = values.iter().zip(&expected).position(|(a, b)| a.to_bits() != b.to_bits());
        if let Some(at) = first {
            panic!("{name} differs first at {at}: {} and {}", values[at], expected[at]);
        }
    }
}

#[test]
fn names_are_sorted_and_an_unknown_one_is_an_error() {
    let file = GgufFile::open(&golden("blocks.gguf")).unwrap();
    let names = file.names();
    assert!(names.is_sorted());
    assert_eq!(names.len(), 16);
    let error = file.read_f32("nothing").unwrap_err().to_string();
    assert!(error.contains("nothing") && error.contains("blocks.gguf"), "{error}");
}

#[test]
fn metadata_of_the_wrong_kind_is_named() {
    let file = GgufFile::open(&golden("tiny_llama.gguf")).unwrap();
    assert_eq!(file.text("general.architecture").unwrap(), "llama");
    assert_eq!(file.count("llama.block_count").unwrap(), 2);
    for error in [
        file.count("general.architecture").unwrap_err(),
        file.text("llama.block_count").unwrap_err(),
        file.texts("general.architecture").unwrap_err(),
        file.integers("tokenizer.ggml.tokens").unwrap_err(),
        file.float("no.such.key").unwrap_err(),
    ] {
        assert!(error.is_bad_input());
        assert!(error.to_string().contains("tiny_llama.gguf"), "{error}");
    }
}
