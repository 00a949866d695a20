//! Sources into model folders.

use std::fs;
use std::path::Path;

use safevlm_weights::{
    INDEX_FILE, MANIFEST_FILE, ModelManifest, SINGLE_FILE, SafetensorsDir, Source, StateDict, TensorSource,
    WeightsError, import_source,
};

use crate::server::{Server, sha256};
use crate::{fetcher, files_below, golden};

fn path(path: &Path) -> Source {
    Source::Path(path.to_path_buf())
}

#[test]
fn a_gguf_becomes_a_complete_folder_with_its_record() {
    let (dir, fetcher) = fetcher();
    let folder = import_source(&path(&golden("tiny_llama.gguf")), None, &fetcher).unwrap();
    assert_eq!(folder, dir.path().join("models/tiny_llama"));
    let names = [
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        SINGLE_FILE,
        MANIFEST_FILE,
        "tokenizer.json",
        "tokenizer_config.json",
    ];
    assert_eq!(files_below(dir.path()), names.map(|name| format!("models/tiny_llama/{name}")));

    let made = SafetensorsDir::open(&folder).unwrap();
    let original = SafetensorsDir::open(&golden("tiny_llama.safetensors")).unwrap();
    assert_eq!(made.names(), original.names());
    for name in original.names() {
        assert_eq!(made.read_f32(&name).unwrap(), original.read_f32(&name).unwrap(), "{name}");
    }
    let config: serde_json::Value = serde_json::from_slice(&fs::read(folder.join("config.json")).unwrap()).unwrap();
    assert_eq!(config["model_type"], "llama");

    let manifest = ModelManifest::read(&folder).unwrap().unwrap();
    manifest.verify(&folder).unwrap();
    let gguf = fs::read(golden("tiny_llama.gguf")).unwrap();
    let record = &manifest.sources["tiny_llama.gguf"];
    assert_eq!((record.sha256.as_str(), record.size), (sha256(&gguf).as_str(), gguf.len() as u64));
    assert_eq!(manifest.files.len(), 6);
}

#[test]
fn an_import_is_not_repeated_unless_the_source_or_the_folder_changed() {
    let (_dir, fetcher) = fetcher();
    let here = tempfile::tempdir().unwrap();
    let source = here.path().join("model.gguf");
    fs::copy(golden("tiny_llama.gguf"), &source).unwrap();
    let import = || import_source(&path(&source), Some("mine"), &fetcher).unwrap();
    let stamp = |folder: &Path| fs::metadata(folder.join(MANIFEST_FILE)).unwrap().modified().unwrap();
    let folder = import();
    let first = stamp(&folder);
    assert_eq!(stamp(&import()), first);
    // A file went missing: made again.
    fs::remove_file(folder.join("config.json")).unwrap();
    let second = stamp(&import());
    assert_ne!(second, first);
    assert!(folder.join("config.json").exists());
    // The source changed: made again.
    let mut bytes = fs::read(&source).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&source, bytes).unwrap();
    assert_ne!(stamp(&import()), second);
}

#[test]
fn a_state_dict_becomes_safetensors_under_its_own_names() {
    let (_dir, fetcher) = fetcher();
    let folder = import_source(&path(&golden("state_dict.pth")), Some("toy"), &fetcher).unwrap();
    let made = SafetensorsDir::open(&folder).unwrap();
    let state = StateDict::open(&golden("state_dict.pth")).unwrap();
    assert_eq!(made.names(), state.names());
    for name in state.names() {
        assert_eq!(made.info(&name).unwrap().shape, state.info(&name).unwrap().shape);
        assert_eq!(made.read_f32(&name).unwrap(), state.read_f32(&name).unwrap(), "{name}");
    }
}

/// A folder as a hub serves it: two shards, their index, configuration, and things to leave out.
fn sharded() -> Vec<(&'static str, Vec<u8>)> {
    let shard = |tensor: &str| {
        let header = format!(r#"{{"{tensor}":{{"dtype":"F16","shape":[2],"data_offsets":[0,4]}}}}"#);
        let length = (header.len() as u64).to_le_bytes();
        [length.as_slice(), header.as_bytes(), &[0, 0x3c, 0, 0x40]].concat()
    };
    let index = r#"{"weight_map":{"a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors"}}"#;
    vec![
        ("README.md", b"# Model".to_vec()),
        ("config.json", b"{}".to_vec()),
        ("consolidated.safetensors", b"no".to_vec()),
        ("model-00001-of-00002.safetensors", shard("a")),
        ("model-00002-of-00002.safetensors", shard("b")),
        (INDEX_FILE, index.as_bytes().to_vec()),
        ("onnx/model.onnx", b"no".to_vec()),
        ("pytorch_model.bin", b"no".to_vec()),
        ("tokenizer.json", b"{}".to_vec()),
    ]
}

const NEEDED: [&str; 5] = [
    "config.json",
    "model-00001-of-00002.safetensors",
    "model-00002-of-00002.safetensors",
    INDEX_FILE,
    "tokenizer.json",
];

fn check_sharded(folder: &Path) {
    let mut expected = [NEEDED.as_slice(), &[MANIFEST_FILE]].concat();
    expected.sort();
    assert_eq!(files_below(folder), expected);
    let made = SafetensorsDir::open(folder).unwrap();
    assert_eq!(made.names(), ["a", "b"]);
    assert_eq!(made.read_f32("b").unwrap(), [1., 2.]);
    let manifest = ModelManifest::read(folder).unwrap().unwrap();
    assert_eq!(manifest.sources.len(), NEEDED.len());
    manifest.verify(folder).unwrap();
}

#[test]
fn a_sharded_hub_repository_is_imported_whole_and_again_without_network() {
    let server = Server::start();
    let files = sharded();
    let files: Vec<(&str, &[u8])> = files.iter().map(|(name, content)| (*name, content.as_slice())).collect();
    server.publish(&files);
    let (dir, fetcher) = fetcher();
    let fetcher = fetcher.with_env("HF_ENDPOINT", server.address()).with_env("HF_TOKEN", "");
    let source: Source = "hf:org/model".parse().unwrap();
    let folder = import_source(&source, None, &fetcher).unwrap();
    assert_eq!(folder, dir.path().join("models/model"));
    check_sharded(&folder);
    assert_eq!(server.requests().len(), 1 + NEEDED.len());
    fs::remove_dir_all(&folder).unwrap();
    check_sharded(&import_source(&source, None, &fetcher).unwrap());
    assert_eq!(server.requests().len(), 1 + NEEDED.len());
}

#[test]
fn a_local_folder_is_checked_and_copied() {
    let here = tempfile::tempdir().unwrap();
    for (name, content) in sharded() {
        let path = here.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let (dir, fetcher) = fetcher();
    check_sharded(&import_source(&path(here.path()), Some("copy"), &fetcher).unwrap());

    // A damaged shard is found before anything is made.
    let shard = here.path().join(NEEDED[1]);
    let bytes = fs::read(&shard).unwrap();
    fs::write(&shard, &bytes[..bytes.len() - 1]).unwrap();
    let error = import_source(&path(here.path()), Some("broken"), &fetcher).unwrap_err();
    assert!(matches!(error, WeightsError::Malformed { .. }), "{error}");
    fs::remove_file(&shard).unwrap();
    let error = import_source(&path(here.path()), Some("broken"), &fetcher).unwrap_err();
    assert!(matches!(error, WeightsError::NotFound { .. }), "{error}");
    assert!(files_below(dir.path()).iter().all(|name| name.starts_with("models/copy/")));
}

#[test]
fn sources_that_cannot_be_imported_say_why_and_leave_nothing() {
    let (dir, fetcher) = fetcher();
    let here = tempfile::tempdir().unwrap();
    let empty = here.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let write = |name: &str, content: &[u8]| {
        fs::write(here.path().join(name), content).unwrap();
        here.path().join(name)
    };
    let gguf = fs::read(golden("tiny_llama.gguf")).unwrap();
    for (source, part) in [
        (empty.clone(), "holds no safetensors"),
        (here.path().join("absent.gguf"), "check the path"),
        (write("picture.png", b"x"), "holds no safetensors"),
        (write("empty.gguf", b""), "not a usable GGUF"),
        (write("cut.gguf", &gguf[..gguf.len() - 1]), "cut short"),
        (write("text.safetensors", b"not a checkpoint"), "not a usable safetensors"),
        (write("text.pth", b"not a checkpoint"), "not a usable PyTorch"),
        (golden("blocks.gguf"), "architecture is `test`"),
    ] {
        let error = import_source(&path(&source), Some("model"), &fetcher).unwrap_err();
        assert!(error.is_bad_input(), "{error}");
        assert!(error.to_string().contains(part), "`{error}` does not say `{part}`");
    }
    for name in ["", ".", "..", "a/b", ".hidden"] {
        let error = import_source(&path(&golden("tiny_llama.gguf")), Some(name), &fetcher).unwrap_err();
        assert!(error.to_string().contains("name"), "{error}");
    }
    assert!(files_below(dir.path()).is_empty());
}

#[test]
fn a_cache_that_cannot_be_written_is_told() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let cache = safevlm_weights::Cache::open(Some(file.path())).unwrap();
    let fetcher = safevlm_weights::Fetcher::new(cache);
    let error = import_source(&path(&golden("tiny_llama.gguf")), None, &fetcher).unwrap_err();
    assert!(matches!(error, WeightsError::Io { .. }) && !error.is_bad_input(), "{error}");
    assert!(error.to_string().contains("SAFEVLM_HOME"), "{error}");
}
