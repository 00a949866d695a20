//! The 20 classes of HoliSafe and the labels of a checkpoint.
//!
//! Source: HoliSafe (arXiv 2506.04704 v5), the model cards' label list. The numbering is the one of
//! the benchmark's `image_safety_label`. Checkpoints name the classes in `safety_categories`, and
//! not always alike (`gender` or `gender_discrimination`), so a [`Taxonomy`] keeps a checkpoint's
//! own words and maps each one to the built-in class.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The name of the one class that is no hazard.
pub const SAFE: &str = "safe";

/// The seven top categories of HoliSafe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Category {
    /// Discrimination and harassment.
    Hate,
    /// Drugs, theft and other crime.
    IllegalActivity,
    /// Faces and identity papers.
    Privacy,
    /// Self-injury and suicide.
    SelfHarm,
    /// Weapons, fights, terrorism, cruelty, obscene gestures.
    Violence,
    /// Sexual content.
    SexualContent,
    /// Financial or medical advice that needs a professional.
    SpecializedAdvice,
}

impl Category {
    /// All categories, in the order in which the classes first name them.
    pub const ALL: [Category; 7] = [
        Category::Hate,
        Category::IllegalActivity,
        Category::Privacy,
        Category::SelfHarm,
        Category::Violence,
        Category::SexualContent,
        Category::SpecializedAdvice,
    ];

    /// The category as the dataset spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Category::Hate => "hate",
            Category::IllegalActivity => "illegal_activity",
            Category::Privacy => "privacy",
            Category::SelfHarm => "self_harm",
            Category::Violence => "violence",
            Category::SexualContent => "sexual_content",
            Category::SpecializedAdvice => "specialized_advice",
        }
    }
}

impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One class of the built-in taxonomy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Class {
    /// The benchmark's `image_safety_label`, 0 to 19.
    pub id: usize,
    /// The dataset's subcategory, for example `weapon_related_violence`.
    pub name: &'static str,
    /// The name that the model cards show, for example `Weapon-related violence`.
    pub display: &'static str,
    /// The top category; `None` for `safe` only.
    pub category: Option<Category>,
}

const fn class(id: usize, name: &'static str, display: &'static str, category: Option<Category>) -> Class {
    Class { id, name, display, category }
}

/// The built-in classes; the index is the class id.
#[rustfmt::skip] // a table reads better with one class a line
pub static CLASSES: [Class; 20] = [
    class(0, SAFE, "Safe", None),
    class(1, "gender", "Gender discrimination", Some(Category::Hate)),
    class(2, "race", "Race discrimination", Some(Category::Hate)),
    class(3, "religion", "Religion discrimination", Some(Category::Hate)),
    class(4, "harassment", "Harassment", Some(Category::Hate)),
    class(5, "disability_discrimination", "Disability discrimination", Some(Category::Hate)),
    class(6, "drug_related_hazards", "Drug-related hazards", Some(Category::IllegalActivity)),
    class(7, "property_crime", "Property crime", Some(Category::IllegalActivity)),
    class(8, "facial_data_exposure", "Facial data exposure", Some(Category::Privacy)),
    class(9, "identity_data_exposure", "Identity data exposure", Some(Category::Privacy)),
    class(10, "physical_self_injury", "Physical self-injury", Some(Category::SelfHarm)),
    class(11, "suicide", "Suicide", Some(Category::SelfHarm)),
    class(12, "animal_abuse", "Animal abuse", Some(Category::Violence)),
    class(13, "obscene_gestures", "Obscene gestures", Some(Category::Violence)),
    class(14, "physical_altercation", "Physical altercation", Some(Category::Violence)),
    class(15, "terrorism", "Terrorism", Some(Category::Violence)),
    class(16, "weapon_related_violence", "Weapon-related violence", Some(Category::Violence)),
    class(17, "sexual_content", "Sexual content", Some(Category::SexualContent)),
    class(18, "financial_advice", "Financial advice", Some(Category::SpecializedAdvice)),
    class(19, "medical_advice", "Medical advice", Some(Category::SpecializedAdvice)),
];

impl Class {
    /// Finds the built-in class that a label means: its name, its display name, or a spelling that
    /// checkpoints are known to use, whatever the case and the separators.
    pub fn from_label(label: &str) -> Option<&'static Class> {
        let wanted = normalise(label);
        CLASSES.iter().find(|class| class.name == wanted || normalise(class.display) == wanted).or_else(|| {
            let short = wanted.strip_suffix("_discrimination")?;
            CLASSES.iter().find(|class| class.name == short)
        })
    }
}

/// Lower case, with every run of other characters than letters and digits as one underscore.
fn normalise(label: &str) -> String {
    let words: Vec<String> =
        label.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase).collect();
    words.join("_")
}

/// Why a list of labels is no taxonomy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TaxonomyError {
    /// The list is empty.
    #[error("`safety_categories` is empty; list one label for each output of the guard head")]
    Empty,
    /// A label occurs twice, so that a probability could not be told by its name.
    #[error("`safety_categories` lists `{label}` twice; give each class a label of its own")]
    Duplicate {
        /// The label.
        label: String,
    },
    /// The key holds something else.
    #[error("`safety_categories` is no list of names; list one label for each output of the guard head")]
    NoNames,
    /// No label means "safe", so that no unsafe probability can be computed.
    #[error("`safety_categories` has no `safe` label; name the harmless class `safe`")]
    NoSafe,
}

/// The labels of a guard head in the order of its outputs.
///
/// The default is the built-in list of [`CLASSES`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taxonomy {
    labels: Vec<String>,
    safe: usize,
}

impl Default for Taxonomy {
    fn default() -> Self {
        Taxonomy { labels: CLASSES.iter().map(|class| class.name.to_owned()).collect(), safe: 0 }
    }
}

impl Taxonomy {
    /// The labels in `safety_categories` of a parsed `config.json`; the built-in ones where it has none.
    ///
    /// # Errors
    ///
    /// If the key holds something else than names, or as for [`new`](Self::new).
    pub fn from_hf(config: &serde_json::Value) -> Result<Self, TaxonomyError> {
        match config.get("safety_categories").filter(|labels| !labels.is_null()) {
            None => Ok(Self::default()),
            Some(labels) => Self::new(serde_json::from_value(labels.clone()).map_err(|_| TaxonomyError::NoNames)?),
        }
    }

    /// Takes the labels as a checkpoint's `safety_categories` lists them.
    ///
    /// # Errors
    ///
    /// An empty list, a label that occurs twice, or no label that means `safe`.
    pub fn new(labels: Vec<String>) -> Result<Self, TaxonomyError> {
        if labels.is_empty() {
            return Err(TaxonomyError::Empty);
        }
        for (id, label) in labels.iter().enumerate() {
            if labels[..id].contains(label) {
                return Err(TaxonomyError::Duplicate { label: label.clone() });
            }
        }
        let safe = labels.iter().position(|label| normalise(label) == SAFE).ok_or(TaxonomyError::NoSafe)?;
        Ok(Taxonomy { labels, safe })
    }

    /// The labels in the checkpoint's own words; the index is the class id.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// How many classes there are.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Always false: [`Taxonomy::new`] refuses an empty list.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The id of the `safe` class.
    pub fn safe_id(&self) -> usize {
        self.safe
    }

    /// The id of a label: in the checkpoint's own words, or in any that mean the same class.
    pub fn id_of(&self, label: &str) -> Option<usize> {
        self.labels.iter().position(|own| own == label).or_else(|| {
            let class = Class::from_label(label)?;
            (0..self.len()).find(|&id| self.class_of(id) == Some(class))
        })
    }

    /// The built-in class behind an id; `None` for a label of the checkpoint's own invention.
    pub fn class_of(&self, id: usize) -> Option<&'static Class> {
        Class::from_label(self.labels.get(id)?)
    }

    /// The top category of an id; `None` for `safe` and for labels that are not built in.
    pub fn category_of(&self, id: usize) -> Option<&'static str> {
        self.class_of(id)?.category.map(Category::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(list: &[&str]) -> Vec<String> {
        list.iter().map(|label| (*label).to_owned()).collect()
    }

    #[test]
    fn the_ids_are_the_indices_and_the_names_are_unique() {
        for (index, class) in CLASSES.iter().enumerate() {
            assert_eq!(class.id, index);
            assert_eq!(Class::from_label(class.name), Some(class));
            assert_eq!(Class::from_label(class.display), Some(class));
            assert_eq!(class.category.is_none(), index == 0);
        }
        assert_eq!(Taxonomy::new(Taxonomy::default().labels().to_vec()), Ok(Taxonomy::default()));
        assert_eq!(Taxonomy::default().category_of(16), Some("violence"));
    }

    #[test]
    fn every_category_has_a_class() {
        for category in Category::ALL {
            assert!(CLASSES.iter().any(|class| class.category == Some(category)));
        }
    }

    #[test]
    fn other_spellings_mean_the_built_in_class() {
        let taxonomy = Taxonomy::new(labels(&[
            "Safe",
            "gender_discrimination",
            "Race discrimination",
            "Drug Related Hazards",
            "weapon-related violence",
            "aliens",
        ]))
        .unwrap();
        let ids: Vec<Option<usize>> =
            (0..taxonomy.len()).map(|id| taxonomy.class_of(id).map(|class| class.id)).collect();
        assert_eq!(ids, [Some(0), Some(1), Some(2), Some(6), Some(16), None]);
        assert_eq!(taxonomy.category_of(1), Some("hate"));
        assert_eq!(taxonomy.category_of(5), None);
        assert_eq!(taxonomy.category_of(6), None);
        assert_eq!(taxonomy.id_of("gender"), Some(1));
        assert_eq!(taxonomy.id_of("aliens"), Some(5));
        assert_eq!(taxonomy.id_of("suicide"), None);
    }

    #[test]
    fn the_safe_class_is_found_wherever_it_stands() {
        let taxonomy = Taxonomy::new(labels(&["suicide", "safe"])).unwrap();
        assert_eq!(taxonomy.safe_id(), 1);
    }

    #[test]
    fn bad_lists_are_refused() {
        assert_eq!(Taxonomy::new(vec![]), Err(TaxonomyError::Empty));
        assert_eq!(Taxonomy::new(labels(&["suicide"])), Err(TaxonomyError::NoSafe));
        assert!(matches!(
            Taxonomy::new(labels(&["safe", "a", "a"])),
            Err(TaxonomyError::Duplicate { label }) if label == "a"
        ));
    }
}
