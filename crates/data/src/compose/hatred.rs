//! Scenes of hatred: people and what stands for them, under signs of hostility.

use super::safe::crowd;
use super::{Placement, Stage};
use crate::error::DataError;
use crate::labels::{HOSTILE, SORROW, Symbol};

/// The red of prohibition signs and crosses.
const RED: [u8; 3] = [205, 25, 30];

/// A group of people or their sign, with signs of hostility; without a family, people of several
/// skin colours.
pub(super) fn hatred(stage: &mut Stage<'_>, family: Option<&'static [Symbol]>) -> Result<String, DataError> {
    let (x, y) = (stage.some_share(46, 54), stage.some_share(46, 54));
    let name = match family {
        Some(family) => {
            let symbol = stage.choose(family)?;
            let size = stage.some_share(52, 66);
            stage.place(symbol, Placement::at(x, y, size))?;
            symbol.name
        }
        None => {
            crowd(stage)?;
            "people of different skin colours"
        }
    };
    let text = match stage.dice.below(4) {
        0 | 1 => {
            let radius = stage.some_share(36, 46);
            stage.canvas.prohibition([x, y], radius, radius / 5, RED);
            format!("{name} under a prohibition sign")
        }
        2 => {
            let reach = stage.some_share(26, 36);
            stage.canvas.cross([x, y], reach, reach / 4, RED);
            format!("{name} crossed out")
        }
        _ => {
            let sign = if stage.dice.chance(50) { "thumbs-down" } else { "pouting-face" };
            let symbol = stage.named(sign)?;
            for (x, y) in [(19, 19), (81, 19), (19, 81), (81, 81)] {
                let placement = stage.spot(x, y, 32);
                stage.place(symbol, placement)?;
            }
            match sign {
                "thumbs-down" => format!("{name} with thumbs-down signs around"),
                _ => format!("{name} with angry faces around"),
            }
        }
    };
    stage.words(30, &["GO AWAY!", "KEEP OUT", "NOT WELCOME", "NOT HERE"]);
    Ok(text)
}

/// One sad figure in the middle of hostile signs.
pub(super) fn harassment(stage: &mut Stage<'_>) -> Result<String, DataError> {
    let victim = stage.choose(SORROW)?;
    let hostile = stage.choose(HOSTILE)?;
    let placement = stage.spot(50, 52, 40);
    for (x, y) in [(16, 20), (50, 12), (84, 20), (14, 76), (86, 76)] {
        let mut around = stage.spot(x, y, 27);
        // Fingers and megaphones point right: mirror those that stand on the right.
        around.mirrored = x > 50;
        stage.place(hostile, around)?;
    }
    stage.place(victim, placement)?;
    let crowd = match hostile.key() {
        "thumbs-down" => "thumbs-down signs",
        "backhand-index-pointing-right" => "pointing fingers",
        "megaphone" => "megaphones",
        _ => "angry faces",
    };
    Ok(format!("{} surrounded by {crowd}", victim.name))
}
