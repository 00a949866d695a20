//! GGUF files that are cut short or lie: each is a typed error, quickly and without allocation.

use safevlm_weights::gguf::GgufFile;
use safevlm_weights::{LlamaGguf, WeightsError};

use crate::{file, golden};

/// Builds a GGUF by hand, so that any number in it can be wrong.
struct Builder {
    bytes: Vec<u8>,
}

impl Builder {
    fn new(version: u32, tensors: u64, values: u64) -> Self {
        let mut this = Self { bytes: b"GGUF".to_vec() };
        this.u32(version).u64(tensors).u64(values);
        this
    }

    fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes.extend(value.to_le_bytes());
        self
    }

    fn u64(&mut self, value: u64) -> &mut Self {
        self.bytes.extend(value.to_le_bytes());
        self
    }

    fn text(&mut self, text: &str) -> &mut Self {
        self.u64(text.len() as u64);
        self.bytes.extend(text.as_bytes());
        self
    }

    fn tensor(&mut self, name: &str, shape: &[u64], kind: u32, offset: u64) -> &mut Self {
        self.text(name).u32(shape.len() as u32);
        for extent in shape {
            self.u64(*extent);
        }
        self.u32(kind).u64(offset)
    }

    /// Pads to the default alignment and adds `length` bytes of data.
    fn data(&mut self, length: usize) -> &mut Self {
        let start = self.bytes.len().next_multiple_of(32);
        self.bytes.resize(start + length, 0);
        self
    }

    fn open(&self) -> Result<GgufFile, WeightsError> {
        let (_dir, path) = file("hostile.gguf", &self.bytes);
        GgufFile::open(&path)
    }

    /// Demands an error that says `part` and names file and remedy.
    fn refused(&self, part: &str) {
        let error = self.open().expect_err(part);
        assert!(error.is_bad_input());
        let text = error.to_string();
        assert!(text.contains(part), "`{text}` does not say `{part}`");
        assert!(text.contains("hostile.gguf") && text.contains("fetch it again"), "{text}");
    }
}

#[test]
fn an_honest_file_opens() {
    let mut two = Builder::new(3, 2, 1);
    two.text("general.alignment").u32(4).u32(32);
    two.tensor("a", &[4], 0, 0).tensor("b", &[32, 2], 8, 32).data(32 + 68);
    two.open().unwrap();
    Builder::new(2, 0, 0).open().unwrap();
}

#[test]
fn the_beginning_of_a_file_is_checked() {
    for (content, part) in [
        (b"".as_slice(), "bytes are left"),
        (b"GGU", "bytes are left"),
        (b"GGML\x03\0\0\0", "does not begin with `GGUF`"),
        (b"GGUF\x03\0\0\0", "bytes are left"),
        (b"GGUF\0\0\0\x03", "big-endian"),
        (b"GGUF\x01\0\0\0", "version 1"),
        (b"GGUF\x63\0\0\0", "version 99"),
    ] {
        Builder { bytes: content.to_vec() }.refused(part);
    }
}

#[test]
fn counts_are_checked_before_anything_is_allocated() {
    for count in [1 << 20, 1 << 40, u64::MAX / 2, u64::MAX] {
        Builder::new(3, count, 0).refused("tensors");
        Builder::new(3, 0, count).refused("metadata values");
        // A key, a text and arrays of every element size, each longer than the file.
        Builder::new(3, 0, 1).u64(count).data(64).refused("a text of");
        Builder::new(3, 0, 1).text("k").u32(8).u64(count).data(64).refused("text");
        for kind in 0..13 {
            let mut array = Builder::new(3, 0, 1);
            array.text("k").u32(9).u32(kind).u64(count).data(64);
            array.refused(if kind == 9 { "array of arrays" } else { "array elements" });
        }
    }
}

#[test]
fn values_are_checked() {
    Builder::new(3, 0, 1).text("k").u32(13).u64(0).refused("value of the type 13");
    Builder::new(3, 0, 1).text("k").u32(9).u32(13).u64(0).refused("array of the type 13");
    Builder::new(3, 0, 1).text("k").u32(7).u32(2).refused("boolean 2");
    Builder::new(3, 0, 2).text("k").u32(4).u32(1).text("k").u32(4).u32(2).refused("occurs twice");
    let mut text = Builder::new(3, 0, 1);
    text.text("k").u32(8).u64(2).bytes.extend([0xc3, 0x28]);
    text.refused("not UTF-8");
    for alignment in [0, 3, 48, u32::MAX] {
        let mut wrong = Builder::new(3, 0, 1);
        wrong.text("general.alignment").u32(4).u32(alignment).refused("alignment");
    }
    Builder::new(3, 0, 1).text("general.alignment").u32(8).text("32").refused("alignment");
}

#[test]
fn shapes_types_and_places_of_tensors_are_checked() {
    let one = |shape: &[u64], kind, offset, data| {
        let mut file = Builder::new(3, 1, 0);
        file.tensor("t", shape, kind, offset).data(data);
        file
    };
    one(&[], 0, 0, 64).refused("0 dimensions");
    one(&[1; 5], 0, 0, 64).refused("5 dimensions");
    one(&[u64::MAX, 2], 0, 0, 64).refused("larger than any memory");
    one(&[1 << 40, 1 << 40], 0, 0, 64).refused("larger than any memory");
    one(&[1 << 62], 0, 0, 64).refused("larger than any memory");
    one(&[4], 99, 0, 64).refused("type number 99");
    one(&[33], 8, 0, 64).refused("not whole Q8_0 blocks");
    one(&[128], 12, 0, 144).refused("not whole Q4_K blocks");
    one(&[4], 0, 4, 64).refused("not a multiple of 32");
    one(&[4], 0, u64::MAX - 31, 64).refused("cut short");
    one(&[4], 0, 64, 64).refused("cut short");
    one(&[1 << 30], 0, 0, 64).refused("cut short");
    let mut overlap = Builder::new(3, 2, 0);
    overlap.tensor("a", &[16], 0, 0).tensor("b", &[16], 0, 32).data(128).refused("overlaps");
    let mut twice = Builder::new(3, 2, 0);
    twice.tensor("a", &[8], 0, 0).tensor("a", &[8], 0, 32).data(64).refused("occurs twice");
}

#[test]
fn a_file_cut_anywhere_is_an_error_and_never_a_panic() {
    let whole = std::fs::read(golden("tiny_llama.gguf")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cut.gguf");
    for length in (0..whole.len()).step_by(97) {
        std::fs::write(&path, &whole[..length]).unwrap();
        let error = GgufFile::open(&path).expect_err("a cut file opened");
        assert!(matches!(error, WeightsError::Malformed { .. }), "{error}");
    }
}

#[test]
fn flipped_bytes_never_panic() {
    let whole = std::fs::read(golden("tiny_llama.gguf")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("flipped.gguf");
    // The header ends somewhere before byte 9000; every seventh byte is a fair sample.
    for at in (0..9000).step_by(7) {
        for mask in [0xff, 0x80] {
            let mut bytes = whole.clone();
            bytes[at] ^= mask;
            std::fs::write(&path, &bytes).unwrap();
            if let Ok(llama) = LlamaGguf::open(&path) {
                let _ = llama.config();
                let _ = safevlm_weights::tokenizer_files(llama.gguf());
            }
        }
    }
}

#[test]
fn what_is_not_a_regular_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    assert!(GgufFile::open(dir.path()).is_err());
    let error = GgufFile::open(&dir.path().join("absent.gguf")).unwrap_err().to_string();
    assert!(error.contains("absent.gguf") && error.contains("check the path"), "{error}");
}
