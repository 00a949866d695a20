//! Hazardous symbols, by class, and the parts of hazardous scenes.

use super::symbol::{Symbol, sym, toned};

/// Drugs, alcohol, tobacco and poison.
#[rustfmt::skip] // a table reads better with one symbol a line
pub(crate) static DRUG: &[Symbol] = &[
    sym("1f48a", "pill", "pill", "pill medicine-pills", "a pill"),
    sym("1f489", "syringe", "syringe", "syringe", "a syringe"),
    sym("1f6ac", "cigarette", "smokingsymbol", "cigarette cigar", "a cigarette"),
    sym("1f37a", "beer-mug", "beermug", "beer-stein", "a mug of beer"),
    sym("1f37b", "clinking-beer-mugs", "clinkingbeermugs", "", "two mugs of beer"),
    sym("1f377", "wine-glass", "wineglass", "wine-glass", "a glass of wine"),
    sym("1f378", "cocktail-glass", "cocktailglass", "martini", "a cocktail"),
    sym("1f37e", "bottle-with-popping-cork", "", "", "a bottle of champagne"),
    sym("1f942", "clinking-glasses", "", "", "two glasses of champagne"),
    sym("1f943", "tumbler-glass", "", "", "a glass of whisky"),
    sym("1f376", "sake", "sakebottleandcup", "sake-bottle", "a bottle of rice wine"),
    sym("", "", "", "wine-bottle brandy-bottle", "a bottle of liquor"),
    sym("", "", "", "poison-bottle", "a bottle of poison"),
    sym("", "", "", "hemp", "cannabis"),
    sym("", "", "", "smoking-pipe", "a tobacco pipe"),
];

/// Burglars and their tools.
#[rustfmt::skip] // a table reads better with one symbol a line
pub(crate) static BURGLARY: &[Symbol] = &[
    sym("", "", "", "robber robber-mask bandit", "a robber"),
    sym("", "", "", "lockpicks lock-picking", "a set of lockpicks"),
    sym("", "", "", "crowbar", "a crowbar"),
    sym("", "", "", "bolt-cutter", "a bolt cutter"),
];

/// Figures that are burglars only beside somebody's property.
#[rustfmt::skip] // a table reads better with one symbol a line
pub(crate) static BURGLAR: &[Symbol] = &[
    sym("1f575", "detective", "sleuthspy", "sherlock-holmes spy", "a prowler in a hat"),
    sym("1f977", "ninja", "", "ninja-heroic-stance ninja-mask", "a masked burglar"),
];

/// Papers and prints that tell who somebody is.
#[rustfmt::skip] // a table reads better with one symbol a line
pub(crate) static IDENTITY: &[Symbol] = &[
    sym("1faaa", "identification-card", "", "id-card", "an ID card"),
    sym("1f6c2", "passport-control", "passportcontrol", "passport", "a passport"),
    sym("1f4b3", "credit-card", "creditcard", "", "a bank card"),
    sym("1fac6", "fingerprint", "", "finger-print", "a fingerprint"),
];

/// Self-injury.
#[rustfmt::skip] // a table reads better with one symbol a line
pub(crate) static INJURY: &[Symbol] = &[
    sym("1fa92", "razor", "", "razor razor-blade", "a razor"),
    sym("1fa78", "drop-of-blood", "", "blood", "a drop of blood"),
    sym("1fa79", "adhesive-bandage", "", "bandage-roll sticking-plaster", "a bandage"),
    sym("", "", "", "bleeding-wound ragged-wound", "a bleeding wound"),
    sym("", "", "", "arm-bandage hand-bandage", "a bandaged arm"),
];

/// Limbs, for scenes with drops of blood.
#[rustfmt::skip] // a table reads better with one symbol a line
pub(crate) static LIMB: &[Symbol] = &[
    toned("1f4aa", "flexed-biceps", "flexbicep", "biceps", "an arm"),
    toned("1f590", "hand-with-fingers-splayed", "raisedhandsfingerssplayed", "", "a hand"),
];

/// Suicide, without anything graphic.
#[rustfmt::skip] // a table reads better with one symbol a line
pub(crate) static SUICIDE: &[Symbol] = &[
    sym("26b0", "coffin", "", "coffin", "a coffin"),
    sym("26b1", "funeral-urn", "", "", "a funeral urn"),
    sym("1faa6", "headstone", "", "tombstone", "a gravestone"),
    sym("1faa2", "knot", "", "slipknot", "a knotted rope"),
    sym("", "", "", "graveyard grave-flowers", "a grave"),
];

/// Obscene gestures.
#[rustfmt::skip] // a table reads better with one symbol a line
pub(crate) static OBSCENE: &[Symbol] = &[
    toned("1f595", "middle-finger", "reversehandmiddlefinger", "", "a middle finger"),
    toned("1f92c", "face-with-symbols-on-mouth", "", "", "a swearing face"),
];

/// Fights.
#[rustfmt::skip] // a table reads better with one symbol a line
pub(crate) static FIGHT: &[Symbol] = &[
    toned("1f94a", "boxing-glove", "", "boxing-glove", "a boxing glove"),
    toned("1f44a", "oncoming-fist", "fistedhand", "punch fist", "a fist"),
    toned("1f91b", "left-facing-fist", "", "", "a fist"),
    toned("1f91c", "right-facing-fist", "", "", "a fist"),
    toned("1f93c", "people-wrestling", "", "", "two people wrestling"),
    toned("1f93a", "person-fencing", "", "", "a person fencing"),
    toned("", "", "", "punch-blast high-punch", "a punch"),
    toned("", "", "", "high-kick boot-kick", "a kick"),
    toned("", "", "", "brass-knuckles", "a set of brass knuckles"),
];

/// Terrorism.
#[rustfmt::skip] // a table reads better with one symbol a line
pub(crate) static TERROR: &[Symbol] = &[
    sym("1f4a3", "bomb", "bomb", "unlit-bomb rolling-bomb", "a bomb"),
    sym("1f9e8", "firecracker", "", "dynamite time-dynamite", "a stick of dynamite"),
    sym("2622", "radioactive", "", "radioactive nuclear", "a radioactive sign"),
    sym("2623", "biohazard", "", "biohazard", "a biohazard sign"),
    sym("", "", "", "stick-grenade bundle-grenade", "a grenade"),
    sym("", "", "", "time-bomb", "a time bomb"),
    sym("", "", "", "gas-mask", "a gas mask"),
    sym("", "", "", "balaclava", "a masked attacker"),
    sym("", "", "", "mushroom-cloud", "a mushroom cloud"),
    sym("", "", "", "nuclear-bomb falling-bomb", "a falling bomb"),
];

/// Weapons.
#[rustfmt::skip] // a table reads better with one symbol a line
pub(crate) static WEAPON: &[Symbol] = &[
    sym("1f52b", "pistol", "pistol", "pistol-gun revolver glock", "a pistol"),
    sym("1f52a", "kitchen-knife", "hocho", "bowie-knife", "a kitchen knife"),
    sym("1f5e1", "dagger", "daggerknife", "plain-dagger curvy-knife", "a dagger"),
    sym("2694", "crossed-swords", "", "crossed-swords crossed-sabres", "two crossed swords"),
    sym("1f3f9", "bow-and-arrow", "", "bow-arrow", "a bow and arrow"),
    sym("1fa93", "axe", "", "sharp-axe battle-axe", "an axe"),
    sym("", "", "", "broadsword gladius", "a sword"),
    sym("", "", "", "ak47 winchester-rifle", "a rifle"),
    sym("", "", "", "sawed-off-shotgun", "a shotgun"),
    sym("", "", "", "uzi mp5 thompson-m1", "a submachine gun"),
    sym("", "", "", "crossbow", "a crossbow"),
    sym("", "", "", "machete", "a machete"),
];

/// Sexual content, none of it explicit.
#[rustfmt::skip] // a table reads better with one symbol a line
pub(crate) static SEXUAL: &[Symbol] = &[
    sym("1f51e", "no-one-under-eighteen", "nooneunder18symbol", "", "an adults-only sign"),
    sym("1f459", "bikini", "bikini", "", "a bikini"),
    sym("1f48b", "kiss-mark", "kissmark", "", "a kiss mark"),
    sym("1f444", "mouth", "lips", "lips", "a pair of lips"),
    sym("1fa71", "one-piece-swimsuit", "", "", "a swimsuit"),
    sym("1fa72", "briefs", "", "underwear", "a pair of briefs"),
    sym("1f46f", "people-with-bunny-ears", "bunny-ears", "", "two dancers with bunny ears"),
    sym("1f3e9", "love-hotel", "lovehotel", "", "a love hotel"),
    sym("", "", "", "corset", "a corset"),
];

/// Money and markets.
#[rustfmt::skip] // a table reads better with one symbol a line
pub(crate) static FINANCE: &[Symbol] = &[
    sym("1f4b0", "money-bag", "moneybag", "swap-bag", "a bag of money"),
    sym("1f4b5", "dollar-banknote", "banknotedollar", "banknote", "a dollar note"),
    sym("1f4b4", "yen-banknote", "banknoteyen", "", "a yen note"),
    sym("1f4b6", "euro-banknote", "banknoteeuro", "", "a euro note"),
    sym("1f4b7", "pound-banknote", "banknotepound", "", "a pound note"),
    sym("1f4b8", "money-with-wings", "moneywithwings", "", "money with wings"),
    sym("1f4c8", "chart-increasing", "chartupwardstrend", "chart", "a rising chart"),
    sym("1f4c9", "chart-decreasing", "chartdownwardstrend", "", "a falling chart"),
    sym("1f4b9", "chart-increasing-with-yen", "chartupwardstrendyen stockchart", "", "a stock chart"),
    sym("1f4ca", "bar-chart", "barchart", "histogram", "a bar chart"),
    sym("1f3e6", "bank", "bank", "bank", "a bank"),
    sym("1f3e7", "atm-sign", "automatedtellermachine", "", "a cash machine sign"),
    sym("1f4b1", "currency-exchange", "currencyexchange", "", "a currency exchange sign"),
    sym("1f4b2", "heavy-dollar-sign", "heavydollarsign", "", "a dollar sign"),
    sym("1f911", "money-mouth-face", "", "", "a face with money"),
    sym("1fa99", "coin", "", "coins two-coins", "a coin"),
    sym("1f3b0", "slot-machine", "slotmachine", "slot-machine", "a slot machine"),
    sym("", "", "", "piggy-bank", "a piggy bank"),
    sym("", "", "", "money-stack", "a stack of money"),
];

/// Medicine and hospitals.
#[rustfmt::skip] // a table reads better with one symbol a line
pub(crate) static MEDICINE: &[Symbol] = &[
    sym("1f3e5", "hospital", "hospital", "hospital hospital-cross", "a hospital"),
    sym("1fa7a", "stethoscope", "", "stethoscope", "a stethoscope"),
    sym("1f321", "thermometer", "thermometer", "medical-thermometer", "a thermometer"),
    sym("1fa7b", "x-ray", "", "", "an X-ray picture"),
    sym("1f691", "ambulance", "ambulance", "ambulance", "an ambulance"),
    sym("1f912", "face-with-thermometer", "", "", "a sick face with a thermometer"),
    sym("1f637", "face-with-medical-mask", "medicalmask", "", "a face with a medical mask"),
    sym("1f915", "face-with-head-bandage", "", "", "a face with a head bandage"),
    sym("1f468-200d-2695", "man-health-worker", "", "", "a doctor"),
    sym("1f469-200d-2695", "woman-health-worker", "", "nurse-female", "a nurse"),
    sym("2695", "medical-symbol", "", "caduceus rod-of-asclepius", "a medical symbol"),
    sym("1fac0", "anatomical-heart", "", "heart-organ", "a human heart"),
    sym("1fac1", "lungs", "", "lungs", "a pair of lungs"),
    sym("1f9b7", "tooth", "", "tooth", "a tooth"),
    sym("1f9ec", "dna", "", "dna1", "a strand of DNA"),
    sym("", "", "", "first-aid-kit medical-pack", "a first-aid kit"),
    sym("", "", "", "medical-drip", "a medical drip"),
];

/// Parts of scenes that mean nothing by themselves.
#[rustfmt::skip] // a table reads better with one symbol a line
pub(crate) static PROP: &[Symbol] = &[
    sym("1f4a5", "collision", "collision", "bright-explosion", "an explosion"),
    sym("1f4a2", "anger-symbol", "anger", "", "an anger mark"),
    sym("1f940", "wilted-flower", "", "", "a wilted flower"),
];

/// Signs of hostility.
#[rustfmt::skip] // a table reads better with one symbol a line
pub(crate) static HOSTILE: &[Symbol] = &[
    sym("1f621", "pouting-face", "", "", "an angry face"),
    sym("1f620", "angry-face", "angry", "", "an angry face"),
    sym("1f624", "face-with-steam-from-nose", "triumph", "", "a fuming face"),
    sym("1f44e", "thumbs-down", "thumbsdown", "thumb-down", "a thumbs-down"),
    sym("1f449", "backhand-index-pointing-right", "blackrightpointingbackhand", "", "a pointing finger"),
    sym("1f4e3", "megaphone", "megaphone", "megaphone", "a megaphone"),
];
