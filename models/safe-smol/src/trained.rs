//! The trained part laid over the public checkpoints.

use safevlm_weights::{TensorSource, Tensors};

use crate::error::SafeSmolError;

/// What the names of the language model's tensors begin with.
pub(crate) const LANGUAGE_MODEL: &str = "language_model.";

/// Replaces the parts that were trained, and adds the adapters.
pub(crate) fn overlay(
    parts: &mut Tensors,
    trained: &dyn TensorSource,
    language_model: &dyn TensorSource,
) -> Result<(), SafeSmolError> {
    for name in trained.names() {
        let shape = trained.info(&name).map(|info| info.shape).unwrap_or_default();
        let fits = match adapted(&name) {
            Some(weight) => adapter_fits(weight, trained, language_model),
            None => parts.get(&name).is_some_and(|(own, _)| own == shape),
        };
        if !fits {
            return Err(SafeSmolError::Trained { name, shape });
        }
        parts.insert(name.clone(), shape, trained.read_f32(&name)?)?;
    }
    Ok(())
}

/// The layer, without `.weight`, that the adapter's tensor `name` belongs to.
fn adapted(name: &str) -> Option<&str> {
    name.strip_suffix(".lora_A.weight").or_else(|| name.strip_suffix(".lora_B.weight"))
}

/// Whether `trained` has both halves of an adapter, of one rank and of the shape of its layer.
fn adapter_fits(layer: &str, trained: &dyn TensorSource, language_model: &dyn TensorSource) -> bool {
    let shape = |source: &dyn TensorSource, name: &str| source.info(name).map(|info| info.shape);
    let weight = layer.strip_prefix(LANGUAGE_MODEL).and_then(|own| shape(language_model, &format!("{own}.weight")));
    let [a, b] = ["A", "B"].map(|half| shape(trained, &format!("{layer}.lora_{half}.weight")));
    match (weight.as_deref(), a.as_deref(), b.as_deref()) {
        (Some([output, input]), Some([rank, a]), Some([b, also])) => (a, b, also) == (input, output, rank),
        _ => false,
    }
}

/// `W + B · A`, where an adapter for `name` is among `parts`; [`overlay`] let none in that does not
/// fit. Its `B` holds the scale already.
pub(crate) fn merge_adapter(name: &str, values: &mut [f32], parts: &Tensors) {
    let base = name.trim_end_matches(".weight");
    let a = parts.get(&format!("{base}.lora_A.weight"));
    let b = parts.get(&format!("{base}.lora_B.weight"));
    let (Some(([rank, input], a)), Some((_, b))) = (a, b) else { return };
    for (row, b) in values.chunks_mut(*input).zip(b.chunks(*rank)) {
        for (a, share) in a.chunks(*input).zip(b) {
            row.iter_mut().zip(a).for_each(|(w, a)| *w += share * a);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensors(of: &[(&str, &[usize])]) -> Tensors {
        let mut tensors = Tensors::new();
        for (name, shape) in of {
            let count = shape.iter().product::<usize>();
            tensors.insert(*name, shape.to_vec(), (0..count).map(|n| n as f32).collect()).unwrap();
        }
        tensors
    }

    const A: &str = "language_model.model.layers.0.q.lora_A.weight";
    const B: &str = "language_model.model.layers.0.q.lora_B.weight";

    fn overlaid(trained: &[(&str, &[usize])]) -> Result<Tensors, SafeSmolError> {
        let mut parts = tensors(&[("img_safety_head.weight", &[2, 3])]);
        let language_model = tensors(&[("model.layers.0.q.weight", &[2, 3])]);
        overlay(&mut parts, &tensors(trained), &language_model).map(|()| parts)
    }

    #[test]
    fn adapters_are_merged() {
        let parts = overlaid(&[("img_safety_head.weight", &[2, 3]), (A, &[1, 3]), (B, &[2, 1])]).unwrap();
        let mut values = vec![10.0; 6];
        merge_adapter("language_model.model.layers.0.q.weight", &mut values, &parts);
        // B is (0, 1), A is (0, 1, 2).
        assert_eq!(values, [10.0, 10.0, 10.0, 10.0, 11.0, 12.0]);
        merge_adapter("language_model.model.layers.1.q.weight", &mut values, &parts);
        assert_eq!(values[5], 12.0);
    }

    #[test]
    fn a_trained_part_that_does_not_fit_is_refused() {
        let unfit: [&[(&str, &[usize])]; 7] = [
            &[("img_safety_head.weight", &[3, 2])],
            &[("img_safety_head.wieght", &[2, 3])],
            &[(A, &[1, 3])],
            &[(A, &[1, 3]), (B, &[2, 2])],
            &[(A, &[1, 2]), (B, &[2, 1])],
            &[(A, &[1, 3]), (B, &[3, 1])],
            &[("vision_tower.q.lora_A.weight", &[1, 3]), ("vision_tower.q.lora_B.weight", &[2, 1])],
        ];
        for trained in unfit {
            let error = overlaid(trained).unwrap_err();
            assert!(matches!(error, SafeSmolError::Trained { .. }), "{trained:?}: {error}");
        }
    }
}
