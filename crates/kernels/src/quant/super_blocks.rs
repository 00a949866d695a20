//! From f32 to Q4_K and Q6_K: a search for the scales that leave the least error.
//!
//! After `quantize_row_q4_K_ref`, `quantize_row_q6_K_ref`, `make_qkx2_quants` and `make_qx_quants` of
//! <https://github.com/ggml-org/ggml/blob/master/src/ggml-quants.c>.

use super::group::{GROUP, half_at, scale_and_minimum};
use super::quantize::put_half;

/// Scales and minima of Q4_K are whole numbers up to this.
const SIX_BITS: f32 = 63.;

/// Writes a block of Q4_K; whether its values are within the format's range.
pub(super) fn quantize_q4_k(values: &[f32], block: &mut [u8]) -> bool {
    let groups = values.as_chunks::<GROUP>().0;
    let mut scales = [0_f32; 8];
    let mut minima = [0_f32; 8];
    for (at, group) in groups.iter().enumerate() {
        (scales[at], minima[at]) = scale_and_minimum_of(group);
    }
    let most = |values: &[f32; 8]| values.iter().copied().fold(0_f32, f32::max);
    let (scale, minimum) = (most(&scales), most(&minima));
    let fits = put_half(block, scale / SIX_BITS) && put_half(&mut block[2..], minimum / SIX_BITS);
    let whole =
        |value: f32, most: f32| if most > 0. { (SIX_BITS / most * value).round().min(SIX_BITS) as u8 } else { 0 };
    let packed = &mut block[4..16];
    for at in 0..8 {
        let (scale, minimum) = (whole(scales[at], scale), whole(minima[at], minimum));
        if at < 4 {
            packed[at] = scale;
            packed[at + 4] = minimum;
        } else {
            packed[at + 4] = scale & 0xf | (minimum & 0xf) << 4;
            packed[at - 4] |= scale >> 4 << 6;
            packed[at] |= minimum >> 4 << 6;
        }
    }
    let (d, m) = (half_at(block, 0), half_at(block, 2));
    block[16..].fill(0);
    for (at, group) in groups.iter().enumerate() {
        let (scale, minimum) = scale_and_minimum(&block[4..16], at);
        let (scale, minimum) = (d * f32::from(scale), m * f32::from(minimum));
        let bytes = &mut block[16 + at / 2 * GROUP..][..GROUP];
        for (byte, value) in bytes.iter_mut().zip(group) {
            let quant = if scale > 0. { ((value + minimum) / scale).round().clamp(0., 15.) as u8 } else { 0 };
            *byte |= quant << (4 * (at % 2));
        }
    }
    fits
}

/// The scale `s` and minimum `m`, both at least 0, for which `s * q - m` with `q` in 0..=15 is nearest to the values;
/// large values count more.
fn scale_and_minimum_of(values: &[f32; GROUP]) -> (f32, f32) {
    let mean_square = values.iter().map(|value| value * value).sum::<f32>() / GROUP as f32;
    let weights = values.map(|value| mean_square.sqrt() + value.abs());
    let least = values.iter().copied().fold(0_f32, f32::min);
    let most = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if most <= least {
        return (0., -least);
    }
    let error = |scale: f32, minimum: f32, by: f32| -> f32 {
        let terms = values.iter().zip(weights).map(|(value, weight)| {
            let difference = scale * level_of(*value, minimum, by) + minimum - value;
            weight * difference * difference
        });
        terms.sum()
    };
    let mut best = ((most - least) / 15., least);
    let mut best_error = error(best.0, best.1, 15. / (most - least));
    let total: f32 = weights.iter().sum();
    let weighted: f32 = values.iter().zip(weights).map(|(value, weight)| value * weight).sum();
    // 21 scales around the one that spans the values; for each, the least squares of its whole numbers.
    for step in 0..=20 {
        let by = (-1. + 0.1 * step as f32 + 15.) / (most - least);
        let (mut quants, mut squares, mut products) = (0_f32, 0_f32, 0_f32);
        for (value, weight) in values.iter().zip(weights) {
            let quant = level_of(*value, least, by);
            quants += weight * quant;
            squares += weight * quant * quant;
            products += weight * quant * value;
        }
        let determinant = total * squares - quants * quants;
        if determinant <= 0. {
            continue;
        }
        let mut scale = (total * products - weighted * quants) / determinant;
        let mut minimum = (squares * weighted - quants * products) / determinant;
        if minimum > 0. {
            (scale, minimum) = (products / squares, 0.);
        }
        let terms = values.iter().zip(weights).map(|(value, weight)| {
            let difference = scale * level_of(*value, least, by) + minimum - value;
            weight * difference * difference
        });
        let now: f32 = terms.sum();
        if now < best_error && scale > 0. {
            (best, best_error) = ((scale, minimum), now);
        }
    }
    (best.0, -best.1)
}

/// The whole number of four bits for `value`.
fn level_of(value: f32, least: f32, by: f32) -> f32 {
    ((value - least) * by).round_ties_even().clamp(0., 15.)
}

/// Writes a block of Q6_K; whether its values are within the format's range.
pub(super) fn quantize_q6_k(values: &[f32], block: &mut [u8]) -> bool {
    let groups = values.as_chunks::<16>().0;
    let mut scales = [0_f32; 16];
    for (scale, group) in scales.iter_mut().zip(groups) {
        *scale = symmetric_scale(group);
    }
    let largest =
        scales.iter().fold(0_f32, |largest, scale| if scale.abs() > largest.abs() { *scale } else { largest });
    block.fill(0);
    let fits = put_half(&mut block[208..], largest / -128.);
    if largest == 0. {
        return fits;
    }
    let d = half_at(block, 208);
    for (at, group) in groups.iter().enumerate() {
        let whole = (-128. / largest * scales[at]).round().clamp(-128., 127.);
        block[192 + at] = whole as i8 as u8;
        let scale = d * whole;
        for (i, value) in group.iter().enumerate() {
            let quant = if scale == 0. { 0. } else { (value / scale).round().clamp(-32., 31.) };
            let quant = (quant as i8 + 32) as u8;
            // Which of 128, which 32 of these, which value.
            let (half, quarter, i) = (at / 8, at % 8 / 2, 16 * (at % 2) + i);
            block[64 * half + 32 * (quarter % 2) + i] |= (quant & 0xf) << (4 * (quarter / 2));
            block[128 + 32 * half + i] |= quant >> 4 << (2 * quarter);
        }
    }
    fits
}

/// The scale `s` for which `s * q` with `q` in -32..=31 is nearest to the values; large values count more.
fn symmetric_scale(values: &[f32; 16]) -> f32 {
    let largest =
        values.iter().fold(0_f32, |largest, value| if value.abs() > largest.abs() { *value } else { largest });
    if largest == 0. {
        return 0.;
    }
    let (mut best, mut best_gain) = (largest / -32., f32::NEG_INFINITY);
    // 19 scales around the one that makes the largest value -32; for each, the least squares of its whole numbers.
    for step in -9..=9 {
        let by = -(32. + 0.1 * step as f32) / largest;
        let (mut products, mut squares) = (0_f32, 0_f32);
        for value in values {
            let quant = (by * value).round_ties_even().clamp(-32., 31.);
            let weight = value * value;
            products += weight * value * quant;
            squares += weight * quant * quant;
        }
        // The error that is left is that of zeros less this.
        if squares > 0. && products * products / squares > best_gain {
            (best, best_gain) = (products / squares, products * products / squares);
        }
    }
    best
}
