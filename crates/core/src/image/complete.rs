//! Whether a file is all there, where the decoder does not say so. The JPEG decoder paints what is
//! missing grey and reports success, which a guard must not accept: a verdict on half an image is a
//! verdict on another image.

use image::ImageFormat;

/// False when the data certainly ends too early; true leaves the judgement to the decoder.
pub(super) fn is_complete(bytes: &[u8], format: ImageFormat) -> bool {
    match format {
        ImageFormat::Jpeg => jpeg(bytes),
        ImageFormat::WebP => riff(bytes),
        _ => true,
    }
}

/// Compares the length in a RIFF header, which does not count itself and the name before it.
fn riff(bytes: &[u8]) -> bool {
    let Some(&[a, b, c, d]) = bytes.get(4..8) else {
        return false;
    };
    bytes.len() as u64 >= u64::from(u32::from_le_bytes([a, b, c, d])) + 8
}

/// Walks the markers of a JPEG (ITU-T T.81, Annex B) up to the end-of-image marker.
fn jpeg(bytes: &[u8]) -> bool {
    const SOI: u8 = 0xD8;
    const EOI: u8 = 0xD9;
    const SOS: u8 = 0xDA;

    let mut at = 0;
    let mut in_scan = false;
    loop {
        let Some(rest) = bytes.get(at..) else {
            return false;
        };
        let Some(offset) = rest.iter().position(|&byte| byte == 0xFF) else {
            return false;
        };
        let Some(&marker) = rest.get(offset + 1) else {
            return false;
        };
        let after = at + offset + 2;
        match marker {
            EOI => return true,
            // Fill bytes: the marker's code is still to come.
            0xFF => at = after - 1,
            // A stuffed byte of entropy-coded data, a restart marker, and the markers without a length.
            0x00 | 0x01 | 0xD0..=0xD7 | SOI => at = after,
            // Garbage between entropy-coded data is for the decoder to judge.
            0x02..=0xBF if in_scan => at = after,
            _ => {
                let Some(&[high, low]) = bytes.get(after..after + 2) else {
                    return false;
                };
                at = after + usize::from(u16::from_be_bytes([high, low]));
                in_scan |= marker == SOS;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{jpeg, riff};

    const WHOLE: &[u8] = &[
        0xFF, 0xD8, // start
        0xFF, 0xE1, 0x00, 0x04, 0xFF, 0xD9, // a segment that holds an end marker of its own
        0xFF, 0xDA, 0x00, 0x02, // scan
        0x12, 0xFF, 0x00, 0x34, 0xFF, 0xD0, 0x56, // data with a stuffed byte and a restart
        0xFF, 0xFF, 0xD9, // end after a fill byte
    ];

    #[test]
    fn riff_counts_what_follows_its_header() {
        let whole = b"RIFF\x04\0\0\0WEBP";
        assert!(riff(whole));
        assert!(!riff(&whole[..11]));
        assert!(!riff(b"RIFF"));
        assert!(!riff(b"RIFF\xFF\xFF\xFF\xFFWEBP"));
    }

    #[test]
    fn only_the_whole_is_complete() {
        assert!(jpeg(WHOLE));
        for length in 0..WHOLE.len() {
            assert!(!jpeg(&WHOLE[..length]), "{length}");
        }
    }

    #[test]
    fn a_length_beyond_the_end_is_incomplete() {
        assert!(!jpeg(&[0xFF, 0xD8, 0xFF, 0xE1, 0xFF, 0xFF, 0xFF, 0xD9]));
    }
}
