//! The public checkpoints as one, for the trained part to be merged into.

use std::path::Path;

use safevlm_weights::{TakePiece, TensorInfo, TensorSource, Tensors, WeightsError};

/// What the names of the language model's tensors begin with.
const LANGUAGE_MODEL: &str = "language_model.";

/// The encoder, projector and guard in memory, and the language model in its file.
pub(crate) struct Parts<'a> {
    pub(crate) own: Tensors,
    pub(crate) language_model: &'a dyn TensorSource,
}

impl Parts<'_> {
    /// The part that holds the tensor `name`, and its name there.
    fn part<'n>(&'n self, name: &'n str) -> (&'n dyn TensorSource, &'n str) {
        match name.strip_prefix(LANGUAGE_MODEL) {
            Some(name) => (self.language_model, name),
            None => (&self.own, name),
        }
    }
}

impl TensorSource for Parts<'_> {
    fn path(&self) -> &Path {
        Path::new("safe-smol")
    }

    fn names(&self) -> Vec<String> {
        let language_model = self.language_model.names().into_iter().map(|name| format!("{LANGUAGE_MODEL}{name}"));
        let mut names: Vec<_> = self.own.names().into_iter().chain(language_model).collect();
        names.sort();
        names
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        let (part, name) = self.part(name);
        part.info(name)
    }

    fn read_f32(&self, name: &str) -> Result<Vec<f32>, WeightsError> {
        let (part, name) = self.part(name);
        part.read_f32(name)
    }

    fn read_pieces(&self, name: &str, take: &mut TakePiece<'_>) -> Result<(), WeightsError> {
        let (part, name) = self.part(name);
        part.read_pieces(name, take)
    }
}

#[cfg(test)]
mod tests {
    use safevlm_weights::{LoraConfig, PeftAdapter};
    use serde_json::json;

    use super::*;

    fn tensors(of: &[(&str, &[usize])]) -> Tensors {
        let mut tensors = Tensors::new();
        for (name, shape) in of {
            let count = shape.iter().product::<usize>();
            tensors.insert(*name, shape.to_vec(), (0..count).map(|n| n as f32).collect()).unwrap();
        }
        tensors
    }

    const HEAD: &str = "img_safety_head.weight";
    const Q: &str = "language_model.model.layers.0.q.weight";
    const A: &str = "language_model.model.layers.0.q.lora_A.weight";
    const B: &str = "language_model.model.layers.0.q.lora_B.weight";

    /// The values of `names` after `trained` was merged into the parts.
    fn merged(trained: &[(&str, &[usize])], names: &[&str]) -> Result<Vec<Vec<f32>>, WeightsError> {
        let language_model = tensors(&[("model.layers.0.q.weight", &[2, 3]), ("model.layers.1.q.weight", &[1])]);
        let parts = Parts { own: tensors(&[(HEAD, &[2, 3])]), language_model: &language_model };
        assert_eq!(parts.names(), [HEAD, Q, "language_model.model.layers.1.q.weight"]);
        let config = LoraConfig::from_json(&json!({ "peft_type": "LORA", "r": 1, "lora_alpha": 1 })).unwrap();
        let adapter = PeftAdapter::new(tensors(trained), config);
        let merged = adapter.merge(&parts)?;
        names.iter().map(|name| merged.read_f32(name)).collect()
    }

    #[test]
    fn the_trained_part_finds_its_places_in_both_parts() {
        let values = merged(&[(HEAD, &[2, 3]), (A, &[1, 3]), (B, &[2, 1])], &[HEAD, Q]).unwrap();
        assert_eq!(values[0], [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        // B is (0, 1), A is (0, 1, 2).
        assert_eq!(values[1], [0.0, 1.0, 2.0, 3.0, 5.0, 7.0]);
    }

    #[test]
    fn a_trained_part_that_does_not_fit_is_refused() {
        let unfit: [&[(&str, &[usize])]; 5] = [
            &[(A, &[1, 3])],
            &[(A, &[1, 3]), (B, &[2, 2])],
            &[(A, &[1, 2]), (B, &[2, 1])],
            &[(A, &[1, 3]), (B, &[3, 1])],
            &[("vision_tower.q.lora_A.weight", &[1, 3]), ("vision_tower.q.lora_B.weight", &[2, 1])],
        ];
        for trained in unfit {
            let error = merged(trained, &[]).unwrap_err();
            assert!(matches!(error, WeightsError::Adapter { .. }), "{trained:?}: {error}");
        }
    }
}
