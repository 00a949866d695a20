//! Backgrounds: plain colours, gradients and quiet patterns.

use super::Canvas;
use crate::dice::Dice;

/// A colour of that brightness: near white, in between, or dark.
pub(super) fn colour(dice: &mut Dice, tone: Tone) -> [u8; 3] {
    let (low, high) = match tone {
        Tone::Light => (205, 255),
        Tone::Middle => (120, 215),
        Tone::Dark => (15, 85),
    };
    [0; 3].map(|_| dice.between(low, high) as u8)
}

/// How bright a background is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Light,
    Middle,
    Dark,
}

/// Paints a background and says how bright it is.
pub(super) fn paint(dice: &mut Dice, side: u32) -> (Canvas, Tone) {
    let tone = match dice.below(100) {
        0..65 => Tone::Light,
        65..85 => Tone::Middle,
        _ => Tone::Dark,
    };
    let first = colour(dice, tone);
    let second = colour(dice, tone);
    let mut canvas = Canvas::new(side, first);
    let pattern = dice.below(10);
    let cell = dice.between(10, 40);
    let length = side as i32;
    for y in 0..length {
        for x in 0..length {
            let share = match pattern {
                0..4 => break,
                4 | 5 => 255 * y / length,
                6 => 255 * (x + y) / (2 * length),
                7 => {
                    if (x + y) / cell % 2 == 0 {
                        0
                    } else {
                        130
                    }
                }
                8 => {
                    if (x / cell + y / cell) % 2 == 0 {
                        0
                    } else {
                        110
                    }
                }
                _ => {
                    let (dx, dy) = (x % cell - cell / 2, y % cell - cell / 2);
                    if 16 * (dx * dx + dy * dy) < cell * cell { 150 } else { 0 }
                }
            };
            canvas.blend(x, y, second, share as u8);
        }
    }
    (canvas, tone)
}
