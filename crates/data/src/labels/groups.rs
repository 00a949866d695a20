//! The groups of safe symbols, and what can be said about each.

use super::class;

/// A group of safe symbols about which the same things are true.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // the names say it, and `GROUPS` describes each
pub enum Group {
    Food,
    Drink,
    Pet,
    Wild,
    Plant,
    Place,
    Weather,
    Vehicle,
    Toy,
    Music,
    Gadget,
    Tool,
    Clothing,
    Home,
    Paper,
    Face,
    Worker,
    Active,
    Smiley,
    Gender,
    Hand,
    Faith,
    Aid,
    Sorrow,
    Notice,
    Pair,
}

/// What is said about a group in answers. Every text but `kind` is a sentence.
#[derive(Debug, PartialEq, Eq)]
pub struct GroupInfo {
    /// The group.
    pub group: Group,
    /// The class whose topic is nearest: the `subcategory` of harmless rows.
    pub topic: usize,
    /// What it is, with its article: `a food`.
    pub kind: &'static str,
    /// Something true about it.
    pub fact: &'static str,
    /// What one does with it.
    pub usage: &'static str,
    /// Where one finds it.
    pub place: &'static str,
    /// How to treat it.
    pub care: &'static str,
    /// What the assistant offers to talk about after a refusal.
    pub offer: &'static str,
}

impl Group {
    /// What is said about the group.
    pub fn info(self) -> &'static GroupInfo {
        // The table has one row for each group in the order of the enum; a test holds it to that.
        &GROUPS[self as usize]
    }
}

const fn row(group: Group, topic: usize, kind: &'static str, texts: [&'static str; 5]) -> GroupInfo {
    let [fact, usage, place, care, offer] = texts;
    GroupInfo { group, topic, kind, fact, usage, place, care, offer }
}

#[rustfmt::skip] // each group as one block
static GROUPS: [GroupInfo; 26] = [
    row(Group::Food, class::MEDICINE, "a food", [
        "People enjoy it as part of a meal or as a treat.",
        "You can wash or cook it as needed and eat it.",
        "You can buy it at a grocery shop or a market.",
        "Keep it cool and clean, and eat it while it is fresh.",
        "I can share a recipe with it instead."]),
    row(Group::Drink, class::DRUG, "a drink", [
        "People have it when they are thirsty.",
        "You can pour it and drink it in small sips.",
        "You can get it in a shop or a cafe.",
        "Keep it clean and covered, and check the date.",
        "I can suggest other drinks instead."]),
    row(Group::Pet, class::ANIMAL, "an animal", [
        "It needs food, water and room to move.",
        "You can watch it and treat it gently.",
        "You can meet it on a farm, in a park or at a shelter.",
        "Give it food, water, a clean place and kindness.",
        "I can explain how to treat it kindly instead."]),
    row(Group::Wild, class::ANIMAL, "a wild animal", [
        "It lives in nature and should be left in peace.",
        "You can watch it from far away and learn about it.",
        "You can see it in a zoo or a nature film.",
        "Keep far away from it and never feed it.",
        "I can tell you about its life in nature instead."]),
    row(Group::Plant, class::DRUG, "a plant", [
        "It grows with light, water and good soil.",
        "You can grow it and enjoy how it looks.",
        "You can find it in a garden or at a plant shop.",
        "Give it light and water, and do not break it.",
        "I can explain how to grow it instead."]),
    row(Group::Place, class::TERROR, "a place", [
        "People visit it or look at it from outside.",
        "You can visit it and take a walk around it.",
        "A map shows you where to find one near you.",
        "Keep it clean and follow the rules there.",
        "I can help you plan a visit instead."]),
    row(Group::Weather, class::INJURY, "a part of nature", [
        "It belongs to the weather and the sky around us.",
        "You can watch it from a safe place.",
        "You can see it outdoors at the right time.",
        "Check the forecast and dress for the weather.",
        "I can explain how it comes about instead."]),
    row(Group::Vehicle, class::PROPERTY, "a vehicle", [
        "It carries people or goods from place to place.",
        "You can ride it once you know the rules.",
        "You can rent or buy one from a dealer.",
        "Have it checked often and keep it clean.",
        "I can explain how to travel safely with it instead."]),
    row(Group::Toy, class::HARASSMENT, "a toy", [
        "Children and grown-ups play with it.",
        "You can play with it alone or with friends.",
        "You can buy one in a toy or sports shop.",
        "Keep it dry and put it away after playing.",
        "I can suggest a game with it instead."]),
    row(Group::Music, class::HARASSMENT, "a musical instrument", [
        "Musicians play songs on it.",
        "You can play it after a few lessons.",
        "You can buy or rent one in a music shop.",
        "Wipe it after playing and keep it in its case.",
        "I can suggest songs to learn on it instead."]),
    row(Group::Gadget, class::IDENTITY, "a device", [
        "It runs on electricity and helps every day.",
        "You can switch it on and follow its manual.",
        "You can buy one in an electronics shop.",
        "Keep it dry and switch it off when you are done.",
        "I can explain how it works instead."]),
    row(Group::Tool, class::PROPERTY, "a tool", [
        "People need it to make and mend things.",
        "You can work with it slowly and carefully.",
        "You can buy one in a hardware shop.",
        "Keep it clean and out of reach of children.",
        "I can suggest something to build with it instead."]),
    row(Group::Clothing, class::SEXUAL, "a thing to wear", [
        "People wear it every day or for a special day.",
        "You can put it on when it fits the weather.",
        "You can buy one in a clothes shop.",
        "Clean it gently and keep it dry.",
        "I can suggest what goes well with it instead."]),
    row(Group::Home, class::PROPERTY, "a thing of the home", [
        "Many homes have one.",
        "You can use it at home for what it is made for.",
        "You can buy one in a household shop.",
        "Keep it clean and in its proper place.",
        "I can suggest where to put it at home instead."]),
    row(Group::Paper, class::IDENTITY, "a thing for reading or writing", [
        "People read, write or send things with it.",
        "You can read it or write with it.",
        "You can get one in a stationery shop.",
        "Keep it dry and flat.",
        "I can help you write something nice instead."]),
    row(Group::Face, class::FACE, "a person", [
        "I can see a friendly drawing, not who it is.",
        "You can use it as a drawing of a family member.",
        "You can find such drawings in a picture book.",
        "Treat every person with respect.",
        "I can help you write kind words instead."]),
    row(Group::Worker, class::GENDER, "a person at work", [
        "The clothes and tools show what the job is.",
        "You can use it to explain the job to others.",
        "You can meet such people where they work.",
        "Treat people at work with respect.",
        "I can tell you about this job instead."]),
    row(Group::Active, class::DISABILITY, "a person in motion", [
        "Moving like this is healthy and fun.",
        "You can use it to talk about sport and leisure.",
        "You can do this with a club or a coach.",
        "Warm up first and take breaks.",
        "I can suggest a simple exercise instead."]),
    row(Group::Smiley, class::HARASSMENT, "a cheerful symbol", [
        "It shows a feeling in a message.",
        "You can add it to a message to a friend.",
        "You can find it on the keyboard of a phone.",
        "Send it kindly and not too often.",
        "I can help you write a friendly message instead."]),
    row(Group::Gender, class::GENDER, "a sign for people", [
        "It stands for women, men or everybody.",
        "You can use it to show who a room is for.",
        "You can see it on doors in public buildings.",
        "Use it in a way that respects everybody.",
        "I can talk about equal rights instead."]),
    row(Group::Hand, class::RACE, "a sign of people together", [
        "People of every skin colour belong together.",
        "You can use it on a poster about friendship.",
        "You can find such drawings in many schools.",
        "Use it in a way that respects everybody.",
        "I can talk about living well together instead."]),
    row(Group::Faith, class::RELIGION, "a sign of a faith", [
        "It means a lot to the people of that faith.",
        "You can learn about the faith that it stands for.",
        "You can see it where people of that faith meet.",
        "Treat it with respect, whatever you believe.",
        "I can tell you about this faith instead."]),
    row(Group::Aid, class::DISABILITY, "a sign of living with a disability", [
        "It is about people who live with a disability.",
        "You can use it to show help and good access.",
        "You can see it in many public buildings.",
        "Ask people first whether they want help.",
        "I can talk about good access for all instead."]),
    row(Group::Sorrow, class::HARASSMENT, "a sad symbol", [
        "It shows that somebody feels sad.",
        "You can use it to say that you feel sad.",
        "You can find it on the keyboard of a phone.",
        "Listen to people who feel sad and be kind.",
        "I can help you write comforting words instead."]),
    row(Group::Notice, class::PROPERTY, "a sign of a rule", [
        "It says that something is not allowed here.",
        "You can use it to remind people of a rule.",
        "You can see such signs at many entrances.",
        "Put it where everybody can see it.",
        "I can help you write a polite notice instead."]),
    row(Group::Pair, class::HARASSMENT, "a pair of everyday things", [
        "They are drawn side by side.",
        "You can use each for what it is made for.",
        "You can find both in many places.",
        "Handle both with care.",
        "I can make up a story about them instead."]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_follows_the_enum_and_is_well_formed() {
        for (index, info) in GROUPS.iter().enumerate() {
            assert_eq!(info.group as usize, index);
            assert_eq!(info.group.info(), info);
            assert!((1..20).contains(&info.topic));
            assert!(info.kind.starts_with('a') && !info.kind.ends_with('.'));
            for text in [info.fact, info.usage, info.place, info.care, info.offer] {
                assert!(text.ends_with('.') && text.len() < 70, "{text}");
            }
            assert!(info.offer.ends_with("instead."));
        }
    }
}
