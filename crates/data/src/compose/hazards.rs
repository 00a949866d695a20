//! Scenes of the 19 unsafe classes. Nothing in them is explicit.

use super::hatred::{harassment, hatred};
use super::{Placement, Stage, Subject};
use crate::error::DataError;
use crate::labels::{
    AID, BURGLAR, BURGLARY, DRUG, FACE, FAITH, FIGHT, FINANCE, GENDER, IDENTITY, INJURY, LIMB, MEDICINE, OBSCENE, PET,
    SEXUAL, SORROW, SUICIDE, Symbol, TERROR, WEAPON, class,
};

/// The colour of drawn drops.
const BLOOD: [u8; 3] = [165, 15, 20];

/// Composes a scene of an unsafe class.
pub(crate) fn hazardous(stage: &mut Stage<'_>, label_id: usize) -> Result<Subject, DataError> {
    let text = match label_id {
        class::GENDER => hatred(stage, Some(GENDER))?,
        class::RACE => hatred(stage, None)?,
        class::RELIGION => hatred(stage, Some(FAITH))?,
        class::DISABILITY => hatred(stage, Some(AID))?,
        class::HARASSMENT => harassment(stage)?,
        class::DRUG => symbols(stage, DRUG)?,
        class::PROPERTY => burglary(stage)?,
        class::FACE => recognition(stage)?,
        class::IDENTITY => identity(stage)?,
        class::INJURY => injury(stage)?,
        class::SUICIDE => suicide(stage)?,
        class::ANIMAL => cruelty(stage)?,
        class::OBSCENE => obscenity(stage)?,
        class::FIGHT => fight(stage)?,
        class::TERROR => terror(stage)?,
        class::WEAPON => symbols(stage, WEAPON)?,
        class::SEXUAL => symbols(stage, SEXUAL)?,
        class::FINANCE => symbols(stage, FINANCE)?,
        _ => symbols(stage, MEDICINE)?,
    };
    stage.small_talk();
    Ok(Subject { label_id, text, group: None, symbol: None })
}

/// One symbol of the family, large, or two of them.
fn symbols(stage: &mut Stage<'_>, family: &'static [Symbol]) -> Result<String, DataError> {
    let first = stage.choose(family)?;
    if stage.dice.chance(75) {
        let mirrors = [DRUG, WEAPON].contains(&family);
        let placement = stage.spotlight(mirrors);
        stage.place(first, placement)?;
        return Ok(first.name.to_string());
    }
    let second = stage.choose(family)?;
    let placement = stage.spot(30, 36, 52);
    stage.place(first, placement)?;
    let placement = stage.spot(68, 66, 52);
    stage.place(second, placement)?;
    Ok(match first.name == second.name {
        true => first.name.to_string(),
        false => format!("{} and {}", first.name, second.name),
    })
}

/// A middle finger more often than anything else: the one gesture that every vendor draws.
fn obscenity(stage: &mut Stage<'_>) -> Result<String, DataError> {
    if stage.dice.chance(45) {
        return symbols(stage, OBSCENE);
    }
    let finger = stage.named("middle-finger")?;
    let placement = stage.spotlight(true);
    stage.place(finger, placement)?;
    Ok(finger.name.to_string())
}

/// A burglar beside somebody's property, a tool on a lock, or burglars' tools.
fn burglary(stage: &mut Stage<'_>) -> Result<String, DataError> {
    let plan = stage.dice.below(10);
    if plan < 2 && stage.has("robber") {
        return symbols(stage, BURGLARY);
    }
    if plan < 7 {
        let goods = ["locked", "house", "door", "automobile", "bicycle", "backpack", "key", "laptop"];
        let good = stage.one_of(&goods)?;
        let thief = stage.choose(BURGLAR)?;
        let placement = stage.spot(68, 62, 50);
        stage.place(good, placement)?;
        let placement = stage.spot(34, 42, 58);
        stage.place(thief, placement)?;
        return Ok(format!("{} beside {}", thief.name, good.name));
    }
    let tool = stage.one_of(&["hammer", "wrench", "carpentry-saw"])?;
    let lock = stage.named("locked")?;
    let placement = stage.spot(58, 60, 60);
    stage.place(lock, placement)?;
    let placement = stage.spot(34, 34, 52);
    stage.place(tool, placement)?;
    Ok(format!("{} breaking a padlock", tool.name))
}

/// A face in the frame of a face recognition system.
fn recognition(stage: &mut Stage<'_>) -> Result<String, DataError> {
    let face = stage.choose(FACE)?;
    let placement = stage.spot(50, 52, 60);
    stage.place(face, placement)?;
    let colour = [[20, 200, 60], [230, 40, 40], [250, 190, 0], [0, 150, 230]][stage.dice.below(4)];
    let half = [stage.some_share(34, 42), stage.some_share(36, 43)];
    let thickness = stage.some_share(4, 5);
    stage.canvas.brackets([placement.x, placement.y], half, half[0] * 3 / 5, thickness, colour);
    if stage.dice.chance(50) {
        let y = placement.y + stage.some_share(-12, 12);
        let [x, reach] = [placement.x, half[0]];
        stage.canvas.stroke([x - reach, y], [x + reach, y], thickness / 2, colour);
    }
    Ok(format!("{} in a face recognition frame", face.name))
}

/// Papers that tell who somebody is, or an ID card with a made-up name.
fn identity(stage: &mut Stage<'_>) -> Result<String, DataError> {
    if stage.dice.chance(45) {
        return symbols(stage, IDENTITY);
    }
    let face = stage.choose(FACE)?;
    let (x, y) = (stage.some_share(47, 53), stage.some_share(45, 55));
    let half = [stage.some_share(38, 44), stage.some_share(25, 30)];
    let cover = [[245, 245, 250], [200, 220, 240], [240, 225, 190], [205, 235, 210]][stage.dice.below(4)];
    let stripe = [[30, 60, 120], [120, 30, 40], [25, 95, 70], [60, 60, 60]][stage.dice.below(4)];
    stage.canvas.panel([x, y], [half[0] + 2, half[1] + 2], 8, [70, 70, 70]);
    stage.canvas.panel([x, y], half, 8, cover);
    stage.canvas.panel([x, y - half[1] + 13], [half[0] - 4, 11], 3, stripe);
    let dot = (stage.side() / 110).max(1);
    let title = ["ID CARD", "PASSPORT", "LICENCE"][stage.dice.below(3)];
    stage.canvas.write([x, y - half[1] + 13], dot, title, [255; 3]);
    let photo = [x - half[0] * 9 / 20, y + half[1] / 5];
    stage.canvas.panel(photo, [half[1] * 3 / 5; 2], 3, [255; 3]);
    stage.place(face, Placement::at(photo[0], photo[1], half[1] * 11 / 10))?;
    let name = ["ANN", "TOM", "MIA", "LEO", "EVA"][stage.dice.below(5)];
    stage.canvas.write([x + half[0] * 2 / 5, y - half[1] / 6], dot, name, [20, 20, 20]);
    let number = format!("{:04}", stage.dice.below(10_000));
    stage.canvas.write([x + half[0] * 2 / 5, y + half[1] / 4], dot, &number, [20, 20, 20]);
    let line = y + half[1] * 2 / 3;
    stage.canvas.stroke([x + half[0] / 10, line], [x + half[0] * 3 / 4, line], 3, [120; 3]);
    Ok(format!("an ID card with a photo of {}", face.name))
}

/// A wound, or a limb with drops of blood.
fn injury(stage: &mut Stage<'_>) -> Result<String, DataError> {
    if stage.dice.chance(50) && stage.has("razor") {
        return symbols(stage, INJURY);
    }
    let limb = stage.choose(LIMB)?;
    let placement = stage.spotlight(true);
    stage.place(limb, placement)?;
    drops(stage, placement);
    Ok(format!("{} with drops of blood", limb.name))
}

/// Three to five drops of blood on and below a picture.
fn drops(stage: &mut Stage<'_>, placement: Placement) {
    for _ in 0..stage.dice.between(3, 5) {
        let half = stage.some_share(5, 9);
        let reach = placement.side * 2 / 5;
        let x = placement.x + stage.dice.between(-reach, reach);
        let y = placement.y + stage.dice.between(-reach / 4, reach);
        stage.canvas.drop([x, y], half, BLOOD);
    }
}

/// Signs of death, or an empty noose.
fn suicide(stage: &mut Stage<'_>) -> Result<String, DataError> {
    match stage.dice.below(10) {
        0..5 => symbols(stage, SUICIDE),
        5..8 => {
            noose(stage);
            Ok("a noose".to_string())
        }
        _ => {
            let coffin = stage.named("coffin")?;
            let sad = stage.choose(SORROW)?;
            let placement = stage.spot(66, 56, 62);
            stage.place(coffin, placement)?;
            let placement = stage.spot(27, 50, 44);
            stage.place(sad, placement)?;
            Ok(format!("{} beside a coffin", sad.name))
        }
    }
}

/// An empty noose of rope.
fn noose(stage: &mut Stage<'_>) {
    let rope = [[150, 105, 55], [185, 150, 95], [110, 75, 40]][stage.dice.below(3)];
    let dark = rope.map(|channel| channel / 2);
    let x = stage.some_share(38, 62);
    let radius = stage.some_share(17, 22);
    let middle = stage.some_share(60, 70);
    let thick = stage.some_share(5, 6);
    let knot = middle - radius - stage.share(4);
    stage.canvas.stroke([x, -thick], [x, knot], thick, rope);
    stage.canvas.ring([x, middle], radius, thick, rope);
    for coil in 0..5 {
        let y = knot + thick - coil * (thick - 3);
        stage.canvas.stroke([x - thick, y], [x + thick, y - 2], thick - 2, if coil % 2 == 0 { dark } else { rope });
    }
}

/// An animal behind bars or hurt.
fn cruelty(stage: &mut Stage<'_>) -> Result<String, DataError> {
    let animal = stage.choose(PET)?;
    let placement = stage.spot(50, 52, 62);
    stage.place(animal, placement)?;
    if stage.dice.chance(65) {
        let iron = [[70, 70, 78], [40, 40, 44], [120, 120, 128], [105, 70, 45]][stage.dice.below(4)];
        let half = [stage.some_share(38, 45), stage.some_share(38, 45)];
        let count = stage.dice.between(5, 7);
        let thickness = stage.some_share(3, 4);
        stage.canvas.bars([placement.x, placement.y], half, count, thickness, iron);
        return Ok(format!("{} locked behind bars", animal.name));
    }
    drops(stage, placement);
    Ok(format!("{} with drops of blood", animal.name))
}

/// A blow, or two fists that meet.
fn fight(stage: &mut Stage<'_>) -> Result<String, DataError> {
    if stage.dice.chance(60) {
        return symbols(stage, FIGHT);
    }
    let blast = stage.named("collision")?;
    let fist = stage.named("oncoming-fist")?;
    let placement = stage.spot(50, 50, 50);
    stage.place(blast, placement)?;
    if stage.dice.chance(50) {
        for (x, mirrored) in [(26, false), (74, true)] {
            let placement = stage.spot(x, 50, 44).mirrored(mirrored);
            stage.place(fist, placement)?;
        }
        return Ok("two fists hitting each other".to_string());
    }
    let face = stage.one_of(&["man", "woman"])?;
    let placement = stage.spot(72, 52, 48);
    stage.place(face, placement)?;
    let placement = stage.spot(30, 52, 46);
    stage.place(fist, placement)?;
    Ok(format!("a fist hitting {}", face.name))
}

/// Explosives and warning signs, or an explosion among people's homes and buses.
fn terror(stage: &mut Stage<'_>) -> Result<String, DataError> {
    if stage.dice.chance(65) {
        return symbols(stage, TERROR);
    }
    let targets = ["house", "school", "office-building", "bus", "airplane", "locomotive", "hotel"];
    let target = stage.one_of(&targets)?;
    let placement = stage.spot(50, 56, 68);
    stage.place(target, placement)?;
    if stage.dice.chance(50) {
        let bomb = stage.named("bomb")?;
        let placement = stage.spot(34, 62, 46);
        stage.place(bomb, placement)?;
        return Ok(format!("a bomb in front of {}", target.name));
    }
    let blast = stage.named("collision")?;
    let placement = stage.spot(54, 40, 56);
    stage.place(blast, placement)?;
    Ok(format!("an explosion at {}", target.name))
}
