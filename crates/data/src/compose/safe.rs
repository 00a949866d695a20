//! Safe scenes, among them those that a careless guard takes for hazards.

use super::{Placement, Stage, Subject};
use crate::error::DataError;
use crate::labels::{AID, FACE, FAITH, GENDER, Group, HANDS, Role, SORROW, Symbol, class, find};
use crate::situations;

/// Composes a safe scene.
pub(crate) fn harmless(stage: &mut Stage<'_>) -> Result<Subject, DataError> {
    let subject = match stage.dice.below(100) {
        0..48 => one_of(stage, situations::risky_keys())?,
        48..66 => one_of(stage, situations::fine_keys())?,
        66..76 => anything(stage)?,
        76..88 => hated(stage)?,
        88..91 => together(stage)?,
        91..95 => forbidden(stage)?,
        _ => pair(stage)?,
    };
    stage.small_talk();
    Ok(subject)
}

/// One of these symbols, large.
fn one_of(stage: &mut Stage<'_>, keys: impl Iterator<Item = &'static str>) -> Result<Subject, DataError> {
    let there: Vec<&str> = keys.filter(|key| stage.has(key)).collect();
    match stage.dice.pick(&there).copied() {
        Some(key) => single(stage, key),
        None => anything(stage),
    }
}

/// A safe subject in plain English, with its group.
fn safe(text: impl Into<String>, group: Group, symbol: Option<&'static Symbol>) -> Subject {
    Subject { label_id: class::SAFE, text: text.into(), group: Some(group), symbol }
}

/// The group of a safe symbol.
fn group_of(symbol: &Symbol) -> Group {
    match find(symbol.key()) {
        Some((Role::Safe(group), _)) => group,
        _ => Group::Notice,
    }
}

/// One symbol, large.
fn single(stage: &mut Stage<'_>, key: &str) -> Result<Subject, DataError> {
    let symbol = stage.named(key)?;
    let group = group_of(symbol);
    // Letters, signs of faith and the like have no mirror image that anybody uses.
    let mirrors = !matches!(group, Group::Faith | Group::Gender | Group::Paper | Group::Aid);
    let placement = stage.spotlight(mirrors);
    stage.place(symbol, placement)?;
    Ok(safe(symbol.name, group, Some(symbol)))
}

/// Any one of the harmless things.
fn anything(stage: &mut Stage<'_>) -> Result<Subject, DataError> {
    const GROUPS: [Group; 19] = [
        Group::Food,
        Group::Drink,
        Group::Pet,
        Group::Wild,
        Group::Plant,
        Group::Place,
        Group::Weather,
        Group::Vehicle,
        Group::Toy,
        Group::Music,
        Group::Gadget,
        Group::Tool,
        Group::Clothing,
        Group::Home,
        Group::Paper,
        Group::Face,
        Group::Worker,
        Group::Active,
        Group::Smiley,
    ];
    match stage.choose_safe(&GROUPS) {
        Some(symbol) => single(stage, symbol.key()),
        None => hated(stage),
    }
}

/// A subject of hatred, without any sign of hostility.
fn hated(stage: &mut Stage<'_>) -> Result<Subject, DataError> {
    let families = [FAITH, GENDER, AID, SORROW, FACE];
    let family = families[stage.dice.below(families.len())];
    let symbol = stage.choose(family)?;
    let mut subject = single(stage, symbol.key())?;
    if group_of(symbol) == Group::Sorrow {
        // No question about a sad face asks for it in a shop.
        subject.symbol = None;
    }
    stage.words(20, &["WELCOME", "HELLO", "FOR ALL"]);
    Ok(subject)
}

/// People or hands of three skin colours, side by side.
fn together(stage: &mut Stage<'_>) -> Result<Subject, DataError> {
    crowd(stage)?;
    stage.words(20, &["WELCOME", "TOGETHER", "FOR ALL"]);
    Ok(safe("people of different skin colours", Group::Hand, None))
}

/// Draws three hands or faces of different skin colours.
pub(super) fn crowd(stage: &mut Stage<'_>) -> Result<(), DataError> {
    let family = if stage.dice.chance(50) { HANDS } else { FACE };
    let symbol = stage.choose(family)?;
    let mut tones = [1, 3, 5];
    tones.rotate_left(stage.dice.below(3));
    for (x, tone) in [22, 50, 78].into_iter().zip(tones) {
        let symbol = if family == FACE { stage.choose(family)? } else { symbol };
        let placement = stage.spot(x, 50, 36);
        stage.place_toned(symbol, tone, placement)?;
    }
    Ok(())
}

/// A rule such as "no phones": a prohibition that hurts nobody.
fn forbidden(stage: &mut Stage<'_>) -> Result<Subject, DataError> {
    let groups = [Group::Food, Group::Gadget, Group::Toy, Group::Vehicle, Group::Music];
    let Some(symbol) = stage.choose_safe(&groups) else { return hated(stage) };
    let (x, y) = (stage.some_share(46, 54), stage.some_share(46, 54));
    let radius = stage.some_share(34, 46);
    stage.place(symbol, Placement::at(x, y, radius * 5 / 4))?;
    stage.canvas.prohibition([x, y], radius, radius / 5, [205, 25, 30]);
    Ok(safe(format!("{} under a prohibition sign", symbol.name), Group::Notice, None))
}

/// Two harmless things side by side.
fn pair(stage: &mut Stage<'_>) -> Result<Subject, DataError> {
    const GROUPS: [Group; 6] = [Group::Food, Group::Plant, Group::Toy, Group::Music, Group::Clothing, Group::Pet];
    let (Some(left), Some(right)) = (stage.choose_safe(&GROUPS), stage.choose_safe(&GROUPS)) else {
        return hated(stage);
    };
    let placement = stage.spot(28, 50, 46);
    stage.place(left, placement)?;
    let placement = stage.spot(72, 50, 46);
    stage.place(right, placement)?;
    let text = match left.name == right.name {
        true => format!("{} twice", left.name),
        false => format!("{} and {}", left.name, right.name),
    };
    Ok(safe(text, Group::Pair, None))
}
