//! What every symbol is: safe and of which group, or a hazard and of which of the 20 classes.
//!
//! A symbol belongs to one family only, so that a picture has one label. U+1F52B counts as a
//! weapon in the sets that draw a firearm, and is left out of those that draw a water pistol. The
//! subjects of hatred (faiths, people, signs of men and women, ...) are safe by themselves.

mod groups;
mod hazards;
mod nature;
mod people;
mod symbol;
mod things;

use std::collections::HashMap;
use std::sync::LazyLock;

pub use groups::{Group, GroupInfo};
pub use symbol::Symbol;

pub(crate) use hazards::{
    BURGLAR, BURGLARY, DRUG, FIGHT, FINANCE, HOSTILE, IDENTITY, INJURY, LIMB, MEDICINE, OBSCENE, SEXUAL, SUICIDE,
    TERROR, WEAPON,
};
pub(crate) use nature::{PET, PLACE, WILD};
pub(crate) use people::{AID, FACE, FAITH, GENDER, HANDS, SORROW};

/// U+1F52B: a firearm or a water pistol, by vendor.
pub(crate) const PISTOL: &str = "1f52b";

/// Ids of the classes that the scenes speak of; the numbering is that of `safevlm_core`.
pub mod class {
    #![allow(missing_docs)] // the names are the taxonomy's
    pub const SAFE: usize = 0;
    pub const GENDER: usize = 1;
    pub const RACE: usize = 2;
    pub const RELIGION: usize = 3;
    pub const HARASSMENT: usize = 4;
    pub const DISABILITY: usize = 5;
    pub const DRUG: usize = 6;
    pub const PROPERTY: usize = 7;
    pub const FACE: usize = 8;
    pub const IDENTITY: usize = 9;
    pub const INJURY: usize = 10;
    pub const SUICIDE: usize = 11;
    pub const ANIMAL: usize = 12;
    pub const OBSCENE: usize = 13;
    pub const FIGHT: usize = 14;
    pub const TERROR: usize = 15;
    pub const WEAPON: usize = 16;
    pub const SEXUAL: usize = 17;
    pub const FINANCE: usize = 18;
    pub const MEDICINE: usize = 19;
}

/// What a family of symbols is by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A safe picture of this group.
    Safe(Group),
    /// A picture of this class.
    Hazard(usize),
    /// A part of scenes only.
    Part,
}

/// Every family of symbols with its role.
pub static FAMILIES: &[(Role, &[Symbol])] = &[
    (Role::Safe(Group::Food), nature::FOOD),
    (Role::Safe(Group::Drink), nature::DRINK),
    (Role::Safe(Group::Pet), PET),
    (Role::Safe(Group::Wild), WILD),
    (Role::Safe(Group::Plant), nature::PLANT),
    (Role::Safe(Group::Place), PLACE),
    (Role::Safe(Group::Weather), nature::WEATHER),
    (Role::Safe(Group::Vehicle), things::VEHICLE),
    (Role::Safe(Group::Toy), things::TOY),
    (Role::Safe(Group::Music), things::MUSIC),
    (Role::Safe(Group::Gadget), things::GADGET),
    (Role::Safe(Group::Tool), things::TOOL),
    (Role::Safe(Group::Clothing), things::CLOTHING),
    (Role::Safe(Group::Home), things::HOME),
    (Role::Safe(Group::Paper), things::PAPER),
    (Role::Safe(Group::Face), FACE),
    (Role::Safe(Group::Worker), people::WORKER),
    (Role::Safe(Group::Active), people::ACTIVE),
    (Role::Safe(Group::Smiley), people::SMILEY),
    (Role::Safe(Group::Gender), GENDER),
    (Role::Safe(Group::Hand), HANDS),
    (Role::Safe(Group::Faith), FAITH),
    (Role::Safe(Group::Aid), AID),
    (Role::Safe(Group::Sorrow), SORROW),
    (Role::Hazard(class::DRUG), DRUG),
    (Role::Hazard(class::PROPERTY), BURGLARY),
    (Role::Hazard(class::IDENTITY), IDENTITY),
    (Role::Hazard(class::INJURY), INJURY),
    (Role::Hazard(class::SUICIDE), SUICIDE),
    (Role::Hazard(class::OBSCENE), OBSCENE),
    (Role::Hazard(class::FIGHT), FIGHT),
    (Role::Hazard(class::TERROR), TERROR),
    (Role::Hazard(class::WEAPON), WEAPON),
    (Role::Hazard(class::SEXUAL), SEXUAL),
    (Role::Hazard(class::FINANCE), FINANCE),
    (Role::Hazard(class::MEDICINE), MEDICINE),
    (Role::Part, BURGLAR),
    (Role::Part, LIMB),
    (Role::Part, HOSTILE),
    (Role::Part, hazards::PROP),
];

/// Every symbol by its key, with its role.
static BY_KEY: LazyLock<HashMap<&'static str, (Role, &'static Symbol)>> = LazyLock::new(|| {
    let rows = FAMILIES.iter().flat_map(|(role, family)| family.iter().map(|symbol| (*role, symbol)));
    rows.map(|(role, symbol)| (symbol.key(), (role, symbol))).collect()
});

/// The symbol of that key, with its role.
pub fn find(key: &str) -> Option<(Role, &'static Symbol)> {
    BY_KEY.get(key).copied()
}

/// Every symbol once, in the order of the tables.
pub fn symbols() -> impl Iterator<Item = &'static Symbol> {
    FAMILIES.iter().flat_map(|(_, family)| family.iter())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use safevlm_core::taxonomy::CLASSES;

    use super::*;

    #[test]
    fn keys_and_code_points_are_unique() {
        let (mut seen, mut designs) = (HashSet::new(), HashSet::new());
        for symbol in symbols() {
            assert!(!symbol.key().is_empty() && seen.insert(symbol.key()), "{symbol:?}");
            assert!(symbol.code.is_empty() == symbol.slug.is_empty(), "{symbol:?}");
            assert!(symbol.code.is_empty() || seen.insert(symbol.code), "{symbol:?}");
            for name in symbol.game.split_whitespace() {
                assert!(designs.insert(("game", name)), "{name}");
            }
            for name in symbol.fx.split_whitespace() {
                assert!(designs.insert(("fx", name)), "{name}");
            }
            let article = ["a ", "an ", "the ", "two ", "cannabis", "Santa", "money", "nail polish"];
            assert!(article.iter().any(|a| symbol.name.starts_with(a)), "{symbol:?}");
        }
        assert!(seen.len() > 300);
    }

    #[test]
    fn class_ids_are_those_of_the_taxonomy() {
        let named = [
            (class::SAFE, "safe"),
            (class::GENDER, "gender"),
            (class::RACE, "race"),
            (class::RELIGION, "religion"),
            (class::HARASSMENT, "harassment"),
            (class::DISABILITY, "disability_discrimination"),
            (class::DRUG, "drug_related_hazards"),
            (class::PROPERTY, "property_crime"),
            (class::FACE, "facial_data_exposure"),
            (class::IDENTITY, "identity_data_exposure"),
            (class::INJURY, "physical_self_injury"),
            (class::SUICIDE, "suicide"),
            (class::ANIMAL, "animal_abuse"),
            (class::OBSCENE, "obscene_gestures"),
            (class::FIGHT, "physical_altercation"),
            (class::TERROR, "terrorism"),
            (class::WEAPON, "weapon_related_violence"),
            (class::SEXUAL, "sexual_content"),
            (class::FINANCE, "financial_advice"),
            (class::MEDICINE, "medical_advice"),
        ];
        assert_eq!(named.len(), CLASSES.len());
        for (id, name) in named {
            assert_eq!((CLASSES[id].id, CLASSES[id].name), (id, name));
        }
    }

    #[test]
    fn a_symbol_is_found_with_its_role() {
        let (role, pistol) = find("pistol").unwrap();
        assert_eq!((role, pistol.code), (Role::Hazard(class::WEAPON), PISTOL));
        assert_eq!(find("church").unwrap().0, Role::Safe(Group::Faith));
        assert!(find("no-such-symbol").is_none());
    }
}
