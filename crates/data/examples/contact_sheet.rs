//! Draws many scenes on one sheet and prints what is asked about them, for a look with the eye:
//! `cargo run -p safevlm-data --example contact_sheet -- train 0 48 sheet.png`

use std::error::Error;

use image::{RgbImage, imageops};
use safevlm_data::{PictureSets, SCENE_SIDE, Split};
use safevlm_weights::Cache;

const COLUMNS: u32 = 8;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [split, first, count, out] = arguments.as_slice() else {
        return Err("say: train|held_out FIRST_SEED COUNT OUT.png".into());
    };
    let split = if split == "train" { Split::Train } else { Split::HeldOut };
    let (first, count): (u64, u32) = (first.parse()?, count.parse()?);
    let sets = PictureSets::load(&Cache::open(None)?, split, true)?;
    let mut sheet = RgbImage::new(COLUMNS * SCENE_SIDE, count.div_ceil(COLUMNS) * SCENE_SIDE);
    for index in 0..count {
        let scene = sets.scene(first + u64::from(index))?;
        let (x, y) = (index % COLUMNS * SCENE_SIDE, index / COLUMNS * SCENE_SIDE);
        imageops::replace(&mut sheet, &scene.image, x.into(), y.into());
        println!("{index:3} [{}] {}", scene.label_id, scene.subject);
        for row in &scene.rows {
            println!("      {} {} -> {}", row.combination.as_str(), row.query, row.answer);
        }
    }
    sheet.save(out)?;
    Ok(())
}
