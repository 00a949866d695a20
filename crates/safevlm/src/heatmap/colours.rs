//! Inferno, a colour map in which equal steps look equal, also in print and to people who see few colours
//! (Nathaniel Smith and Stéfan van der Walt, for matplotlib, CC0).

/// Every eighth of the map.
const STOPS: [[u8; 3]; 9] = [
    [0, 0, 4],
    [31, 12, 72],
    [85, 15, 109],
    [136, 34, 106],
    [186, 54, 85],
    [227, 89, 51],
    [249, 140, 10],
    [249, 201, 50],
    [252, 255, 164],
];

/// The colour of a value from 0 (black) to 1 (pale yellow).
pub(super) fn inferno(value: f32) -> [f32; 3] {
    let place = value.clamp(0.0, 1.0) * (STOPS.len() - 1) as f32;
    let stop = (place as usize).min(STOPS.len() - 2);
    let part = place - stop as f32;
    std::array::from_fn(|channel| {
        let [from, to] = [STOPS[stop][channel], STOPS[stop + 1][channel]].map(f32::from);
        from + (to - from) * part
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brightness_grows_with_the_value() {
        let light = |value: f32| inferno(value).iter().zip([0.299, 0.587, 0.114]).map(|(c, w)| c * w).sum::<f32>();
        for step in 0..100 {
            assert!(light((step + 1) as f32 / 100.0) > light(step as f32 / 100.0), "{step}");
        }
        assert_eq!(inferno(f32::NAN.max(1.0)), [252.0, 255.0, 164.0]);
    }
}
