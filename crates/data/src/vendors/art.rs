//! One vendor's picture of one symbol, drawn when it is first needed and kept compressed.

use std::io::{Read, Write};
use std::sync::OnceLock;

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;

use super::{Raster, Vendor};

/// The stored form of a picture.
#[derive(Debug, Clone)]
pub(crate) enum ArtSource {
    /// A whole SVG document.
    Svg(String),
    /// A WebP file.
    WebP(Vec<u8>),
}

/// One vendor's picture of one symbol.
#[derive(Debug)]
pub(crate) struct Art {
    pub(crate) vendor: &'static Vendor,
    /// 0 for the vendor's own colour, 1 (light) to 5 (dark) for Unicode's skin tones.
    pub(crate) tone: u8,
    /// Whether the picture has one colour only, which the composer chooses.
    pub(crate) mono: bool,
    source: ArtSource,
    drawn: OnceLock<Result<Packed, String>>,
}

/// A [`Raster`] in little memory: thousands of them are held at once.
#[derive(Debug)]
struct Packed {
    width: u32,
    height: u32,
    bytes: Vec<u8>,
}

impl Art {
    pub(crate) fn new(vendor: &'static Vendor, tone: u8, mono: bool, source: ArtSource) -> Self {
        Self { vendor, tone, mono, source, drawn: OnceLock::new() }
    }

    /// The pixels; what went wrong, in words, where the picture cannot be drawn.
    pub(crate) fn raster(&self) -> Result<Raster, String> {
        let packed = self.drawn.get_or_init(|| self.draw()).as_ref().map_err(String::clone)?;
        let mut rgba = Vec::with_capacity(4 * (packed.width * packed.height) as usize);
        let mut reader = ZlibDecoder::new(packed.bytes.as_slice());
        reader.read_to_end(&mut rgba).map_err(|e| e.to_string())?;
        Ok(Raster { width: packed.width, height: packed.height, rgba })
    }

    fn draw(&self) -> Result<Packed, String> {
        let raster = match &self.source {
            ArtSource::Svg(svg) => Raster::from_svg(svg)?,
            ArtSource::WebP(bytes) => Raster::from_webp(bytes)?,
        };
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&raster.rgba).map_err(|e| e.to_string())?;
        let bytes = encoder.finish().map_err(|e| e.to_string())?;
        Ok(Packed { width: raster.width, height: raster.height, bytes })
    }
}
