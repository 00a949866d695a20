//! Safe symbols: food, animals, plants, places and weather.

use super::symbol::{Symbol, sym};

/// Things to eat.
#[rustfmt::skip] // a table reads better with one symbol a line
pub(crate) static FOOD: &[Symbol] = &[
    sym("1f34e", "red-apple", "redapple", "shiny-apple", "a red apple"),
    sym("1f34c", "banana", "banana", "banana", "a banana"),
    sym("1f347", "grapes", "grapes", "grapes", "a bunch of grapes"),
    sym("1f349", "watermelon", "watermelon", "watermelon", "a slice of watermelon"),
    sym("1f353", "strawberry", "strawberry", "strawberry", "a strawberry"),
    sym("1f352", "cherries", "cherries", "cherry", "a pair of cherries"),
    sym("1f34b", "lemon", "lemon", "cut-lemon", "a lemon"),
    sym("1f34d", "pineapple", "pineapple", "pineapple", "a pineapple"),
    sym("1f350", "pear", "pear", "pear", "a pear"),
    sym("1f351", "peach", "peach", "", "a peach"),
    sym("1f345", "tomato", "tomato", "tomato", "a tomato"),
    sym("1f955", "carrot", "", "carrot", "a carrot"),
    sym("1f951", "avocado", "", "avocado", "an avocado"),
    sym("1f954", "potato", "", "potato", "a potato"),
    sym("1f33d", "ear-of-corn", "earofmaize", "corn", "an ear of corn"),
    sym("1f336", "hot-pepper", "chilipepper", "chili-pepper", "a hot pepper"),
    sym("1f344", "mushroom", "mushroom", "mushroom super-mushroom", "a mushroom"),
    sym("1f9c4", "garlic", "", "garlic", "a bulb of garlic"),
    sym("1f35e", "bread", "bread", "bread", "a loaf of bread"),
    sym("1f9c0", "cheese-wedge", "", "cheese-wedge", "a wedge of cheese"),
    sym("1f95a", "egg", "", "big-egg", "an egg"),
    sym("1f357", "poultry-leg", "poultryleg", "chicken-leg", "a chicken leg"),
    sym("1f953", "bacon", "", "bacon", "a strip of bacon"),
    sym("1f356", "meat-on-bone", "meatonbone", "ham-shank", "a piece of meat on the bone"),
    sym("1f354", "hamburger", "hamburger", "hamburger", "a hamburger"),
    sym("1f35f", "french-fries", "frenchfries", "french-fries", "a box of french fries"),
    sym("1f355", "pizza", "sliceofpizza", "full-pizza pizza-slice", "a slice of pizza"),
    sym("1f363", "sushi", "sushi", "sushis", "a plate of sushi"),
    sym("1f35a", "cooked-rice", "cookedrice", "bowl-of-rice", "a bowl of rice"),
    sym("1f35d", "spaghetti", "spaghetti", "", "a plate of spaghetti"),
    sym("1f35c", "steaming-bowl", "steamingbowl", "", "a bowl of noodle soup"),
    sym("1f37f", "popcorn", "", "popcorn", "a box of popcorn"),
    sym("1f95c", "peanuts", "", "peanut", "a few peanuts"),
    sym("1f36f", "honey-pot", "honeypot", "honey-jar", "a pot of honey"),
    sym("1f36b", "chocolate-bar", "chocolatebar", "chocolate-bar", "a bar of chocolate"),
    sym("1f36c", "candy", "candy", "wrapped-sweet", "a piece of candy"),
    sym("1f36d", "lollipop", "lollipop", "spiral-lollipop", "a lollipop"),
    sym("1f36a", "cookie", "cookie", "cookie", "a cookie"),
    sym("1f369", "doughnut", "doughnut", "donut", "a doughnut"),
    sym("1f382", "birthday-cake", "birthdaycake", "", "a birthday cake"),
    sym("1f368", "ice-cream", "icecream", "ice-cream-cone", "a cup of ice cream"),
];

/// Things to drink, none of them alcoholic.
#[rustfmt::skip] // a table reads better with one symbol a line
pub(crate) static DRINK: &[Symbol] = &[
    sym("1f95b", "glass-of-milk", "", "", "a glass of milk"),
    sym("2615", "hot-beverage", "hotbeverage", "coffee-cup", "a hot cup of coffee"),
    sym("1f375", "teacup-without-handle", "teacupwithouthandle", "", "a cup of hot tea"),
    sym("1f37c", "baby-bottle", "babybottle", "baby-bottle", "a baby bottle of milk"),
    sym("1f6b0", "potable-water", "potablewatersystem", "", "a drinking water sign"),
    sym("1f964", "cup-with-straw", "", "", "a cup of juice with a straw"),
    sym("1f965", "coconut", "", "coconuts", "a coconut"),
    sym("1f9c3", "beverage-box", "", "", "a box of juice"),
];

/// Gentle animals.
#[rustfmt::skip] // a table reads better with one symbol a line
pub(crate) static PET: &[Symbol] = &[
    sym("1f436", "dog-face", "dog", "sitting-dog", "a dog"),
    sym("1f431", "cat-face", "cat", "cat", "a cat"),
    sym("1f430", "rabbit-face", "bunny", "rabbit", "a rabbit"),
    sym("1f439", "hamster-face", "hampster", "", "a hamster"),
    sym("1f420", "tropical-fish", "tropicalfish", "clownfish", "a tropical fish"),
    sym("1f422", "turtle", "turtle", "turtle", "a turtle"),
    sym("1f434", "horse-face", "horseface", "horse-head", "a horse"),
    sym("1f42e", "cow-face", "cowface", "cow", "a cow"),
    sym("1f437", "pig-face", "pig", "pig-face", "a pig"),
    sym("1f414", "chicken", "chicken", "chicken", "a chicken"),
    sym("1f411", "ewe", "", "sheep", "a sheep"),
    sym("1f986", "duck", "", "duck", "a duck"),
    sym("1f426", "bird", "bird", "sparrow", "a small bird"),
    sym("1f427", "penguin", "penguin", "", "a penguin"),
    sym("1f98b", "butterfly", "", "butterfly", "a butterfly"),
    sym("1f989", "owl", "", "owl", "an owl"),
    sym("1f435", "monkey-face", "monkeyface", "monkey", "a monkey"),
    sym("1f438", "frog-face", "frog", "frog", "a frog"),
    sym("1f43c", "panda-face", "pandaface", "", "a panda"),
    sym("1f428", "koala", "koala", "koala", "a koala"),
    sym("1f42c", "dolphin", "dolphin", "dolphin", "a dolphin"),
    sym("1f42d", "mouse-face", "mouse", "seated-mouse", "a mouse"),
];

/// Animals that can hurt people.
#[rustfmt::skip] // a table reads better with one symbol a line
pub(crate) static WILD: &[Symbol] = &[
    sym("1f42f", "tiger-face", "tiger", "tiger-head", "a tiger"),
    sym("1f981", "lion-face", "", "lion", "a lion"),
    sym("1f43b", "bear-face", "bear", "bear-face", "a bear"),
    sym("1f43a", "wolf", "wolfface", "wolf-head", "a wolf"),
    sym("1f40a", "crocodile", "crocodile", "", "a crocodile"),
    sym("1f40d", "snake", "snake", "snake", "a snake"),
    sym("1f982", "scorpion", "", "scorpion", "a scorpion"),
    sym("1f577", "spider", "spider", "spider-alt", "a spider"),
    sym("1f988", "shark", "", "shark-jaws", "a shark"),
    sym("1f418", "elephant", "elephant", "elephant", "an elephant"),
    sym("1f98f", "rhinoceros", "", "", "a rhinoceros"),
    sym("1f98d", "gorilla", "", "gorilla", "a gorilla"),
];

/// Plants.
#[rustfmt::skip] // a table reads better with one symbol a line
pub(crate) static PLANT: &[Symbol] = &[
    sym("1f33b", "sunflower", "sunflower", "sunflower", "a sunflower"),
    sym("1f337", "tulip", "tulip", "", "a tulip"),
    sym("1f339", "rose", "rose", "rose", "a rose"),
    sym("1f335", "cactus", "cactus", "cactus", "a cactus"),
    sym("1f333", "deciduous-tree", "deciduoustree", "oak", "a leafy tree"),
    sym("1f332", "evergreen-tree", "evergreen", "pine-tree", "a fir tree"),
    sym("1f334", "palm-tree", "palmtree", "palm-tree", "a palm tree"),
    sym("1f384", "christmas-tree", "christmastree", "", "a Christmas tree"),
    sym("1f340", "four-leaf-clover", "fourleafclover", "clover", "a four-leaf clover"),
    sym("1f341", "maple-leaf", "mapleleaf", "maple-leaf", "a maple leaf"),
    sym("1f331", "seedling", "seedling", "seedling", "a young plant"),
];

/// Buildings and places.
#[rustfmt::skip] // a table reads better with one symbol a line
pub(crate) static PLACE: &[Symbol] = &[
    sym("1f3e0", "house", "housebuilding", "house", "a house"),
    sym("1f3eb", "school", "school", "", "a school"),
    sym("1f3e8", "hotel", "hotel", "", "a hotel"),
    sym("1f3e2", "office-building", "officebuilding", "modern-city", "an office building"),
    sym("1f3f0", "castle", "europeancastle", "castle", "a castle"),
    sym("1f3a1", "ferris-wheel", "ferriswheel", "", "a Ferris wheel"),
    sym("1f3a2", "roller-coaster", "rollercoaster", "", "a roller coaster"),
    sym("26f2", "fountain", "fountain", "fountain", "a fountain"),
    sym("26fa", "tent", "tent", "camping-tent", "a tent"),
    sym("1f309", "bridge-at-night", "bridgeatnight", "suspension-bridge", "a tall bridge"),
    sym("1f3d7", "building-construction", "", "crane", "a building site"),
    sym("1f3d6", "beach-with-umbrella", "", "", "a beach with an umbrella"),
    sym("1f3dd", "desert-island", "desertisland", "island", "a small island"),
    sym("1f3d4", "snow-capped-mountain", "snowmountains", "mountains", "a snowy mountain"),
    sym("1f30b", "volcano", "volcano", "smoking-volcano", "a volcano"),
    sym("1f5fc", "tokyo-tower", "toykotower", "tv-tower", "a tall tower"),
    sym("1f5fd", "statue-of-liberty", "statueofliberty", "", "a big statue"),
];

/// Weather, sky and the elements.
#[rustfmt::skip] // a table reads better with one symbol a line
pub(crate) static WEATHER: &[Symbol] = &[
    sym("2600", "sun", "sunrays", "sun", "the sun"),
    sym("1f308", "rainbow", "rainbow", "", "a rainbow"),
    sym("2603", "snowman", "snowmanwithoutsnow", "snowman", "a snowman"),
    sym("1f329", "cloud-with-lightning", "lightningmood", "lightning-storm", "a thunderstorm cloud"),
    sym("1f32a", "tornado", "tornado", "tornado", "a tornado"),
    sym("1f30a", "water-wave", "wave", "big-wave", "a big wave"),
    sym("1f525", "fire", "fire", "campfire small-fire", "a fire"),
    sym("1f319", "crescent-moon", "crescentmoon", "moon", "a crescent moon"),
    sym("1f4a7", "droplet", "droplet", "water-drop", "a drop of water"),
];
