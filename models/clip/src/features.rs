//! Which hidden states become visual tokens.

use safevlm_core::fields::{FieldError, Fields};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The hidden states that LLaVA takes from its encoder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeatureSelection {
    /// `vision_feature_layer`: 0 is the input of the first layer, `n` the output of the nth; negative
    /// numbers count from the end, -1 being the output of the last layer. Several are put side by side.
    pub layers: Vec<i64>,
    /// Whether the class token is kept (`vision_feature_select_strategy` is `full`) or dropped
    /// (`default`).
    pub class_token: bool,
}

impl Default for FeatureSelection {
    /// LLaVA-1.5's: the patches after the layer before the last.
    fn default() -> Self {
        Self { layers: vec![-2], class_token: false }
    }
}

/// More than any model asks for; a list of millions would ask for much memory.
const MOST_LAYERS: usize = 64;

impl FeatureSelection {
    /// Reads the outer part of a LLaVA `config.json`: `vision_feature_layer` (a number or a list) and
    /// `vision_feature_select_strategy`, or the original code's `mm_vision_select_layer` and
    /// `mm_vision_select_feature`.
    ///
    /// # Errors
    ///
    /// If a value has another type or is not known.
    pub fn from_hf(config: &Value) -> Result<Self, FieldError> {
        let fields = Fields::new("config.json", config)?;
        let either = |new, old| if fields.get(new).is_some() { new } else { old };
        let key = either("vision_feature_layer", "mm_vision_select_layer");
        let layers = match fields.get(key) {
            None => Some(Self::default().layers),
            Some(Value::Array(layers)) if layers.len() <= MOST_LAYERS => layers.iter().map(Value::as_i64).collect(),
            Some(layer) => layer.as_i64().map(|layer| vec![layer]),
        };
        let layers = layers.filter(|layers| !layers.is_empty());
        let layers = layers.ok_or_else(|| fields.wrong(key, "a whole number, or a list of 1 to 64 of them"))?;
        let key = either("vision_feature_select_strategy", "mm_vision_select_feature");
        let class_token = match fields.text(key, "default")? {
            "default" | "patch" => false,
            "full" | "cls_patch" => true,
            _ => return Err(fields.wrong(key, "\"default\" or \"full\" (originally \"patch\" or \"cls_patch\")")),
        };
        Ok(Self { layers, class_token })
    }

    /// Checks that an encoder of `num_hidden_layers` has these layers.
    pub(crate) fn check(&self, num_hidden_layers: usize) -> Result<(), FieldError> {
        if !self.layers.is_empty() && self.resolve(num_hidden_layers).len() == self.layers.len() {
            return Ok(());
        }
        let config = serde_json::json!({"vision_feature_layer": self.layers});
        let expected = format!("from -{} to {num_hidden_layers} with this encoder", num_hidden_layers + 1);
        Err(Fields::new("config.json", &config)?.wrong("vision_feature_layer", expected))
    }

    /// The layers counted from the first hidden state, without those that there are not.
    pub(crate) fn resolve(&self, num_hidden_layers: usize) -> Vec<usize> {
        let states = num_hidden_layers as i64 + 1;
        let absolute = self.layers.iter().map(|layer| if *layer < 0 { layer.saturating_add(states) } else { *layer });
        absolute.filter(|layer| (0..states).contains(layer)).map(|layer| layer as usize).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ClipVisionConfig;
    use serde_json::json;

    #[test]
    fn both_spellings_are_read() {
        let read = |config| FeatureSelection::from_hf(&config).unwrap();
        assert_eq!(read(json!({})), FeatureSelection::default());
        let new = json!({"vision_feature_layer": [-3, 2], "vision_feature_select_strategy": "full"});
        assert_eq!(read(new), FeatureSelection { layers: vec![-3, 2], class_token: true });
        let old = json!({"mm_vision_select_layer": -2, "mm_vision_select_feature": "patch"});
        assert_eq!(read(old), FeatureSelection::default());
        for (key, value) in [
            ("vision_feature_layer", json!([])),
            ("vision_feature_layer", json!(["last"])),
            ("vision_feature_layer", json!(vec![1; 65])),
            ("mm_vision_select_layer", json!(-2.5)),
            ("vision_feature_select_strategy", json!("cls")),
        ] {
            let message = FeatureSelection::from_hf(&json!({key: value})).unwrap_err().to_string();
            assert!(message.contains(key), "{message}");
        }
    }

    #[test]
    fn layers_count_from_either_end_and_must_be_there() {
        let layers = |layers: &[i64]| FeatureSelection { layers: layers.to_vec(), class_token: true };
        assert_eq!(layers(&[-1, -2, 0, 24, -25]).resolve(24), [24, 23, 0, 24, 0]);
        let config = ClipVisionConfig::preset("vit-large-patch14").unwrap();
        let wide = config.clone().select(layers(&[-1, 3])).unwrap();
        assert_eq!((wide.tokens(), wide.feature_width()), (257, 2048));
        for wrong in [&[25][..], &[-26], &[1, 99], &[i64::MIN], &[]] {
            let message = config.clone().select(layers(wrong)).unwrap_err().to_string();
            assert!(message.contains("from -25 to 24"), "{message}");
        }
    }
}
