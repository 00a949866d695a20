//! Products against the dequantised weights, on every level.

use std::sync::Arc;

use proptest::prelude::*;

use super::matmul::matmul_at;
use super::{BlockFormat, QuantizedMatrix, matmul, matmul_many, quantize};
use crate::level::Level;

/// Numbers of a linear congruential generator, about normal.
fn values(seed: u64, len: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2) + 1;
    let mut uniform = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    (0..len).map(|_| uniform() + uniform() + uniform()).collect()
}

fn product(level: Level, x: &[f32], weight: &QuantizedMatrix) -> Vec<f32> {
    let rows = if weight.columns() == 0 { 0 } else { x.len() / weight.columns() };
    let mut y = vec![7.; rows * weight.rows()];
    matmul_at(level, x, &mut [(weight, &mut y)]);
    y
}

/// What eight bits of activations may cost: half a step of each group times the weights' sum, and f32's rounding.
fn check(x: &[f32], weight: &QuantizedMatrix, y: &[f32], what: &str) {
    let columns = weight.columns();
    let weights = weight.dequantize();
    for (row, x) in x.chunks_exact(columns).enumerate() {
        for (output, w) in weights.chunks_exact(columns).enumerate() {
            let (mut expected, mut bound) = (0_f64, 1e-30_f64);
            for (x, w) in x.chunks(32).zip(w.chunks(32)) {
                let largest = x.iter().fold(0_f32, |largest, x| largest.max(x.abs()));
                let step = if weight.format().is_float() { 0. } else { f64::from(largest) / 127. };
                for (x, w) in x.iter().zip(w) {
                    let (x, w) = (f64::from(*x), f64::from(*w));
                    expected += x * w;
                    // Four bits with a minimum may cancel: their parts are larger than the values.
                    bound += 0.501 * step * w.abs() + 1e-5 * (x * w).abs() + 1e-6 * f64::from(largest);
                }
            }
            let found = f64::from(y[row * weight.rows() + output]);
            assert!((found - expected).abs() <= bound, "{what} at {row}, {output}: {found}, not {expected} ± {bound}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn products_are_those_of_the_dequantised_weights(
        seed in any::<u64>(), rows in 1..40_usize, outputs in 1..40_usize, blocks in 1..12_usize, rest in 0..32_usize,
    ) {
        for format in BlockFormat::ALL {
            let columns = match format.block_len() {
                256 => 256 * blocks.div_ceil(5),
                32 => 32 * blocks,
                _ => 32 * blocks - rest,
            };
            let weight = QuantizedMatrix::quantize(format, &values(seed, outputs * columns), columns).unwrap();
            let x = values(seed ^ 1, rows * columns);
            let portable = product(Level::Portable, &x, &weight);
            for level in Level::available() {
                let y = product(level, &x, &weight);
                check(&x, &weight, &y, &format!("{format} on {}", level.name()));
                let scale = y.iter().fold(0_f32, |scale, y| scale.max(y.abs()));
                let close = y.iter().zip(&portable).all(|(a, b)| (a - b).abs() <= 1e-5 * (scale + columns as f32));
                prop_assert!(close, "{format} on {}", level.name());
            }
        }
    }
}

/// 6 rows of 64 values, then their bytes by the `gguf` package (xtask/goldens/quantize.py).
const GOLDEN: &[u8] = include_bytes!("golden.bin");

#[test]
fn three_formats_give_the_reference_s_bytes() {
    let (floats, mut bytes) = GOLDEN.split_at(6 * 64 * 4);
    let values: Vec<f32> = floats.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    for format in [BlockFormat::Q8_0, BlockFormat::Q4_0, BlockFormat::Q4_1] {
        let expected;
        (expected, bytes) = bytes.split_at(12 * format.block_bytes());
        let found = quantize(format, &values, 64).unwrap();
        assert_eq!(found.iter().zip(expected).position(|(a, b)| a != b), None, "{format}");
    }
    assert!(bytes.is_empty());
}

#[test]
fn every_format_dequantises_to_the_reference_s_values() {
    // The data of crates/weights/tests/goldens/blocks.gguf by name: blocks of each type and the `gguf` package's values.
    let file = include_bytes!("../../../weights/tests/goldens/blocks.gguf");
    for (format, columns) in BlockFormat::ALL.into_iter().map(|format| match format.block_len() {
        256 => (format, 512),
        32 => (format, 64),
        _ => (format, 16),
    }) {
        let stored = tensor(file, format.gguf_name());
        let expected = tensor(file, &format!("{}.expected", format.gguf_name()));
        // At an odd address.
        let bytes: Vec<u8> = [&[0; 3], stored].concat();
        let weight = QuantizedMatrix::new(format, 2, columns, Arc::new(bytes), 3).unwrap();
        let expected = expected.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes).to_bits());
        let expected: Vec<u32> = expected.take(2 * columns).collect();
        let found: Vec<u32> = weight.dequantize().iter().map(|value| value.to_bits()).collect();
        assert_eq!(found, expected, "{format}");
        let mut gathered = vec![0.; 3 * columns];
        weight.gather(&[1, 0, 1], &mut gathered).unwrap();
        assert!(gathered[columns..].iter().zip(&expected).all(|(a, b)| a.to_bits() == *b), "{format}");
        assert!(weight.gather(&[2], &mut gathered[..columns]).unwrap_err().to_string().contains("row 2"));
    }
}

/// The bytes from a tensor's first on, in a GGUF file of 32-byte alignment: its name is followed by the number of
/// dimensions (u32), these (u64 each), the type (u32) and the place (u64); the data follow the last tensor's entry.
fn tensor<'a>(file: &'a [u8], name: &str) -> &'a [u8] {
    let named = |name: &str| -> usize {
        let entry: Vec<u8> = [&(name.len() as u64).to_le_bytes(), name.as_bytes()].concat();
        file.windows(entry.len()).position(|window| window == entry).unwrap() + entry.len()
    };
    let place = |at: usize| {
        let dimensions = u32::from_le_bytes(file[at..at + 4].try_into().unwrap()) as usize;
        let end = at + 4 + 8 * dimensions + 4;
        (u64::from_le_bytes(file[end..end + 8].try_into().unwrap()) as usize, end + 8)
    };
    let (_, header) = place(named("Q6_K.expected"));
    &file[header.next_multiple_of(32) + place(named(name)).0..]
}

#[test]
fn the_searched_formats_are_closer_than_their_steps() {
    // Relative root mean square errors.
    let values = values(5, 1 << 16);
    for (format, most) in
        [(BlockFormat::Q8_0, 0.006), (BlockFormat::Q4_1, 0.09), (BlockFormat::Q4K, 0.08), (BlockFormat::Q6K, 0.02)]
    {
        let found = QuantizedMatrix::quantize(format, &values, 256).unwrap().dequantize();
        let error: f64 = found.iter().zip(&values).map(|(a, b)| f64::from(a - b).powi(2)).sum();
        let size: f64 = values.iter().map(|value| f64::from(*value).powi(2)).sum();
        let error = (error / size).sqrt();
        println!("{format}: {error:.4}");
        assert!(error < most, "{format}: {error}");
    }
}

#[test]
fn the_largest_numbers_do_not_saturate() {
    for level in Level::available() {
        for format in BlockFormat::ALL {
            let blocks = 512 / format.block_len();
            for (byte, sign) in [(0xff, 1.), (0x80, -1.), (0x7f, 1.)] {
                let mut bytes = vec![byte; 5 * blocks * format.block_bytes()];
                // A scale (and minimum) of 1, wherever the format has it; f16's 0xff bytes would be NaN.
                let one = half::f16::ONE.to_le_bytes();
                for block in bytes.chunks_exact_mut(format.block_bytes()) {
                    let places: &[usize] = match format {
                        BlockFormat::Q4_1 | BlockFormat::Q4K => &[0, 2],
                        BlockFormat::Q6K => &[208],
                        BlockFormat::BF16 => &[],
                        _ => &[0],
                    };
                    places.iter().for_each(|place| block[*place..place + 2].copy_from_slice(&one));
                    if format == BlockFormat::BF16 {
                        block.copy_from_slice(&half::bf16::ONE.to_le_bytes());
                    }
                }
                let weight = QuantizedMatrix::new(format, 5, 512, Arc::new(bytes), 0).unwrap();
                let x = vec![sign * 3.; 2 * 512];
                check(&x, &weight, &product(level, &x, &weight), &format!("{format} on {}", level.name()));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn hostile_bytes_and_activations_give_numbers_or_nan(bytes in proptest::collection::vec(any::<u8>(), 2 * 2048),
        x in proptest::collection::vec(any::<f32>(), 2 * 256)) {
        let owner: super::Owner = Arc::new(bytes);
        for format in BlockFormat::ALL {
            let weight = QuantizedMatrix::new(format, 3, 256, owner.clone(), 1).unwrap();
            for level in Level::available() {
                product(level, &x, &weight);
            }
        }
    }
}

#[test]
fn what_is_not_finite_shows() {
    for format in BlockFormat::ALL {
        let weight = QuantizedMatrix::quantize(format, &values(1, 256), 256).unwrap();
        for level in Level::available() {
            for value in [f32::NAN, f32::INFINITY] {
                let mut x = values(2, 256);
                x[100] = value;
                assert!(!product(level, &x, &weight)[0].is_finite(), "{format}");
            }
            // Denormal, zero.
            for x in [[1e-40; 256], [-0.; 256]] {
                check(&x, &weight, &product(level, &x, &weight), "small");
            }
        }
    }
}

#[test]
fn nothing_is_a_product_too() {
    for format in BlockFormat::ALL {
        for (rows, columns) in [(0, 256), (0, 0)] {
            let weight = QuantizedMatrix::quantize(format, &vec![0.; rows * columns], columns).unwrap();
            matmul(&vec![1.; columns], &weight, &mut []);
        }
        let weight = QuantizedMatrix::quantize(format, &[0.; 512], 256).unwrap();
        matmul(&[], &weight, &mut []);
        let weight = QuantizedMatrix::new(format, 2, 0, Arc::new(Vec::new()), 0).unwrap();
        let mut y = [7.; 2];
        matmul(&[], &weight, &mut y);
        assert_eq!(y, [0.; 2]);
    }
    matmul_many(&[1.], &mut []);
}

#[test]
fn long_rows_are_taken_in_parts() {
    for format in BlockFormat::ALL {
        let columns = 2304;
        let weight = QuantizedMatrix::quantize(format, &values(3, 19 * columns), columns).unwrap();
        let x = values(4, 9 * columns);
        for level in Level::available() {
            check(&x, &weight, &product(level, &x, &weight), &format!("{format} on {}", level.name()));
        }
    }
}

#[test]
fn several_products_are_each_one_s() {
    let [a, b] = [(BlockFormat::Q4_1, 3000), (BlockFormat::Q8_0, 70)]
        .map(|(format, rows)| QuantizedMatrix::quantize(format, &values(rows as u64, rows * 96), 96).unwrap());
    let x = values(9, 5 * 96);
    let (mut y_a, mut y_b) = (vec![0.; 5 * 3000], vec![0.; 5 * 70]);
    matmul_many(&x, &mut [(&a, &mut y_a), (&b, &mut y_b)]);
    let level = crate::level::level();
    assert!(y_a == product(level, &x, &a) && y_b == product(level, &x, &b));
}

#[test]
fn threads_and_parts_do_not_change_anything() {
    for format in BlockFormat::ALL {
        let columns = format.block_len().max(64) * 2 + if format.is_float() { 5 } else { 0 };
        // Enough for threads, and no multiple of what is taken at once.
        let weight = QuantizedMatrix::quantize(format, &values(6, 1111 * columns), columns).unwrap();
        for rows in [1, 3, 6, 9] {
            let x = values(7, rows * columns);
            for level in Level::available() {
                let on = |threads| {
                    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                    pool.install(|| product(level, &x, &weight))
                };
                let alone = on(1);
                check(&x, &weight, &alone, &format!("{format} on {}", level.name()));
                for y in [on(2), on(5)] {
                    check(&x, &weight, &y, &format!("{format} on {}", level.name()));
                    // With many rows the `gemm` crate's sums depend on how much it gets.
                    let exact = !format.is_float() || rows < 8;
                    assert!(!exact || y == alone, "{format}, {rows} rows on {}", level.name());
                }
            }
        }
    }
}

#[test]
fn what_cannot_be_is_an_error_with_its_remedy() {
    let of = |format, rows, columns, bytes: usize, offset| {
        QuantizedMatrix::new(format, rows, columns, Arc::new(vec![0; bytes]), offset).unwrap_err().to_string()
    };
    assert!(of(BlockFormat::Q8_0, 1, 33, 100, 0).contains("blocks have 32"));
    assert!(of(BlockFormat::Q8_0, 2, 32, 67, 0).contains("68 bytes, and 67"));
    assert!(of(BlockFormat::Q8_0, 1, 32, 34, usize::MAX).contains("and 0 are there"));
    assert!(of(BlockFormat::F16, usize::MAX, 2, 4, 0).contains("larger than this machine"));
    let bad = |format, values: &[f32], columns| quantize(format, values, columns).unwrap_err().to_string();
    let mut values = vec![0.; 1024];
    assert!(bad(BlockFormat::Q4_0, &values[..100], 64).contains("no rows of 64"));
    values[700] = f32::NAN;
    for format in BlockFormat::ALL {
        assert!(bad(format, &values, 512).contains("row 1, column 188"), "{format}");
    }
    values[700] = f32::MAX;
    for format in BlockFormat::ALL {
        assert!(bad(format, &values, 512).contains("row 1"), "{format}");
    }
}
