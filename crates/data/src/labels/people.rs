//! People, and the symbols of groups of people: safe by themselves, hateful under a hostile sign.

use super::symbol::{Symbol, sym, toned};

/// Faces of people.
#[rustfmt::skip] // a table reads better with one symbol a line
pub(crate) static FACE: &[Symbol] = &[
    toned("1f468", "man", "man", "", "a man"),
    toned("1f469", "woman", "woman", "", "a woman"),
    toned("1f466", "boy", "boy", "", "a boy"),
    toned("1f467", "girl", "girl", "", "a girl"),
    toned("1f474", "old-man", "gpa", "", "an old man"),
    toned("1f475", "old-woman", "gma", "", "an old woman"),
    toned("1f476", "baby", "baby", "baby-face", "a baby"),
    toned("1f471", "blond-haired-person", "blonde", "", "a person with fair hair"),
];

/// People at work.
#[rustfmt::skip] // a table reads better with one symbol a line
pub(crate) static WORKER: &[Symbol] = &[
    toned("1f468-200d-1f373", "man-cook", "", "cook", "a cook"),
    toned("1f469-200d-1f373", "woman-cook", "", "", "a cook"),
    toned("1f468-200d-1f33e", "man-farmer", "", "", "a farmer"),
    toned("1f469-200d-1f33e", "woman-farmer", "", "farmer", "a farmer"),
    toned("1f468-200d-1f3eb", "man-teacher", "", "teacher", "a teacher"),
    toned("1f469-200d-1f3eb", "woman-teacher", "", "", "a teacher"),
    toned("1f468-200d-1f3a8", "man-artist", "", "", "an artist"),
    toned("1f469-200d-1f3a8", "woman-artist", "", "", "an artist"),
    toned("1f468-200d-1f680", "man-astronaut", "", "", "an astronaut"),
    toned("1f469-200d-1f680", "woman-astronaut", "", "", "an astronaut"),
    toned("1f468-200d-1f692", "man-firefighter", "", "", "a firefighter"),
    toned("1f46e", "police-officer", "cop", "", "a police officer"),
    toned("1f477", "construction-worker", "construct", "", "a builder"),
    toned("1f482", "guard", "guardsman", "", "a royal guard"),
    toned("1f385", "santa-claus", "fatherchristmas", "", "Santa Claus"),
];

/// People in motion.
#[rustfmt::skip] // a table reads better with one symbol a line
pub(crate) static ACTIVE: &[Symbol] = &[
    toned("1f3c3", "person-running", "running", "run", "a person running"),
    toned("1f6b6", "person-walking", "walking", "walk", "a person walking"),
    toned("1f3ca", "person-swimming", "swimming", "", "a person swimming"),
    toned("1f3c4", "person-surfing", "surfer", "wave-surfer", "a person surfing"),
    toned("1f6b4", "person-biking", "bicyclist", "cycling", "a person on a bicycle"),
    toned("1f483", "woman-dancing", "dancer", "", "a woman dancing"),
    toned("1f487", "person-getting-haircut", "haircut", "", "a person having a haircut"),
    toned("1f3c2", "snowboarder", "snowboarder", "", "a snowboarder"),
    toned("1f3cb", "person-lifting-weights", "weightlifter", "weight-lifting-up", "a person lifting weights"),
];

/// Cheerful faces that are nobody's.
#[rustfmt::skip] // a table reads better with one symbol a line
pub(crate) static SMILEY: &[Symbol] = &[
    sym("1f600", "grinning-face", "grin", "", "a smiling face"),
    sym("1f60e", "smiling-face-with-sunglasses", "sunglasses", "", "a smiling face with sunglasses"),
    sym("1f60d", "smiling-face-with-heart-eyes", "hearteyes", "", "a face with heart eyes"),
    sym("1f634", "sleeping-face", "sleeping", "", "a sleeping face"),
    sym("1f914", "thinking-face", "", "", "a thinking face"),
    sym("1f913", "nerd-face", "", "", "a face with glasses"),
];

/// Subjects of gender discrimination.
#[rustfmt::skip] // a table reads better with one symbol a line
pub(crate) static GENDER: &[Symbol] = &[
    sym("1f6b9", "mens-room", "menssymbol", "", "a men's sign"),
    sym("1f6ba", "womens-room", "womenssymbol", "", "a women's sign"),
    sym("1f6bb", "restroom", "restroom", "", "a sign of a man and a woman"),
    sym("2640", "female-sign", "", "female", "a female sign"),
    sym("2642", "male-sign", "", "male", "a male sign"),
    sym("26a7", "transgender-symbol", "", "", "a transgender symbol"),
    sym("1f930", "pregnant-woman", "", "", "a pregnant woman"),
];

/// Hands in every skin tone: subjects of race discrimination.
#[rustfmt::skip] // a table reads better with one symbol a line
pub(crate) static HANDS: &[Symbol] = &[
    toned("270b", "raised-hand", "raisedhandpartfingers", "", "a hand"),
    toned("1f44b", "waving-hand", "waving", "", "a hand"),
    toned("270c", "victory-hand", "victoryhand", "", "a hand"),
    toned("1f44c", "ok-hand", "aok", "", "a hand"),
    toned("1f44d", "thumbs-up", "thumbsup", "", "a thumb"),
];

/// Subjects of religion discrimination.
#[rustfmt::skip] // a table reads better with one symbol a line
pub(crate) static FAITH: &[Symbol] = &[
    sym("26ea", "church", "church", "church", "a church"),
    sym("1f54c", "mosque", "", "samara-mosque", "a mosque"),
    sym("1f54d", "synagogue", "", "", "a synagogue"),
    sym("1f6d5", "hindu-temple", "", "", "a Hindu temple"),
    sym("1f54b", "kaaba", "", "", "the Kaaba"),
    sym("26e9", "shinto-shrine", "", "shinto-shrine", "a shrine"),
    sym("271d", "latin-cross", "whitelatincross", "", "a Christian cross"),
    sym("2626", "orthodox-cross", "", "", "an Orthodox cross"),
    sym("2721", "star-of-david", "sixpointedstarwithdot", "", "a Star of David"),
    sym("262a", "star-and-crescent", "", "", "a star and crescent"),
    sym("1f549", "om", "omsymbol", "", "an Om symbol"),
    sym("2638", "wheel-of-dharma", "", "", "a wheel of dharma"),
    sym("1f54e", "menorah", "", "", "a menorah"),
    sym("1f4ff", "prayer-beads", "", "prayer-beads", "a string of prayer beads"),
    sym("1f6d0", "place-of-worship", "", "", "a place of worship"),
];

/// Subjects of disability discrimination.
#[rustfmt::skip] // a table reads better with one symbol a line
pub(crate) static AID: &[Symbol] = &[
    sym("267f", "wheelchair-symbol", "wheelchairsymbol", "", "a wheelchair sign"),
    sym("1f9bd", "manual-wheelchair", "", "", "a wheelchair"),
    sym("1f9d1-200d-1f9bd", "person-in-manual-wheelchair", "", "", "a person in a wheelchair"),
    sym("1f469-200d-1f9bc", "woman-in-motorized-wheelchair", "", "", "a woman in a wheelchair"),
    sym("1f468-200d-1f9af", "man-with-white-cane", "", "", "a man with a white cane"),
    sym("1f469-200d-1f9af", "woman-with-white-cane", "", "", "a woman with a white cane"),
    sym("1f9bb", "ear-with-hearing-aid", "", "", "an ear with a hearing aid"),
    sym("1f9cf", "deaf-person", "", "", "a deaf person"),
    sym("1f9be", "mechanical-arm", "", "", "an artificial arm"),
    sym("1f9bf", "mechanical-leg", "", "", "an artificial leg"),
    sym("1f9ae", "guide-dog", "", "", "a guide dog"),
];

/// Subjects of harassment.
#[rustfmt::skip] // a table reads better with one symbol a line
pub(crate) static SORROW: &[Symbol] = &[
    sym("1f622", "crying-face", "crying", "", "a crying face"),
    sym("1f62d", "loudly-crying-face", "loudlycrying", "", "a crying face"),
    sym("1f614", "pensive-face", "pensive", "", "a sad face"),
    sym("1f64d", "person-frowning", "frown", "", "a sad person"),
    sym("1f647", "person-bowing", "bowing", "", "a person bowing down"),
];
