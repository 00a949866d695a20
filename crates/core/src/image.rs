//! Decoding of images that nobody vouches for.
//!
//! The order is what makes it safe: the size of the file, then the header (format, width, height),
//! then the memory that the pixels need, and only then the pixels. Every failure is an
//! [`ImageError`] that says what to do.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};

use image::error::ImageError as DecoderError;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};

pub use image::RgbImage;

mod complete;
mod to_rgb;

/// What an image may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageLimits {
    /// The most pixels. Default: 64 million.
    pub max_pixels: u64,
    /// The greatest width or height, in pixels. Default: 65,535.
    pub max_side: u32,
    /// The greatest encoded size, in bytes. Default: 256 MiB.
    pub max_bytes: u64,
    /// The most memory for the decoder and the pixels as they are stored, in bytes. Default: 512 MiB.
    pub max_alloc: u64,
}

impl Default for ImageLimits {
    fn default() -> Self {
        ImageLimits { max_pixels: 64_000_000, max_side: 65_535, max_bytes: 256 << 20, max_alloc: 512 << 20 }
    }
}

/// Why an image cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The problem of one file; the source says which.
    #[error("cannot use image `{}`: {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        problem: Box<ImageError>,
    },
    /// There is no such file.
    #[error("it does not exist; check the path")]
    NotFound,
    /// The path is a directory.
    #[error("it is a directory; give a file, or the directory to `safevlm guard`")]
    IsDirectory,
    /// The file cannot be read.
    #[error("it cannot be read ({0}); check its permissions")]
    Read(#[source] io::Error),
    /// There are no bytes.
    #[error("it is empty; give a PNG, JPEG, WebP, GIF or BMP image")]
    Empty,
    /// The encoded form is too long.
    #[error("it is longer than {}; make it smaller", size(*limit))]
    TooManyBytes {
        /// The limit, in bytes.
        limit: u64,
    },
    /// The bytes are no image that SafeVLM reads.
    #[error("it is not a PNG, JPEG, WebP, GIF or BMP image; convert it to one of these")]
    UnknownFormat,
    /// The header promises no pixels.
    #[error("its header says {width}x{height} pixels; give an image with at least one pixel")]
    NoPixels {
        /// Width, in pixels.
        width: u32,
        /// Height, in pixels.
        height: u32,
    },
    /// The header promises too many pixels. Nothing was decoded.
    #[error(
        "its header says {width}x{height} pixels, more than {max_pixels} in all or {max_side} a side; scale it down"
    )]
    TooManyPixels {
        /// Width, in pixels.
        width: u32,
        /// Height, in pixels.
        height: u32,
        /// The limit on width x height.
        max_pixels: u64,
        /// The limit on each of them.
        max_side: u32,
    },
    /// Decoding would need too much memory.
    #[error(
        "decoding it needs more than {} of memory; scale it down or save it with 8 bits a channel",
        size(*limit)
    )]
    TooMuchMemory {
        /// The limit, in bytes.
        limit: u64,
    },
    /// The data ends before the image does.
    #[error("it is truncated; copy or download it again")]
    Truncated,
    /// The format is right, but not this variant of it.
    #[error("it uses a {format} feature that is not supported ({}); convert it to PNG", one_line(problem))]
    Unsupported {
        /// The format.
        format: &'static str,
        /// The decoder's words.
        #[source]
        problem: DecoderError,
    },
    /// The data contradicts itself.
    #[error("it is damaged ({}); copy or download it again", one_line(problem))]
    Damaged {
        /// The decoder's words.
        #[source]
        problem: DecoderError,
    },
}

/// Reads and decodes one image file. See [`decode_image`].
///
/// # Errors
///
/// [`ImageError::File`] with the path and the reason.
pub fn load_image(path: impl AsRef<Path>, limits: &ImageLimits) -> Result<RgbImage, ImageError> {
    let path = path.as_ref();
    read_limited(path, limits)
        .and_then(|bytes| decode_image(&bytes, limits))
        .map_err(|problem| ImageError::File { path: path.to_owned(), problem: Box::new(problem) })
}

/// Reads a file up to the limit, whatever its metadata says: a pipe has no size and a file can grow.
fn read_limited(path: &Path, limits: &ImageLimits) -> Result<Vec<u8>, ImageError> {
    let read = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => ImageError::NotFound,
        io::ErrorKind::IsADirectory => ImageError::IsDirectory,
        _ => ImageError::Read(error),
    };
    let metadata = std::fs::metadata(path).map_err(read)?;
    if metadata.is_dir() {
        return Err(ImageError::IsDirectory);
    }
    let too_many = ImageError::TooManyBytes { limit: limits.max_bytes };
    if metadata.len() > limits.max_bytes {
        return Err(too_many);
    }
    let mut bytes = Vec::new();
    File::open(path).map_err(read)?.take(limits.max_bytes.saturating_add(1)).read_to_end(&mut bytes).map_err(read)?;
    if bytes.len() as u64 > limits.max_bytes {
        return Err(too_many);
    }
    Ok(bytes)
}

/// Decodes a PNG, JPEG, WebP, GIF or BMP image to 8-bit RGB.
///
/// Of an animation the first frame is taken. Transparent pixels are composited on white, 16 bits a
/// channel become 8 (the high byte, as PIL does), CMYK becomes RGB, and an EXIF orientation is
/// applied. Colour profiles are ignored, as the reference processors ignore them.
///
/// # Errors
///
/// Any [`ImageError`] but `File`, `NotFound`, `IsDirectory` and `Read`. Nothing that the bytes say can
/// cause a panic or an allocation beyond the limits.
pub fn decode_image(bytes: &[u8], limits: &ImageLimits) -> Result<RgbImage, ImageError> {
    if bytes.is_empty() {
        return Err(ImageError::Empty);
    }
    if bytes.len() as u64 > limits.max_bytes {
        return Err(ImageError::TooManyBytes { limit: limits.max_bytes });
    }
    let format =
        image::guess_format(bytes).ok().filter(|format| name_of(*format).is_some()).ok_or(ImageError::UnknownFormat)?;
    let classify = |problem| classify(problem, format, limits);

    if !complete::is_complete(bytes, format) {
        return Err(ImageError::Truncated);
    }
    if let Some((width, height)) = png_dimensions(bytes, format) {
        check_dimensions(width, height, limits)?;
    }
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(memory(limits.max_alloc));
    let mut decoder = reader.into_decoder().map_err(classify)?;
    let (width, height) = decoder.dimensions();
    check_dimensions(width, height, limits)?;
    let left = limits
        .max_alloc
        .checked_sub(decoder.total_bytes())
        .ok_or(ImageError::TooMuchMemory { limit: limits.max_alloc })?;
    decoder.set_limits(memory(left)).map_err(classify)?;
    let orientation = decoder.orientation().map_err(classify)?;
    let mut pixels = DynamicImage::from_decoder(decoder).map_err(classify)?;
    pixels.apply_orientation(orientation);
    Ok(to_rgb::to_rgb(pixels))
}

/// What a PNG's header chunk says. Its decoder compares the size with its memory limit before anyone
/// can ask it for the size, and an error that names the size is the better one.
fn png_dimensions(bytes: &[u8], format: ImageFormat) -> Option<(u32, u32)> {
    let number = |at: usize| {
        let bytes: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
        Some(u32::from_be_bytes(bytes))
    };
    if format != ImageFormat::Png || bytes.get(12..16)? != b"IHDR" {
        return None;
    }
    Some((number(16)?, number(20)?))
}

fn check_dimensions(width: u32, height: u32, limits: &ImageLimits) -> Result<(), ImageError> {
    if width == 0 || height == 0 {
        return Err(ImageError::NoPixels { width, height });
    }
    if u64::from(width) * u64::from(height) > limits.max_pixels || width.max(height) > limits.max_side {
        return Err(ImageError::TooManyPixels {
            width,
            height,
            max_pixels: limits.max_pixels,
            max_side: limits.max_side,
        });
    }
    Ok(())
}

fn memory(max_alloc: u64) -> Limits {
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(max_alloc);
    limits
}

/// The format's name for people; `None` for formats that SafeVLM leaves out on purpose.
fn name_of(format: ImageFormat) -> Option<&'static str> {
    match format {
        ImageFormat::Png => Some("PNG"),
        ImageFormat::Jpeg => Some("JPEG"),
        ImageFormat::WebP => Some("WebP"),
        ImageFormat::Gif => Some("GIF"),
        ImageFormat::Bmp => Some("BMP"),
        _ => None,
    }
}

fn classify(problem: DecoderError, format: ImageFormat, limits: &ImageLimits) -> ImageError {
    match problem {
        DecoderError::Limits(_) => ImageError::TooMuchMemory { limit: limits.max_alloc },
        DecoderError::IoError(error) if error.kind() == io::ErrorKind::UnexpectedEof => ImageError::Truncated,
        DecoderError::Unsupported(_) => ImageError::Unsupported { format: name_of(format).unwrap_or("image"), problem },
        problem if ends_early(&problem) => ImageError::Truncated,
        problem => ImageError::Damaged { problem },
    }
}

/// Whether the chain of causes ends in "no more bytes".
fn ends_early(problem: &DecoderError) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(problem);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<io::Error>()
            && io.kind() == io::ErrorKind::UnexpectedEof
        {
            return true;
        }
        cause = error.source();
    }
    false
}

fn size(bytes: u64) -> String {
    const MIB: u64 = 1 << 20;
    if bytes >= MIB { format!("{} MiB", bytes / MIB) } else { format!("{bytes} bytes") }
}

/// A decoder's message without its line breaks: an error is one sentence.
fn one_line(problem: &DecoderError) -> String {
    let text = problem.to_string();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
