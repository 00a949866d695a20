use proptest::prelude::*;

use super::*;
use crate::level::Level;
use crate::testing::{assert_close, values};

proptest! {
    #[test]
    fn values_are_those_of_f64(tokens in 0usize..5, heads in 0usize..4, half in 1usize..40, by_head: bool, gap in 0usize..9) {
        let width = half * 2;
        let (cos, sin) = (values(tokens * half, 1), values(tokens * half, 2));
        let layout = match by_head {
            true => HeadLayout { heads, head_dim: width, token_stride: width + gap, head_stride: tokens * (width + gap) },
            false => HeadLayout { heads, head_dim: width, token_stride: heads * width + gap, head_stride: width },
        };
        let x = values(tokens * heads * (width + gap), 3);
        let mut expected: Vec<f64> = x.iter().map(|x| f64::from(*x)).collect();
        for token in 0..tokens {
            for head in 0..heads {
                let start = token * layout.token_stride + head * layout.head_stride;
                for i in 0..half {
                    let (cos, sin) = (f64::from(cos[token * half + i]), f64::from(sin[token * half + i]));
                    let (left, right) = (f64::from(x[start + i]), f64::from(x[start + i + half]));
                    expected[start + i] = left * cos - right * sin;
                    expected[start + i + half] = right * cos + left * sin;
                }
            }
        }
        let mut y = x.clone();
        rope(&mut y, &cos, &sin, layout);
        assert_close(&y, &expected, 1e-6, 3e-6, "rope");
        for level in Level::available() {
            for i in 0..(tokens * heads).min(1) {
                let mut y = x[i..i + width].to_vec();
                rotate_at(level, &mut y, &cos[..half], &sin[..half], 1.0);
                assert_close(&y, &expected[i..i + width], 1e-6, 3e-6, "rotate_at");
            }
        }
    }
}

#[test]
fn backward_turns_back() {
    let (tokens, heads, width) = (300, 5, 64);
    let angles: Vec<f32> = values(tokens * width / 2, 1);
    let (cos, sin): (Vec<f32>, Vec<f32>) = angles.iter().map(|a| (a.cos(), a.sin())).unzip();
    let x = values(tokens * heads * width, 2);
    for layout in [HeadLayout::by_token(heads, width), HeadLayout::by_head(heads, tokens, width)] {
        let mut y = x.clone();
        rope(&mut y, &cos, &sin, layout);
        assert!(y != x);
        rope_backward(&mut y, &cos, &sin, layout);
        let expected: Vec<f64> = x.iter().map(|x| f64::from(*x)).collect();
        assert_close(&y, &expected, 1e-6, 1e-6, "there and back");
    }
}

#[test]
#[should_panic = "fewer than"]
fn a_short_slice_is_refused() {
    rope(&mut [0.0; 7], &[1.0; 4], &[0.0; 4], HeadLayout::by_token(1, 4));
}
