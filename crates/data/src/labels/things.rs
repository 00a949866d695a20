//! Safe symbols: things that people make.

use super::symbol::{Symbol, sym};

/// Vehicles.
#[rustfmt::skip] // a table reads better with one symbol a line
pub(crate) static VEHICLE: &[Symbol] = &[
    sym("1f697", "automobile", "automobile", "city-car", "a car"),
    sym("1f68c", "bus", "bus", "bus", "a bus"),
    sym("1f6b2", "bicycle", "bicycle", "dutch-bike", "a bicycle"),
    sym("1f3cd", "motorcycle", "motorcycle", "", "a motorcycle"),
    sym("1f6f5", "motor-scooter", "", "scooter", "a motor scooter"),
    sym("1f682", "locomotive", "steamlocomotive", "steam-locomotive", "a train"),
    sym("2708", "airplane", "airplane", "commercial-airplane", "an airplane"),
    sym("1f681", "helicopter", "helicopter", "helicopter", "a helicopter"),
    sym("26f5", "sailboat", "sailboat", "sailboat", "a sailboat"),
    sym("1f6a2", "ship", "ship", "cargo-ship", "a ship"),
    sym("1f69c", "tractor", "tractor", "farm-tractor", "a tractor"),
    sym("1f6f4", "kick-scooter", "", "", "a kick scooter"),
    sym("1f3bf", "skis", "skiandskiboot", "skis", "a pair of skis"),
    sym("1f680", "rocket", "rocket", "rocket", "a space rocket"),
];

/// Toys and sports.
#[rustfmt::skip] // a table reads better with one symbol a line
pub(crate) static TOY: &[Symbol] = &[
    sym("1f9f8", "teddy-bear", "", "", "a teddy bear"),
    sym("26bd", "soccer-ball", "soccerball", "soccer-ball", "a football"),
    sym("1f3c0", "basketball", "basketballandhoop", "basketball-ball", "a basketball"),
    sym("1f3be", "tennis", "tennisball", "tennis-racket", "a tennis racket"),
    sym("1fa81", "kite", "", "kite", "a kite"),
    sym("1f388", "balloon", "balloon", "balloons", "a balloon"),
    sym("1f3b2", "game-die", "gamedie", "dice-six-faces-five", "a game die"),
    sym("1f3ae", "video-game", "videogame", "console-controller", "a video game controller"),
    sym("1f3a0", "carousel-horse", "carouselhorse", "carousel", "a carousel horse"),
    sym("1f58d", "crayon", "lowerleftcrayon", "", "a crayon"),
];

/// Musical instruments.
#[rustfmt::skip] // a table reads better with one symbol a line
pub(crate) static MUSIC: &[Symbol] = &[
    sym("1f3b8", "guitar", "guitar", "guitar", "a guitar"),
    sym("1f3bb", "violin", "violin", "violin", "a violin"),
    sym("1f3ba", "trumpet", "trumpet", "trumpet", "a trumpet"),
    sym("1f941", "drum", "", "drum", "a drum"),
    sym("1f3b9", "musical-keyboard", "musicalkeyboard", "piano-keys", "a piano keyboard"),
];

/// Electrical things.
#[rustfmt::skip] // a table reads better with one symbol a line
pub(crate) static GADGET: &[Symbol] = &[
    sym("1f4f1", "mobile-phone", "cellphone", "smartphone", "a mobile phone"),
    sym("1f4bb", "laptop", "personalcomputer", "laptop", "a laptop"),
    sym("1f4fa", "television", "television", "tv", "a television"),
    sym("1f4fb", "radio", "radio", "", "a radio"),
    sym("1f4f7", "camera", "camera", "photo-camera", "a camera"),
    sym("1f50c", "electric-plug", "electricplug", "plug", "an electric plug"),
    sym("1f50b", "battery", "battery", "battery-pack", "a battery"),
    sym("1f4a1", "light-bulb", "lightbulb", "light-bulb", "a light bulb"),
    sym("1f3a7", "headphone", "headphone", "headphones", "a pair of headphones"),
    sym("1f5a8", "printer", "printer", "", "a printer"),
    sym("23f0", "alarm-clock", "alarmclock", "alarm-clock", "an alarm clock"),
    sym("231a", "watch", "watch", "watch", "a wristwatch"),
    sym("1f526", "flashlight", "electrictorch", "flashlight", "a flashlight"),
];

/// Tools and supplies.
#[rustfmt::skip] // a table reads better with one symbol a line
pub(crate) static TOOL: &[Symbol] = &[
    sym("1f528", "hammer", "hammer", "flat-hammer", "a hammer"),
    sym("1f527", "wrench", "wrench", "wrench", "a wrench"),
    sym("2702", "scissors", "blackscissors", "scissors", "a pair of scissors"),
    sym("1fa9a", "carpentry-saw", "", "hand-saw", "a saw"),
    sym("1f529", "nut-and-bolt", "nutandbolt", "", "a nut and bolt"),
    sym("1f4ce", "paperclip", "paperclip", "paper-clip", "a paper clip"),
    sym("1f4cc", "pushpin", "pushpin", "pin", "a drawing pin"),
    sym("26fd", "fuel-pump", "fuelpump", "gas-pump", "a fuel pump"),
    sym("1f6e2", "oil-drum", "", "oil-drum", "an oil drum"),
    sym("2697", "alembic", "", "", "a chemistry flask"),
];

/// Clothes and what is worn.
#[rustfmt::skip] // a table reads better with one symbol a line
pub(crate) static CLOTHING: &[Symbol] = &[
    sym("1f455", "t-shirt", "mansshirt", "t-shirt", "a shirt"),
    sym("1f456", "jeans", "jeans", "trousers", "a pair of jeans"),
    sym("1f457", "dress", "dress", "dress", "a dress"),
    sym("1f45f", "running-shoe", "mensrunner", "running-shoe", "a running shoe"),
    sym("1f576", "sunglasses", "darksunglasses", "sunglasses", "a pair of sunglasses"),
    sym("1f453", "glasses", "glasses", "spectacles", "a pair of glasses"),
    sym("1f454", "necktie", "tie", "tie", "a necktie"),
    sym("1f3a9", "top-hat", "tophat", "top-hat", "a top hat"),
    sym("2602", "umbrella", "umbrellawithraindrops", "umbrella", "an umbrella"),
    sym("1f392", "backpack", "schoolsatchel", "backpack", "a backpack"),
    sym("1f484", "lipstick", "lipstick", "lipstick", "a lipstick"),
    sym("1f485", "nail-polish", "nailpolish", "", "nail polish"),
];

/// Things of the home.
#[rustfmt::skip] // a table reads better with one symbol a line
pub(crate) static HOME: &[Symbol] = &[
    sym("1f6cf", "bed", "", "bed", "a bed"),
    sym("1f6cb", "couch-and-lamp", "", "sofa", "a sofa with a lamp"),
    sym("1f6c1", "bathtub", "bathtub", "bathtub", "a bathtub"),
    sym("1f6aa", "door", "door", "wooden-door", "a door"),
    sym("1f56f", "candle", "candle", "candle-light", "a lit candle"),
    sym("1f944", "spoon", "", "spoon", "a spoon"),
    sym("1f374", "fork-and-knife", "forkknife", "knife-fork", "a fork and a table knife"),
    sym("1f373", "cooking", "cooking", "camp-cooking-pot", "a hot frying pan"),
    sym("1f512", "locked", "lock", "padlock", "a padlock"),
    sym("1f511", "key", "key", "key", "a key"),
    sym("1f9fc", "soap", "", "soap", "a bar of soap"),
    sym("1f9f4", "lotion-bottle", "", "", "a bottle of lotion"),
    sym("1f381", "wrapped-gift", "present", "present", "a wrapped gift"),
    sym("1f383", "jack-o-lantern", "jackolantern", "pumpkin-lantern", "a pumpkin lantern"),
    sym("1f387", "sparkler", "fireworksparkler", "", "a burning sparkler"),
    sym("1f4e6", "package", "package", "cardboard-box", "a cardboard box"),
    sym("1f3a8", "artist-palette", "artistpalette", "palette", "a paint palette"),
];

/// Paper and what goes with it.
#[rustfmt::skip] // a table reads better with one symbol a line
pub(crate) static PAPER: &[Symbol] = &[
    sym("1f4d6", "open-book", "openbook", "open-book", "an open book"),
    sym("1f4f0", "newspaper", "rolledupnewspaper", "newspaper", "a newspaper"),
    sym("2709", "envelope", "envelope", "envelope", "an envelope"),
    sym("270f", "pencil", "lowerleftpencil", "pencil", "a pencil"),
    sym("1f4dd", "memo", "memo", "notebook", "a sheet of notes"),
    sym("1f5fa", "world-map", "worldmap", "treasure-map", "a map of the world"),
    sym("1f4dc", "scroll", "scroll", "tied-scroll", "a paper scroll"),
];
