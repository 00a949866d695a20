//! How much memory a load takes, in bytes that the system counts: Linux only.
#![cfg(target_os = "linux")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use burn::module::{Initializer, Module, Param};
use burn::tensor::{Device, Tensor};
use safevlm_weights::{Allow, FloatDtype, KeyMap, SafetensorsDir, SafetensorsWriter, SaveDtype, load_module_as};

/// What the measured process reads its orders from: folder and type.
const ORDERS: &str = "SAFEVLM_TEST_PEAK";
/// The model: layers, and a head of a quarter of its values, last because a second copy of it counts
/// most when everything else is there already.
const WIDTH: usize = 1024;
const HEAD: usize = 25 * 1024;
const LAYER: usize = 5 * 1024;
const LAYERS: usize = 15;
const VALUES: usize = WIDTH * (HEAD + LAYERS * LAYER);

#[derive(Module, Debug)]
struct Model {
    layers: Vec<Param<Tensor<2>>>,
    head: Param<Tensor<2>>,
}

fn model(device: &Device) -> Model {
    let parameter = |rows| Initializer::Zeros.init([rows, WIDTH], device);
    Model { layers: (0..LAYERS).map(|_| parameter(LAYER)).collect(), head: parameter(HEAD) }
}

/// About 200 MB in bf16.
fn write_checkpoint(path: &Path) {
    let mut tensors = vec![("head".to_string(), vec![HEAD, WIDTH])];
    tensors.extend((0..LAYERS).map(|layer| (format!("layers.{layer}"), vec![LAYER, WIDTH])));
    let mut writer = SafetensorsWriter::create(path, &tensors, SaveDtype::BF16, &BTreeMap::new()).unwrap();
    let values = vec![0.5; HEAD * WIDTH];
    for (name, shape) in &tensors {
        writer.write(name, &values[..shape.iter().product()]).unwrap();
    }
    writer.finish().unwrap();
}

/// A line of `/proc/self/status`, in bytes.
fn status(key: &str) -> usize {
    let text = fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches("kB").trim().parse::<usize>().unwrap() * 1024
}

/// Not a test of its own: what the measured process does, so that nothing else is counted.
#[test]
fn load_in_a_process_of_its_own() {
    let Ok(orders) = std::env::var(ORDERS) else { return };
    let (dtype, folder) = orders.split_once(':').unwrap();
    let dtype: FloatDtype = dtype.parse().unwrap();
    let device = Device::flex();
    // The device's own threads and buffers are not the model's.
    let _ = Tensor::<1>::zeros([1], &device).into_data();
    let before = status("VmRSS");
    let source = SafetensorsDir::open(Path::new(folder)).unwrap();
    let (model, _) = load_module_as(model(&device), &source, &KeyMap::identity(), &Allow::nothing(), dtype).unwrap();
    println!("peak={} kept={}", status("VmHWM") - before, status("VmRSS") - before);
    assert_eq!(model.head.val().dtype(), dtype.burn());
    let last = model.layers[LAYERS - 1].val().slice([LAYER - 1..LAYER, WIDTH - 1..WIDTH]);
    assert_eq!(last.into_data().convert::<f32>().try_into_vec::<f32>().unwrap(), [0.5]);
}

#[test]
fn loading_peaks_below_1_15_of_the_loaded_model_in_every_type() {
    let dir = tempfile::tempdir().unwrap();
    write_checkpoint(&dir.path().join("model.safetensors"));
    for dtype in [FloatDtype::BF16, FloatDtype::F16, FloatDtype::F32] {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "load_in_a_process_of_its_own", "--nocapture"])
            .env(ORDERS, format!("{dtype}:{}", dir.path().display()))
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        let bytes = |key: &str| -> usize {
            let (_, rest) = text.split_once(key).expect(key);
            rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap()
        };
        let (peak, kept, model) = (bytes("peak="), bytes("kept="), VALUES * dtype.size());
        println!("{dtype}: model {model}, kept {kept}, peak {peak}");
        assert!(peak * 100 <= model * 115, "{dtype}: the load peaks at {peak} bytes for a model of {model}");
        // The measurement sees the model at all.
        assert!(kept * 100 >= model * 95, "{dtype}: {kept} bytes are kept of a model of {model}");
    }
}
