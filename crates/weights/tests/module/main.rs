//! Checkpoints into modules and back, with a toy module of every kind of field.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;

use burn::module::{Initializer, Module, Param};
use burn::tensor::{Device, Tensor};
use safevlm_weights::{
    Allow, FloatDtype, KeyMap, SafetensorsDir, SaveDtype, StoredDtype, TensorInfo, TensorSource, Tensors, WeightsError,
    check_module, collect_module, load_module, load_module_as, save_module,
};
use serde_json::json;

#[derive(Module, Debug)]
struct Linear {
    weight: Param<Tensor<2>>,
    bias: Option<Param<Tensor<1>>>,
}

#[derive(Module, Debug)]
enum Head {
    Plain(Linear),
}

#[derive(Module, Debug)]
struct Toy {
    layers: Vec<Linear>,
    head: Head,
    scale: Option<Param<Tensor<1>>>,
    #[module(skip)]
    name: String,
}

fn linear(device: &Device, bias: bool) -> Linear {
    Linear {
        weight: Initializer::Constant { value: -1. }.init([2, 3], device),
        bias: bias.then(|| Initializer::Constant { value: -1. }.init([2], device)),
    }
}

fn toy(device: &Device) -> Toy {
    Toy {
        layers: vec![linear(device, true), linear(device, false)],
        head: Head::Plain(linear(device, false)),
        scale: None,
        name: "toy".to_string(),
    }
}

/// The toy's checkpoint, its names prefixed as checkpoints have them.
fn checkpoint() -> Tensors {
    let mut tensors = Tensors::new();
    let weight = |from: u32| (from..from + 6).map(|v| v as f32).collect();
    tensors.insert("model.layers.0.weight", vec![2, 3], weight(0)).unwrap();
    tensors.insert("model.layers.0.bias", vec![2], vec![10., 11.]).unwrap();
    tensors.insert("model.layers.1.weight", vec![2, 3], weight(20)).unwrap();
    tensors.insert("model.head.weight", vec![2, 3], weight(30)).unwrap();
    tensors
}

fn keys() -> KeyMap {
    KeyMap::new(&[(r"^model\.", "")])
}

fn fails(tensors: &Tensors, allow: &Allow) -> String {
    let error = load_module(toy(&Device::flex()), tensors, &keys(), allow).unwrap_err();
    assert!(matches!(error, WeightsError::Mismatch(_)));
    error.to_string()
}

#[test]
fn every_field_is_reached_by_its_path() {
    let (module, report) = load_module(toy(&Device::flex()), &checkpoint(), &keys(), &Allow::nothing()).unwrap();
    let fields: Vec<_> = report.applied.iter().map(|applied| applied.field.as_str()).collect();
    assert_eq!(fields, ["layers.0.weight", "layers.0.bias", "layers.1.weight", "head.weight"]);
    assert!(report.missing.is_empty() && report.unused.is_empty());
    let loaded = collect_module(&module).unwrap();
    for (name, shape, values) in checkpoint().iter() {
        assert_eq!(loaded.get(&keys().apply(name)), Some((shape, values)), "{name}");
    }
    assert_eq!(module.name, "toy");
}

#[test]
fn loading_keeps_the_device_s_autodiff_and_what_is_frozen() {
    let device = Device::flex().autodiff();
    let module = toy(&device);
    let frozen = Toy { head: module.head.clone().no_grad(), ..module };
    let (module, _) = load_module(frozen, &checkpoint(), &keys(), &Allow::nothing()).unwrap();
    assert!(module.layers[0].weight.val().is_require_grad());
    let Head::Plain(head) = &module.head;
    assert!(!head.weight.val().is_require_grad());
}

#[test]
fn missing_unexpected_and_misshaped_tensors_are_told_at_once() {
    let mut tensors = checkpoint();
    tensors.remove("model.layers.1.weight");
    tensors.insert("model.rotary.inv_freq", vec![1], vec![0.]).unwrap();
    tensors.insert("model.head.weight", vec![3, 2], vec![0.; 6]).unwrap();
    let error = fails(&tensors, &Allow::nothing());
    for part in
        ["1 missing (layers.1.weight)", "1 unexpected (model.rotary.inv_freq)", "`head.weight` is [2, 3]", "[3, 2]"]
    {
        assert!(error.contains(part), "`{error}` does not say `{part}`");
    }
    // Allowed, the first two pass; a wrong shape never does.
    let allow = Allow::nothing().missing(r"^layers\.1\.").unused(r"inv_freq$");
    assert!(fails(&tensors, &allow).contains("1 shape mismatch"));
    tensors.insert("model.head.weight", vec![2, 3], vec![0.; 6]).unwrap();
    let (module, report) = load_module(toy(&Device::flex()), &tensors, &keys(), &allow).unwrap();
    assert_eq!(report.missing.iter().map(|field| &field.field).collect::<Vec<_>>(), ["layers.1.weight"]);
    assert_eq!(report.unused.iter().map(|tensor| &tensor.name).collect::<Vec<_>>(), ["model.rotary.inv_freq"]);
    assert_eq!(report.to_string(), "3 tensors loaded, 1 left as initialised, 1 unused");
    assert_eq!(collect_module(&module).unwrap().get("layers.1.weight").unwrap().1, [-1.; 6]);
}

#[test]
fn a_report_without_a_load_tells_every_tensor_and_serialises() {
    let mut tensors = checkpoint();
    tensors.remove("model.layers.0.bias");
    tensors.insert("model.rotary.inv_freq", vec![1], vec![0.]).unwrap();
    tensors.insert("model.head.weight", vec![3, 2], vec![0.; 6]).unwrap();
    let source = Watched { inner: tensors, fail: "", reads: Mutex::default() };
    let report = check_module(&toy(&Device::flex()), &source, &keys()).unwrap();
    assert!(source.reads.lock().unwrap().is_empty());
    assert_eq!(report.to_string(), "2 tensors loaded, 1 left as initialised, 1 unused, 1 of another shape");
    let applied = |layer: u32| {
        let field = format!("layers.{layer}.weight");
        json!({"field": field, "name": format!("model.{field}"), "shape": [2, 3], "stored": "F32"})
    };
    let expected = json!({
        "checkpoint": "watched",
        "applied": [applied(0), applied(1)],
        "missing": [{"field": "layers.0.bias", "shape": [2]}],
        "unused": [{"name": "model.rotary.inv_freq", "shape": [1], "stored": "F32"}],
        "misshapen": [{
            "parameter": {"field": "head.weight", "shape": [2, 3]},
            "tensor": {"name": "model.head.weight", "shape": [3, 2], "stored": "F32"},
        }],
    });
    assert_eq!(serde_json::to_value(&report).unwrap(), expected);
}

#[test]
fn parameters_get_the_type_that_is_asked_for() {
    let mut tensors = checkpoint();
    tensors.insert("model.layers.0.bias", vec![2], vec![1.001, -65_504.]).unwrap();
    for (dtype, expected) in [
        (FloatDtype::F32, [1.001, -65_504.]),
        (FloatDtype::F16, [1.000_976_6, -65_504.]),
        (FloatDtype::BF16, [1., -65_536.]),
    ] {
        let device = Device::flex();
        let (module, _) = load_module_as(toy(&device), &tensors, &keys(), &Allow::nothing(), dtype).unwrap();
        let bias = module.layers[0].bias.as_ref().unwrap().val();
        assert_eq!(bias.dtype(), dtype.burn());
        assert_eq!(bias.into_data().convert::<f32>().try_into_vec::<f32>().unwrap(), expected);
        assert_eq!(module.layers[1].weight.val().dtype(), dtype.burn());
    }
    tensors.insert("model.layers.0.bias", vec![2], vec![1., 70_000.]).unwrap();
    let load = |dtype| load_module_as(toy(&Device::flex()), &tensors, &keys(), &Allow::nothing(), dtype);
    let error = load(FloatDtype::F16).unwrap_err().to_string();
    assert!(error.contains("`model.layers.0.bias` holds 70000") && error.contains("choose bf16 or f32"), "{error}");
    assert!(load(FloatDtype::BF16).is_ok());
}

#[test]
fn the_stored_type_is_that_of_most_values() {
    /// The tensor's stored type is its name.
    struct Stored(&'static [(&'static str, StoredDtype, usize)]);
    impl TensorSource for Stored {
        fn path(&self) -> &Path {
            Path::new("stored")
        }
        fn names(&self) -> Vec<String> {
            self.0.iter().map(|(name, ..)| name.to_string()).collect()
        }
        fn info(&self, name: &str) -> Option<TensorInfo> {
            let found = self.0.iter().find(|(own, ..)| *own == name);
            found.map(|(_, dtype, count)| TensorInfo { shape: vec![*count], dtype: *dtype })
        }
        fn read_f32(&self, _name: &str) -> Result<Vec<f32>, WeightsError> {
            unreachable!("nothing is read")
        }
    }
    use StoredDtype::*;
    for (tensors, expected) in [
        (&[("a", BF16, 9), ("norm", F32, 2)][..], FloatDtype::BF16),
        (&[("a", F16, 9), ("norm", BF16, 2)], FloatDtype::F16),
        (&[("a", F16, 5), ("b", BF16, 5)], FloatDtype::F32),
        (&[("a", F32, 9), ("b", BF16, 5)], FloatDtype::F32),
        (&[], FloatDtype::F32),
    ] {
        assert_eq!(FloatDtype::as_stored(&Stored(tensors)), expected, "{tensors:?}");
    }
}

#[test]
fn long_lists_are_cut_and_two_tensors_for_one_field_are_refused() {
    let mut tensors = checkpoint();
    for number in 0..9 {
        tensors.insert(format!("extra{number}"), vec![1], vec![0.]).unwrap();
    }
    assert!(
        fails(&tensors, &Allow::nothing()).contains("9 unexpected (extra0, extra1, extra2, extra3, extra4 and 4 more)")
    );
    tensors.insert("head.weight", vec![2, 3], vec![0.; 6]).unwrap();
    assert!(fails(&tensors, &Allow::nothing()).contains("both belong to `head.weight`"));
}

/// Counts what is read, and fails where told.
struct Watched {
    inner: Tensors,
    fail: &'static str,
    reads: Mutex<Vec<String>>,
}

impl TensorSource for Watched {
    fn path(&self) -> &Path {
        Path::new("watched")
    }

    fn names(&self) -> Vec<String> {
        self.inner.names()
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        self.inner.info(name)
    }

    fn read_f32(&self, name: &str) -> Result<Vec<f32>, WeightsError> {
        self.reads.lock().unwrap().push(name.to_string());
        if name == self.fail {
            return Err(WeightsError::NoTensor { path: "watched".into(), name: name.to_string() });
        }
        self.inner.read_f32(name)
    }
}

#[test]
fn a_tensor_that_cannot_be_read_ends_the_load_with_its_error() {
    let source = Watched { inner: checkpoint(), fail: "model.layers.0.bias", reads: Mutex::default() };
    let error = load_module(toy(&Device::flex()), &source, &keys(), &Allow::nothing()).unwrap_err();
    assert!(matches!(error, WeightsError::NoTensor { .. }), "{error}");
    assert_eq!(*source.reads.lock().unwrap(), ["model.layers.0.weight", "model.layers.0.bias"]);
}

#[test]
fn each_tensor_is_read_once_and_none_where_the_load_cannot_succeed() {
    let watch = |inner| Watched { inner, fail: "", reads: Mutex::default() };
    let whole = watch(checkpoint());
    load_module(toy(&Device::flex()), &whole, &keys(), &Allow::nothing()).unwrap();
    assert_eq!(whole.reads.lock().unwrap().len(), 4);
    let mut without_first = checkpoint();
    without_first.remove("model.layers.0.weight");
    let hopeless = watch(without_first);
    load_module(toy(&Device::flex()), &hopeless, &keys(), &Allow::nothing()).unwrap_err();
    assert!(hopeless.reads.lock().unwrap().is_empty());
}

#[test]
fn a_saved_module_loads_again_in_both_precisions() {
    let dir = tempfile::tempdir().unwrap();
    let (module, _) = load_module(toy(&Device::flex()), &checkpoint(), &keys(), &Allow::nothing()).unwrap();
    for dtype in [SaveDtype::F32, SaveDtype::F16] {
        let path = dir.path().join("toy.safetensors");
        let rename = |path: &str| Some(format!("model.{path}"));
        save_module(&path, &module, dtype, &BTreeMap::new(), &rename).unwrap();
        let file = SafetensorsDir::open(&path).unwrap();
        assert_eq!(file.names(), checkpoint().names());
        let (again, _) = load_module(toy(&Device::flex()), &file, &keys(), &Allow::nothing()).unwrap();
        assert_eq!(collect_module(&again).unwrap(), collect_module(&module).unwrap());
    }
    let path = dir.path().join("head.safetensors");
    let head_only = |path: &str| path.starts_with("head").then(|| path.to_string());
    save_module(&path, &module, SaveDtype::F32, &BTreeMap::new(), &head_only).unwrap();
    assert_eq!(SafetensorsDir::open(&path).unwrap().names(), ["head.weight"]);
}
