//! From an adapter's tensor names to those of the base that it adapts.

use std::collections::BTreeMap;

use super::config::MERGE_FIRST;

/// What PEFT puts before the names of the model that it wraps.
const WRAPPER: &str = "base_model.model.";

/// What a tensor of an adapter is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// `[rank, in]`.
    A,
    /// `[out, rank]`.
    B,
    /// It replaces the base's tensor: of `modules_to_save`, a trained bias, a saved embedding.
    Whole,
}

/// The adapted tensor's name as the adapter has it, and the role of the adapter's tensor `name`.
///
/// # Errors
/// When it belongs to a variant of LoRA (a magnitude vector, a bias of `lora_B`, an embedding).
pub(super) fn parse(name: &str) -> Result<(String, Role), String> {
    let path = name.strip_prefix(WRAPPER).unwrap_or(name);
    for (half, role) in [("lora_A", Role::A), ("lora_B", Role::B)] {
        let module = [format!(".{half}.weight"), format!(".{half}.default.weight")]
            .iter()
            .find_map(|ending| path.strip_suffix(ending.as_str()));
        if let Some(module) = module {
            return Ok((format!("{module}.weight"), role));
        }
    }
    if path.contains("lora_") {
        return Err(format!(
            "`{name}` is neither `lora_A.weight` nor `lora_B.weight` of a linear layer; {MERGE_FIRST}"
        ));
    }
    let mut target = path.to_string();
    for inside in [".modules_to_save.default.", ".modules_to_save.", ".base_layer."] {
        target = target.replacen(inside, ".", 1);
    }
    Ok((target, Role::Whole))
}

/// The names of a base, to be found by those of an adapter that may have been trained on another
/// layout of the same model.
///
/// An exact name counts first. Otherwise it is the one tensor with the same bare name: without
/// `model.` and `language_model.` at its beginning, however many, and without the `vision_tower.`
/// and `vision_model.` that some layouts repeat behind `vision_tower.`. So
/// `model.layers.0.mlp.up_proj` finds `language_model.model.layers.0.mlp.up_proj`,
/// `model.language_model.layers.0.mlp.up_proj` and itself, but nothing of a vision encoder.
pub(super) struct BaseNames {
    /// Bare name to names.
    names: BTreeMap<String, Vec<String>>,
}

impl BaseNames {
    pub(super) fn new(names: Vec<String>) -> Self {
        let mut bare_names: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for name in names {
            bare_names.entry(bare(&name)).or_default().push(name);
        }
        Self { names: bare_names }
    }

    /// The base's tensor for `target`.
    ///
    /// # Errors
    /// When there is none, or when there are several and none is exact.
    pub(super) fn find(&self, target: &str) -> Result<&str, String> {
        let found = self.names.get(&bare(target)).map(Vec::as_slice).unwrap_or_default();
        match found {
            [] => Err(format!("the base has no `{target}`")),
            [only] => Ok(only),
            several => match several.iter().find(|name| *name == target) {
                Some(exact) => Ok(exact),
                None => Err(format!("`{target}` could be {} of the base", several.join(" or "))),
            },
        }
    }
}

fn bare(name: &str) -> String {
    let strip = |mut rest, parts: &[&str]| {
        while let Some(inner) = parts.iter().find_map(|part| str::strip_prefix(rest, part)) {
            rest = inner;
        }
        rest
    };
    let name = strip(name, &["model.", "language_model."]);
    match name.strip_prefix("vision_tower.") {
        Some(inner) => format!("vision_tower.{}", strip(inner, &["vision_tower.", "vision_model."])),
        None => name.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart() {
        for (name, target, role) in [
            ("base_model.model.model.layers.0.q_proj.lora_A.weight", "model.layers.0.q_proj.weight", Role::A),
            ("base_model.model.q_proj.lora_B.default.weight", "q_proj.weight", Role::B),
            ("language_model.q_proj.lora_B.weight", "language_model.q_proj.weight", Role::B),
            ("base_model.model.lm_head.weight", "lm_head.weight", Role::Whole),
            ("base_model.model.lm_head.modules_to_save.weight", "lm_head.weight", Role::Whole),
            ("base_model.model.lm_head.modules_to_save.default.bias", "lm_head.bias", Role::Whole),
            ("base_model.model.lm_head.base_layer.weight", "lm_head.weight", Role::Whole),
        ] {
            assert_eq!(parse(name), Ok((target.to_string(), role)), "{name}");
        }
        for name in [
            "base_model.model.q.lora_magnitude_vector",
            "base_model.model.q.lora_B.bias",
            "base_model.model.q.lora_A.second.weight",
            "base_model.model.embed_tokens.lora_embedding_A",
        ] {
            assert!(parse(name).unwrap_err().contains(name));
        }
    }

    #[test]
    fn one_tensor_is_found_in_every_layout_and_never_two() {
        let find = |names: &[&str], target: &str| {
            let names = BaseNames::new(names.iter().map(|name| name.to_string()).collect());
            names.find(target).map(str::to_string)
        };
        let layouts = [
            "model.layers.0.q.weight",
            "language_model.model.layers.0.q.weight",
            "model.language_model.layers.0.q.weight",
        ];
        for stored in layouts {
            for target in layouts {
                let others = [stored, "vision_tower.layers.0.q.weight", "visual.layers.0.q.weight"];
                assert_eq!(find(&others, target).unwrap(), stored);
            }
        }
        let towers = [
            "vision_tower.vision_model.encoder.q.weight",
            "model.vision_tower.encoder.q.weight",
            "model.vision_tower.vision_tower.vision_model.encoder.q.weight",
        ];
        for stored in towers {
            for target in towers {
                assert_eq!(find(&[stored, "encoder.q.weight"], target).unwrap(), stored);
            }
        }
        // The exact name wins; without it, two candidates are an error, and so is none.
        assert_eq!(find(&layouts, layouts[1]).unwrap(), layouts[1]);
        let error = find(&layouts[1..], layouts[0]).unwrap_err();
        assert!(error.contains(layouts[1]) && error.contains(layouts[2]), "{error}");
        assert!(find(&["vision_tower.layers.0.q.weight"], layouts[0]).unwrap_err().contains("has no"));
    }
}
