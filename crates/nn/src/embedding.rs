//! The token embedding table.

use burn::module::{Initializer, Module};
use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::ops;
use crate::weight::Weight;

/// One row for each token id; the output head too, where a model ties them.
#[derive(Module, Debug)]
pub struct Embedding {
    /// `[vocabulary, hidden]`.
    pub weight: Weight,
}

impl Embedding {
    /// A table with small random rows, drawn lazily on `device`.
    pub fn new(vocabulary: usize, hidden: usize, device: &Device) -> Self {
        let normal = Initializer::Normal { mean: 0.0, std: 0.02 };
        Self { weight: Weight::Float(normal.init([vocabulary, hidden], device)) }
    }

    /// # Shapes
    ///
    /// - ids `[batch, tokens]`
    /// - output `[batch, tokens, hidden]`
    ///
    /// # Panics
    ///
    /// If an id has no row.
    pub fn forward(&self, ids: Tensor<2, Int>) -> Tensor<3> {
        let [batch, tokens] = ids.dims();
        let [_, hidden] = self.weight.dims();
        let Some(blocks) = self.weight.blocks() else {
            return self.weight.val().select(0, ids.reshape([batch * tokens])).reshape([batch, tokens, hidden]);
        };
        let device = ids.device();
        let rows: Vec<usize> =
            ids.into_data().iter::<i64>().map(|id| usize::try_from(id).unwrap_or(usize::MAX)).collect();
        let mut values = vec![0.0; rows.len() * hidden];
        if let Err(error) = blocks.gather(&rows, &mut values) {
            panic!("{error}");
        }
        Tensor::from_data(TensorData::new(values, [batch, tokens, hidden]), &device)
    }

    /// Logits of hidden states under a tied output head.
    ///
    /// # Shapes
    ///
    /// - hidden `[rows, hidden]`
    /// - output `[rows, vocabulary]`
    pub fn logits(&self, hidden: Tensor<2>) -> Tensor<2> {
        let [logits] = ops::products(&hidden, [&self.weight]);
        logits
    }
}
